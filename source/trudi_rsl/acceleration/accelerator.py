# SPDX-License-Identifier: BSD-3-Clause
"""Compiled and CUDA-graph-captured functions, with a fallback to eager code."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trudi_rsl.acceleration.cuda_graph import CapturedFunction
from trudi_rsl.errors import ConfigError, setting
from trudi_rsl.settings import CompileMode

logger = logging.getLogger(__name__)

WORTHWHILE_UPDATES = 2000
"""Smallest number of minibatch updates that repays compiling. On two cores at width 128, each update saves about 5 ms;
compiling takes 4 s with a warm inductor cache and 40 s with a cold one."""


class Accelerator:
    """Wraps functions in compiled or captured versions, and falls back to eager code where that fails.

    Compilation happens at a function's first call. If it raises, a one-line warning is logged and the call is repeated
    with the eager function, so all randomness must come from its arguments or be safe to draw twice.

    Args:
        mode: See :attr:`trudi_rsl.settings.LearnerCfg.compile`.
        num_updates: Number of minibatch updates of the training, infinite if unknown, as under RSL-RL's own runner
            without ``max_iterations`` in its configuration.

    Raises:
        ConfigError: If CUDA graphs are requested on another device.
    """

    def __init__(self, mode: CompileMode, device: torch.device | str, num_updates: float = math.inf) -> None:
        device = torch.device(device)
        self._advice = ""
        if mode == "auto" and math.isinf(num_updates):
            self._advice = f" A short training does without: {setting('algorithm.compile', repr('off'))}."
        self._reason = f"algorithm.compile={mode}"
        if mode == "auto" and num_updates < WORTHWHILE_UPDATES:
            mode = "off"
            insisted = setting("algorithm.compile", "'default'")
            self._reason = f"a training of {num_updates} updates would not repay it; {insisted} insists"
        elif mode == "auto":
            mode = "cudagraphs" if device.type == "cuda" else "default"
        if mode == "cudagraphs" and device.type != "cuda":
            raise ConfigError(f"algorithm.compile=cudagraphs needs a CUDA device, and this is {device}. Use default.")
        self.mode, self.device = mode, device
        self._compiled: list[Guarded] = []
        self._captured: list[CapturedFunction] = []

    @property
    def compiles(self) -> bool:
        """Whether functions must have fixed shapes and no GPU sync."""
        return self.mode != "off"

    def compile(self, name: str, function: Callable[..., Any], reads_constants: bool = False) -> Callable[..., Any]:
        """Return a pure function of tensors and modules, or a :class:`Gradient` of one, compiled by inductor.

        Messages call it ``name``. With ``reads_constants``, settings and modules that it reads must stay what they were
        in the first call: only the types and shapes of tensors are checked.
        """
        if not self.compiles:
            return function
        options: dict[str, Any] | None = None
        if self.device.type == "cpu":
            from trudi_rsl.acceleration.separate_bias import SeparateBias  # imports inductor

            # one C++ file per function instead of one per kernel halves compile time
            options = {"cpp_wrapper": True, "post_grad_custom_post_pass": SeparateBias()}
        # newer torch only; checking all that a whole update reads takes 6 % of its time on a CPU
        if reads_constants and hasattr(torch.compiler, "keep_tensor_guards_unsafe"):
            options = {**(options or {}), "guard_filter_fn": torch.compiler.keep_tensor_guards_unsafe}
        compile_ = functools.partial(torch.compile, dynamic=False, options=options)
        is_gradient = isinstance(function, Gradient)
        fast = function._replace(objective=compile_(function.objective)) if is_gradient else compile_(function)
        guarded = Guarded(name, fast, function)
        self._compiled.append(guarded)
        return guarded

    def capture(self, name: str, function: Callable[..., Any], copies: bool = True) -> Callable[..., Any]:
        """Return ``function`` replayed as a CUDA graph, see :class:`CapturedFunction`. Messages call it ``name``."""
        if self.mode != "cudagraphs":
            return function
        captured = CapturedFunction(name, function, self.device, copies, on_failure=self.reset)
        self._captured.append(captured)
        return captured

    @property
    def functions(self) -> Sequence[Guarded | CapturedFunction]:
        """All compiled and captured functions."""
        return [*self._compiled, *self._captured]

    def reset(self) -> None:
        """Free all CUDA graphs with their memory; the next calls capture the functions anew.

        Call it after tensors that captured functions read have been replaced.
        """
        for captured in self._captured:
            captured.reset()

    def describe(self) -> str:
        """Return a one-line summary of compiled and captured functions."""
        if not self.compiles:
            return f"Nothing is compiled ({self._reason})."
        compiled, captured = (", ".join(f.name for f in functions) for functions in (self._compiled, self._captured))
        captured = f" Captured as CUDA graphs: {captured}." if captured else ""
        done = f"Compiled for {self.device}: {compiled}.{captured}"
        return f"{done} The first iteration takes up to a minute.{self._advice}"


class Guarded:
    """A compiled function that becomes eager if its first call fails."""

    verb = "compiled"

    def __init__(self, name: str, fast: Callable[..., Any], slow: Callable[..., Any]) -> None:
        self.name, self._fast, self._slow = name, fast, slow
        self._tried = False

    @property
    def is_fast(self) -> bool:
        """Whether the fast function is in use."""
        return self._fast is not self._slow

    def __call__(self, *args: Any) -> Any:
        """Call the fast function, or the slow one after a failure."""
        if self._tried:
            return self._fast(*args)
        self._tried = True
        try:
            return self._fast(*args)
        # backends raise any exception; the slow function raises again what is not theirs
        except Exception as error:
            self._fast = self._slow
            result = self._slow(*args)
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            logger.warning("The %s could not be %s and runs as it is: %s", self.name, self.verb, reason)
            return result


class Gradient(NamedTuple):
    """Calls an objective and differentiates its loss.

    Only ``objective`` is compiled, and with it its backward pass; the whole call is tried, so that both are.
    """

    objective: Callable[..., Any]
    """Returns an object whose ``loss`` is a scalar."""
    parameters: Sequence[nn.Parameter]
    """Parameters to differentiate with respect to; everything else but :attr:`inputs` is constant."""
    inputs: Callable[..., Sequence[Tensor]] = lambda *_: ()
    """Returns those of the arguments' tensors, leaves that require a gradient, to differentiate with respect to."""

    def __call__(self, *args: Any) -> tuple[Any, tuple[Tensor, ...]]:
        """Return the objective's result and the gradient of its loss, zero for what it does not use.

        It is that of the parameters, then of the inputs.
        """
        result = self.objective(*args)
        learned = [*self.parameters, *self.inputs(*args)]
        return result, torch.autograd.grad(result.loss, learned, materialize_grads=True)
