# SPDX-License-Identifier: BSD-3-Clause
"""CUDA graphs emulated on the CPU.

A capture records the operations with their tensors and undoes what they wrote; a replay runs them again on the same
memory. What Python state, replaced tensors or random numbers would get wrong in a graph, they get wrong here. A value
read by the host invalidates a capture as in CUDA: its end raises, too. Compiled code cannot be recorded, so that
``torch.compile`` returns functions unchanged.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
READS = (
    *(aten._local_scalar_dense.default, aten.nonzero.default, aten.equal.default),
    aten.masked_select.default,
)
"""Operations whose result or its shape the host has to read."""


def _tensors(values: Any) -> list[Tensor]:
    return [x for x in tree_leaves(values) if isinstance(x, Tensor)]


class _Recording(TorchDispatchMode):
    """Records operations, and keeps what they overwrite."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self.kept: list[Any] = []
        self._own: set[int] = set()
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self.is_valid = True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with self:  # inference mode leaves operations whole
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        if func in READS:
            self.is_valid = False
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
        arguments = func._schema.arguments
        given = [*zip(arguments, args, strict=False), *((a, kwargs[a.name]) for a in arguments if a.name in kwargs)]
        written = [x for a, value in given if a.alias_info and a.alias_info.is_write for x in _tensors(value)]
        for x in written:
            self._keep(x)
        result = func(*args, **kwargs)
        returns = func._schema.returns
        aliases = bool(returns) and all(r.alias_info is not None for r in returns)
        outputs = _tensors(result)
        if not aliases:
            self._own |= {x.untyped_storage()._cdata for x in outputs}
        # their memory must not be given to others
        self.kept.append((args, kwargs, result))
        if written or not aliases:
            self.operations.append((func, args, kwargs, [] if aliases else outputs))
        return result

    def _keep(self, x: Tensor) -> None:
        storage = x.untyped_storage()
        if storage._cdata in self._own or storage._cdata in self._before:
            return
        whole = torch.empty(0, dtype=x.dtype)
        flat = whole.set_(storage, 0, (storage.nbytes() // x.element_size(),))  # pyright: ignore[reportCallIssue]
        self._before[storage._cdata] = (flat, flat.clone())

    def undo(self) -> None:
        for flat, before in self._before.values():
            flat.copy_(before)


class EmulatedGraph:
    """``torch.cuda.CUDAGraph`` on the CPU."""

    def __init__(self) -> None:
        self.recording = _Recording()
        self._random_state = torch.get_rng_state()
        self.num_replays = 0

    def capture_begin(self, capture_error_mode: str = "global") -> None:
        self.error_mode = capture_error_mode
        self._random_state = torch.get_rng_state()
        self.recording.__enter__()

    def capture_end(self) -> None:
        self.recording.__exit__(None, None, None)
        with torch.no_grad():
            self.recording.undo()
        if not self.recording.is_valid:
            # as in torch before 2.9, the generator is left as it was within the capture
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
        torch.set_rng_state(self._random_state)

    def replay(self) -> None:
        self.num_replays += 1
        with torch.inference_mode():  # a graph changes memory, whatever tensors it belongs to
            for func, args, kwargs, outputs in self.recording.operations:
                result = func(*args, **kwargs)
                if outputs:  # an operation in place has written its own
                    for output, again in zip(outputs, _tensors(result), strict=True):
                        output.copy_(again)


class _Stream:
    def __init__(self, device: Any = None) -> None: ...

    def wait_stream(self, stream: Any) -> None: ...


class _Generator:
    """The default generator; its state object is the state of the CPU's."""

    def clone_state(self) -> Tensor:
        return torch.get_rng_state()

    def graphsafe_set_state(self, state: Tensor) -> None:
        torch.set_rng_state(state)


class EmulatedCuda:
    """What ``torch.cuda`` was asked to do."""

    def __init__(self) -> None:
        self.graphs: weakref.WeakSet[EmulatedGraph] = weakref.WeakSet()
        """Graphs that still have memory."""
        self.num_syncs = 0
        self.streams = [_Stream()]
        """The current stream last."""

    def _graph(self) -> EmulatedGraph:
        graph = EmulatedGraph()
        self.graphs.add(graph)
        return graph

    @contextlib.contextmanager
    def _stream(self, stream: _Stream) -> Iterator[None]:
        self.streams.append(stream)
        try:
            yield
        finally:
            self.streams.pop()

    def _synchronize(self, device: Any = None) -> None:
        self.num_syncs += 1

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let ``torch.cuda`` work on the CPU during a test."""
        functions = {
            "Stream": _Stream,
            "CUDAGraph": self._graph,
            "stream": self._stream,
            "current_stream": lambda device=None: self.streams[-1],
            "current_device": lambda: 0,
            "synchronize": self._synchronize,
            "empty_cache": lambda: None,
            "default_generators": (_Generator(),),
            "get_device_capability": lambda device=None: (9, 0),
        }
        for name, function in functions.items():
            monkeypatch.setattr(torch.cuda, name, function)
        monkeypatch.setattr(torch, "compile", lambda function, **_: function)
