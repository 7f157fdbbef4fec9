# SPDX-License-Identifier: BSD-3-Clause
"""A function replayed as a CUDA graph, and the way back where it cannot be captured."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

logger = logging.getLogger(__name__)

WARM_UP = 2
"""Calls before the one that captures; in the first, compiled code is compiled and optimisers allocate their state."""


class Inputs(NamedTuple):
    """Memory that a graph reads its arguments from."""

    leaves: list[Any]
    """A buffer for each tensor; other values as they are."""
    args: tuple[Any, ...]
    """The same as the function takes them."""
    signature: list[Any]
    """Shapes, dtypes and devices of the tensors, and the other values."""
    modes: tuple[bool, bool]
    """Whether they were made for calls in inference mode, and for calls that record gradients."""


class Outputs(NamedTuple):
    """Memory that a graph writes its results to."""

    leaves: list[Any]
    structure: TreeSpec
    scalars: list[int]
    """Which of the leaves are float32 scalars."""
    stacked: Tensor | None
    """Those scalars in one tensor."""

    def own(self) -> Any:
        """Return the results in this memory."""
        return tree_unflatten(self.leaves, self.structure)

    def copies(self) -> Any:
        """Return the results in memory of their own, all scalars by one copy."""
        scalars = {} if self.stacked is None else dict(zip(self.scalars, self.stacked.clone().unbind(), strict=True))
        copied = [scalars[i] if i in scalars else _copy(x) for i, x in enumerate(self.leaves)]
        return tree_unflatten(copied, self.structure)


def default_generator(device: torch.device | str) -> torch.Generator:
    """Return the generator from which functions on a device draw by default."""
    device = torch.device(device)
    if device.type == "cpu":
        return torch.default_generator
    return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]


def _copy(x: Any) -> Any:
    return x.clone() if isinstance(x, Tensor) else x


class CapturedFunction:
    """A function that is captured as a CUDA graph after :data:`WARM_UP` calls, and then replayed.

    A replay launches all kernels of the function by one call, on the current stream and without a GPU sync. Arguments
    are copied into buffers of the graph, results are copies that stay valid unless the caller declines them. The
    function must take tensors of fixed shapes, read no value on the host, and return no argument and nothing with a
    gradient; it may change parameters and draw from the default generator. Calls with other shapes, once it is
    captured, run as they are.

    If CUDA refuses the capture, a one-line warning is logged, and this and all later calls run as they are: nothing of
    a capture is executed, so nothing is lost or done twice.

    Args:
        name: What messages call it.
        function: What to capture.
        device: The CUDA device it runs on.
        copies: Return copies of results; otherwise the next call overwrites them.
        on_failure: Called after a failed capture, when the random generator has a new state object: graphs that were
            captured before it refer to the old one.
    """

    verb = "captured"

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        device: torch.device,
        copies: bool,
        on_failure: Callable[[], None],
    ) -> None:
        self.name, self._function, self._device, self._on_failure = name, function, device, on_failure
        self._copies = copies
        # one stream for warm-up and capture, so that cuBLAS allocates its workspace outside of the graph's memory
        self._stream = torch.cuda.Stream(device)
        self.is_fast = True
        """False after a capture has failed."""
        self.reset()

    def reset(self) -> None:
        """Free the graph with its memory; the next calls capture the function anew."""
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: Inputs | None = None
        self._outputs: Outputs | None = None
        self._num_calls = 0

    @property
    def is_captured(self) -> bool:
        """Whether the next call is a replay."""
        return self._graph is not None

    def __call__(self, *args: Any) -> Any:
        """Run the function, capture it or replay it."""
        inputs = self._load(args) if self.is_fast else None
        if inputs is None:
            return self._function(*args)
        if self._graph is None:
            self._num_calls += 1
            if self._num_calls <= WARM_UP:
                return self._run_aside(inputs.args)
            if not self._capture(inputs.args):
                return self._function(*args)
        assert self._graph is not None and self._outputs is not None
        self._graph.replay()
        return self._outputs.copies() if self._copies else self._outputs.own()

    def _load(self, args: tuple[Any, ...]) -> Inputs | None:
        """Copy arguments into the graph's buffers and return them; None if a captured graph has others."""
        leaves, structure = tree_flatten(args)
        signature = [(x.shape, x.dtype, x.device) if isinstance(x, Tensor) else x for x in leaves]
        inputs = self._inputs
        # until it is captured, a function is warmed up again in the modes of the call
        modes = (torch.is_inference_mode_enabled(), torch.is_grad_enabled())
        if inputs is None or (self._graph is None and (inputs.signature, inputs.modes) != (signature, modes)):
            self.reset()
            # outside of inference mode, so that calls in any mode may write to them
            with torch.inference_mode(False), torch.no_grad():
                buffers = [torch.empty_like(x) if isinstance(x, Tensor) else x for x in leaves]
            inputs = self._inputs = Inputs(buffers, tree_unflatten(buffers, structure), signature, modes)
        elif inputs.signature != signature:
            return None
        for buffer, x in zip(inputs.leaves, leaves, strict=True):
            if isinstance(x, Tensor):
                buffer.copy_(x.detach())
        return inputs

    def _run_aside(self, args: tuple[Any, ...]) -> Any:
        """Run the function on the stream that is to be captured."""
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = self._function(*args)
        current.wait_stream(self._stream)
        return result

    def _capture(self, args: tuple[Any, ...]) -> bool:
        """Capture the function without executing it, and return whether that was possible."""
        generator = default_generator(self._device)
        generator_state = generator.clone_state()
        # memory that is not in use goes back to CUDA, since a graph has a pool of its own
        gc.collect()
        torch.cuda.synchronize(self._device)
        torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        try:
            self._outputs = self._record(graph, args)
        # torch, its compiler and drivers raise any exception; outside of a capture the function raises its own again
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            logger.warning("The %s could not be %s and runs as it is: %s", self.name, self.verb, reason)
            # a capture that CUDA has invalidated leaves the generator in a state in which it cannot be used
            generator.graphsafe_set_state(generator_state)
            self.reset()
            self.is_fast = False
            self._on_failure()
            return False
        self._graph = graph
        return True

    def _record(self, graph: torch.cuda.CUDAGraph, args: tuple[Any, ...]) -> Outputs:
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        # torch.cuda.graph would stay on its stream if the end of a capture raises
        with torch.cuda.stream(self._stream):
            # work of other threads, such as a renderer's or NCCL's, does not invalidate the capture
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                leaves, structure = tree_flatten(self._function(*args))
                tensors = [(i, x) for i, x in enumerate(leaves) if isinstance(x, Tensor)]
                scalars = [i for i, x in tensors if x.ndim == 0 and x.dtype == torch.float32]
                stacked = torch.stack([leaves[i] for i in scalars]) if scalars and self._copies else None
            except Exception:
                with contextlib.suppress(Exception):
                    graph.capture_end()
                raise
            graph.capture_end()
        current.wait_stream(self._stream)
        return Outputs(leaves, structure, scalars, stacked)
