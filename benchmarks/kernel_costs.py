# SPDX-License-Identifier: BSD-3-Clause
"""Counts the kernels that a GPU would run, with their bytes and floating-point operations, on a machine without one.

Tensors are fake (``tests/acceleration/fake_cuda.py``, which must be imported before torch). Operations outside of
compiled functions are counted one by one. For compiled functions, inductor plans the kernels as it would for an H200
and writes none, so that Triton is not needed.
"""

from __future__ import annotations

import collections
import contextlib
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import torch
import torch._inductor.compile_fx  # before fake tensors: it makes real ones at import
import torch._inductor.config
import torch._inductor.fx_passes.joint_graph
import torch.utils._foreach_utils
from torch import Tensor
from torch._dynamo.device_interface import CudaInterface
from torch._inductor import scheduler
from torch._inductor.dependencies import MemoryDep
from torch._inductor.graph import GraphLowering
from torch._subclasses import FakeTensor, FakeTensorMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from tests.acceleration import fake_cuda
from tests.acceleration.sync_recorder import Recorder

aten = torch.ops.aten
H200 = SimpleNamespace(
    **{"type": "cuda", "index": 0, "name": "NVIDIA H200", "gcnArchName": "", "uuid": "", "total_memory": 141 * 10**9},
    **{"major": 9, "minor": 0, "cc": 90, "multi_processor_count": 132, "warp_size": 32},
    **{"regs_per_multiprocessor": 65536, "max_threads_per_multi_processor": 2048},
)
"""What inductor asks of a device when it plans kernels."""
GATHERS = (aten.index.Tensor, aten.index_select.default, aten.gather.default)
SCATTERS = (aten.index_put_.default, aten.index_put.default, aten.index_fill_.int_Scalar)
"""Operations that touch some rows of a tensor, not all of it."""


class Kernel(NamedTuple):
    """A kernel's work."""

    moved: int
    """Bytes read and written."""
    flops: int
    """Floating-point operations of a matrix product, 0 for others."""
    is_half: bool
    """Whether the product's inputs are in half precision."""


def _size(x: Tensor) -> int:
    return min(x.numel() * x.element_size(), x.untyped_storage().nbytes())


class Counter(Recorder):
    """Counts kernels and memory by phase, see :class:`Recorder`."""

    def __init__(self) -> None:
        super().__init__()
        self.done: dict[str, list[Kernel]] = collections.defaultdict(list)
        """Kernels by phase."""
        self.held = self.peak = 0
        """Bytes on the GPU, now and at most."""
        self._known: set[int] = set()
        self._in_compiled = False

    @classmethod
    def is_infra_mode(cls) -> bool:
        """Return that functions are compiled although this mode is active."""
        return True

    def compiled(self, kernels: list[Kernel], function: Any, args: list[Any]) -> list[Any]:
        """Call a compiled graph's operations, in whose place these kernels would run."""
        self.done[self._phases[-1]] += kernels
        outer, self._in_compiled = self._in_compiled, True
        try:
            result = function(*args)
        finally:
            self._in_compiled = outer
        args.clear()
        return list(result) if isinstance(result, list | tuple) else [result]

    def count(
        self, func: Any, args: Any, kwargs: Any, result: Any, inputs: list[Tensor], outputs: list[Tensor]
    ) -> None:
        """Add the kernel of an operation that launches one."""
        if self._in_compiled:
            return
        if func in GATHERS:
            moved = 2 * sum(map(_size, outputs)) + sum(_size(x) for x in inputs[1:])
        elif func in SCATTERS:
            moved = 2 * sum(_size(x) for x in inputs[1:])
        else:
            moved = sum({id(x): _size(x) for x in (*inputs, *outputs) if x.is_cuda}.values())
        packet, flops = func._overloadpacket, 0
        if packet in flop_registry:
            flops = flop_registry[packet](*args, **kwargs, out_val=result)
        self.done[self._phases[-1]].append(Kernel(moved, flops, any(x.dtype.itemsize == 2 for x in inputs)))

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = super().__torch_dispatch__(func, types, args, kwargs)
        for x in tree_leaves(result):
            if isinstance(x, Tensor) and x.is_cuda:
                self._track(x)
        return result

    def _track(self, x: Tensor) -> None:
        storage = x.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return
        self._known.add(key)
        self.held += size
        self.peak = max(self.peak, self.held)

        def free() -> None:
            self._known.discard(key)
            self.held -= size

        weakref.finalize(storage, free)


def _planned(graph: GraphLowering) -> list[Kernel]:
    """Return the kernels that inductor plans for a graph."""
    graph.init_wrapper_code()
    graph._update_scheduler()
    kernels = []
    for node in graph.scheduler.nodes:
        if isinstance(node, scheduler.NopKernelSchedulerNode):
            continue
        flops = node.estimate_flops() if node.is_extern() else 0
        origin: Any = node.node.get_origin_node() if node.is_extern() and node.node is not None else None
        inputs = [] if origin is None else [x.meta["val"] for x in origin.all_input_nodes]
        kernels.append(Kernel(_moved(node, graph), flops or 0, any(x.dtype.itemsize == 2 for x in inputs)))
    return kernels


def _moved(node: scheduler.BaseSchedulerNode, graph: GraphLowering) -> int:
    """Return the bytes that a planned kernel reads and writes; of a buffer of which it needs a slice, the slice."""
    accesses, moved = [*node.read_writes.reads, *node.read_writes.writes], 0
    for name, whole in node.get_read_write_buffer_accesses(include_reads=True, include_writes=True).items():
        own = {access for access in accesses if access.name == name}
        if all(isinstance(access, MemoryDep) for access in own):
            elements = sum(graph.sizevars.optimization_hint(access.get_numel(), fallback=0) for access in own)
            whole = min(whole, int(elements) * graph.get_dtype(name).itemsize)
        moved += whole
    return moved


@contextlib.contextmanager
def counting() -> Iterator[Counter]:
    """Let operations on ``cuda`` be counted instead of computed."""
    counter = Counter()

    def load(graph: GraphLowering) -> Any:
        kernels = _planned(graph)
        return SimpleNamespace(call=lambda args: counter.compiled(kernels, graph.orig_gm, args), __file__="", key="")

    def h200(*_: Any) -> Any:
        return H200

    replacements: list[tuple[Any, str, Any]] = [
        (GraphLowering, "compile_to_module", load),
        *((torch.cuda, name, h200) for name in ("get_device_properties", "_get_device_properties")),
        *((owner, "get_device_properties", staticmethod(h200)) for owner in (CudaInterface, CudaInterface.Worker)),
        *((torch.cuda, name, lambda *_: 0) for name in ("_exchange_device", "_maybe_exchange_device")),
        (torch.version, "cuda", "12.8"),
        # fused kernels for lists of tensors
        (torch.utils._foreach_utils, "_foreach_supported_types", [Tensor, torch.nn.Parameter, FakeTensor]),
        (scheduler, "has_triton", lambda *_: True),
        # both would compute on the device
        (torch._inductor.fx_passes.joint_graph, "lazy_init", lambda *_: None),
        (torch._inductor.config, "joint_graph_constant_folding", False),
        (torch._inductor.config, "force_disable_caches", True),
    ]
    torch._dynamo.reset()
    with contextlib.ExitStack() as stack:
        stack.enter_context(fake_cuda.patched(lambda: None))
        for owner, name, replacement in replacements:
            stack.enter_context(mock.patch.object(owner, name, replacement, create=True))
        stack.enter_context(counter.patched())
        stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        stack.enter_context(counter)
        yield counter
