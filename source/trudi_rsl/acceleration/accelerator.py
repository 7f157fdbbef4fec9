# SPDX-License-Identifier: BSD-3-Clause
"""What runs compiled or captured on a device, and what it falls back to."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from tensordict.nn import CudaGraphModule
from torch import Tensor, nn

from trudi_rsl.errors import ConfigError
from trudi_rsl.settings import CompileMode

logger = logging.getLogger(__name__)

WORTHWHILE_UPDATES = 2000
"""Minibatch updates from which on a training repays compiling. On two cores at width 128, an update saves about 5 ms,
and compiling takes 4 s when its result is in inductor's cache and 40 s when it is not."""

WARM_UP = 3
"""Call that is captured as a CUDA graph: compiled code has finished compiling by then."""


class Accelerator:
    """Wraps functions so that they run fast, and as they are where that fails.

    A function is tried at its first call. If compiling or capturing it raises, that is told in one line and the
    function runs as it is from then on, so all its randomness must come from its arguments or not matter twice.

    Args:
        mode: ``off``, ``default`` (inductor), ``cudagraphs`` (inductor, and CUDA graphs of whole updates), or ``auto``:
            ``cudagraphs`` on CUDA, ``default`` elsewhere, ``off`` where a training is too short for either.
        device: Where the functions run.
        num_updates: Minibatch updates of the training.

    Raises:
        ConfigError: CUDA graphs are asked for on another device.
    """

    def __init__(self, mode: CompileMode, device: torch.device | str, num_updates: float = math.inf) -> None:
        device = torch.device(device)
        self._reason = f"algorithm.compile={mode}"
        if mode == "auto" and num_updates < WORTHWHILE_UPDATES:
            mode = "off"
            self._reason = f"a training of {num_updates} updates would not repay it; algorithm.compile=default insists"
        elif mode == "auto":
            mode = "cudagraphs" if device.type == "cuda" else "default"
        if mode == "cudagraphs" and device.type != "cuda":
            raise ConfigError(f"algorithm.compile=cudagraphs needs a CUDA device, and this is {device}. Use default.")
        self.mode = mode
        self.device = device
        self._compiled: list[Guarded] = []
        self._captured: list[Guarded] = []

    @property
    def compiles(self) -> bool:
        """Whether functions must be written for fixed shapes and without waiting for the device."""
        return self.mode != "off"

    def compile(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` compiled by inductor.

        Args:
            name: What a message calls it.
            function: A pure function of tensors and modules, or a :class:`Gradient` of one.
        """
        if not self.compiles:
            return function
        # one C++ file per function rather than one per kernel, which takes half as long to compile
        options: dict[str, Any] | None = {"cpp_wrapper": True} if self.device.type == "cpu" else None
        if isinstance(function, Gradient):
            fast = function._replace(objective=torch.compile(function.objective, dynamic=False, options=options))
        else:
            fast = torch.compile(function, dynamic=False, options=options)
        guarded = Guarded(name, "compiled", fast, function, tries=1)
        self._compiled.append(guarded)
        return guarded

    def capture(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function`` replayed as a CUDA graph; what it returns is copied and stays valid.

        Args:
            name: What a message calls it.
            function: Reads tensors of fixed shapes, and does not wait for the device. It may change parameters.
        """
        if self.mode != "cudagraphs":
            return function
        guarded = Guarded(name, "captured", CudaGraphModule(function, WARM_UP, device=self.device), function, WARM_UP)
        self._captured.append(guarded)
        return guarded

    def describe(self) -> str:
        """Return one line that says what is compiled and captured."""
        if not self.compiles:
            return f"Nothing is compiled ({self._reason})."
        captured = f" Captured as CUDA graphs: {_names(self._captured)}." if self._captured else ""
        return (
            f"Compiled for {self.device}: {_names(self._compiled)}.{captured} The first iteration takes up to a minute."
        )


class Guarded:
    """A fast function with a slow one to fall back to.

    Args:
        name: What a message calls it.
        verb: What was done to it.
        fast: The compiled or captured function.
        slow: The same function as it was written.
        tries: Number of first calls in which ``fast`` may still fail for reasons of its own.
    """

    def __init__(self, name: str, verb: str, fast: Callable[..., Any], slow: Callable[..., Any], tries: int) -> None:
        self.name, self.verb, self._fast, self._slow, self._tries = name, verb, fast, slow, tries

    @property
    def is_fast(self) -> bool:
        """Whether the fast function is the one that runs."""
        return self._fast is not self._slow

    def __call__(self, *args: Any) -> Any:
        """Call the fast function, the slow one if that has failed."""
        if self._tries == 0:
            return self._fast(*args)
        self._tries -= 1
        try:
            return self._fast(*args)
        # what backends raise is not documented, and an error that is the caller's own is raised again below
        except Exception as error:
            self._fast, self._tries = self._slow, 0
            result = self._slow(*args)
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            logger.warning("The %s could not be %s and runs as it is: %s", self.name, self.verb, reason)
            return result


def _names(functions: list[Guarded]) -> str:
    return ", ".join(function.name for function in functions)


class HasLoss(Protocol):
    """What an objective returns: a scalar loss among other things."""

    @property
    def loss(self) -> Tensor:
        """Scalar, to be differentiated."""
        ...


class Gradient(NamedTuple):
    """Calls an objective and differentiates its loss.

    Only ``objective`` is compiled, and with it its backward pass. The call as a whole is what proves that both work.
    """

    objective: Callable[..., Any]
    """Returns something with a ``loss``."""
    parameters: Sequence[nn.Parameter]
    """What to differentiate for; everything else is held constant."""

    def __call__(self, *args: Any) -> tuple[Any, tuple[Tensor, ...]]:
        """Return the objective's result and the gradient of its loss, zero where a parameter takes no part."""
        result: HasLoss = self.objective(*args)
        return result, torch.autograd.grad(result.loss, list(self.parameters), materialize_grads=True)
