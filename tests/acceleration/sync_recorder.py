# SPDX-License-Identifier: BSD-3-Clause
"""Records where the host would wait for a GPU, with fake tensors; import it after ``fake_cuda``.

A sync is one of

- ``read``: the host reads a value (``item``, ``bool``, ``tolist``, ``cpu``);
- ``shape``: the shape of a result depends on values (``nonzero``, masks as indices);
- ``upload``: a blocking copy from unpinned host memory (``torch.tensor(x, device="cuda")``, lists as indices);
- ``synchronize``: of the device.
"""

from __future__ import annotations

import collections
import contextlib
import traceback
from collections.abc import Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.acceleration import fake_cuda

aten = torch.ops.aten
FOUND = 7
"""Rows of a result whose number depends on values."""
FOLDERS = ("source/", "site-packages/")
PACKAGES = ("trudi_rsl/", "rsl_rl/", "tensordict/")
LAUNCH_NOTHING = {
    *(aten.empty.memory_format, aten.empty_strided.default, aten.empty_like.default, aten.new_empty.default),
    *(aten.new_empty_strided.default, aten._local_scalar_dense.default, aten.lift_fresh.default),
    *(aten.detach.default, aten.alias.default, aten.is_same_size.default),
}


class SyncError(RuntimeError):
    """A sync while a graph is captured."""


def _site() -> str:
    """Return the innermost function of the packages on the stack, as ``file: function``."""
    for frame in reversed(traceback.extract_stack()):
        for folder in FOLDERS:
            _, found, file = frame.filename.rpartition(f"/{folder}")
            if found and file.startswith(PACKAGES):
                return f"{file}: {frame.name}"
    return "elsewhere"


class Recorder(TorchDispatchMode):
    """Records syncs and kernels by phase, above a fake tensor mode."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: collections.Counter[str] = collections.Counter()
        self.kernels: collections.Counter[str] = collections.Counter()
        self.syncs: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self._phases = ["other"]

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block as a call of a phase, and as part of no other."""
        self._phases.append(name)
        self.calls[name] += 1
        try:
            yield
        finally:
            self._phases.pop()

    def sync(self, kind: str) -> None:
        """Record a sync at the present line."""
        self.syncs[self._phases[-1]][f"{kind} in {_site()}"] += 1
        if fake_cuda.Graph.capturing:
            raise SyncError(f"{kind} while a graph is captured, in {_site()}")

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace != "aten":
            return func(*args, **kwargs)
        with self:  # inference mode leaves operations whole
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        inputs = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        on_gpu = any(x.is_cuda for x in inputs)
        if func is aten._local_scalar_dense.default:
            if on_gpu:
                self.sync("read")
            return _value(inputs[0])
        if func is aten.nonzero.default:
            if on_gpu:
                self.sync("shape")
            return torch.zeros(FOUND, inputs[0].dim(), dtype=torch.long, device=inputs[0].device)
        if on_gpu and func in (aten.masked_select.default, aten.equal.default, aten._unique2.default):
            self.sync("shape")
        if on_gpu and func in (aten.index.Tensor, aten.index_put_.default, aten.index_put.default):
            args = self._indexed(func, args)
        if func is aten._fused_adam_.tensor_lr:
            # has no form for fake tensors, as that with a number has
            func, kwargs = aten._fused_adam_.default, {**kwargs, "lr": 0.0}
        if func in (aten._to_copy.default, aten.copy_.default):
            self._copied(func, args, kwargs)
        if func is aten._to_copy.default and not on_gpu and kwargs.get("device") is not None:
            # a fake tensor that knows its value would be copied in earnest
            dtype = kwargs.get("dtype") or inputs[0].dtype
            result = torch.empty(inputs[0].shape, dtype=dtype, device=kwargs["device"])
        else:
            result = func(*args, **kwargs)
        if func in (aten.all.default, aten.all.dim):
            result.is_all = True  # pyright: ignore[reportAttributeAccessIssue]
        outputs = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        if _launches(func, [*inputs, *outputs]):
            self.kernels[self._phases[-1]] += 1
            self.count(func, args, kwargs, result, inputs, outputs)
        return result

    def count(
        self, func: Any, args: Any, kwargs: Any, result: Any, inputs: list[Tensor], outputs: list[Tensor]
    ) -> None:
        """Hear of an operation that launches a kernel; for subclasses."""

    def _indexed(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        indices = [i for i in args[1] if i is not None]
        if any(not i.is_cuda for i in indices):
            self.sync("upload")
        if not any(i.dtype == torch.bool for i in indices):
            return args
        if func is not aten.index.Tensor:
            if args[2].dim():
                self.sync("shape")
            return args
        self.sync("shape")
        rows = torch.zeros(FOUND, dtype=torch.long, device="cuda")
        return (args[0], [None if i is None else rows for i in args[1]])

    def _copied(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        is_new = func is aten._to_copy.default
        source, target = (args[0], kwargs.get("device")) if is_new else (args[1], args[0].device)
        if target is None:
            return
        # a number on the host is an argument of the kernel
        asynchronous = kwargs.get("non_blocking") or (not is_new and source.dim() == 0)
        if source.is_cuda and torch.device(target).type == "cpu":
            self.sync("read")
        elif not source.is_cuda and torch.device(target).type == "cuda" and not asynchronous:
            self.sync("upload")

    @contextlib.contextmanager
    def patched(self) -> Iterator[None]:
        """Record what reads or writes values without an operation of its own."""
        make, new, get = torch.tensor, Tensor.new_tensor, Tensor.__getitem__

        def tolist(x: Tensor) -> Any:
            if x.is_cuda:
                self.sync("read")
            return np.zeros(tuple(x.shape), dtype=bool if x.dtype == torch.bool else float).tolist()

        def numpy(x: Tensor, *_: Any, **__: Any) -> np.ndarray:
            assert not x.is_cuda, "can't convert a CUDA tensor to numpy"
            return np.zeros(tuple(x.shape), dtype=np.float32)

        def tensor(data: Any, *args: Any, **kwargs: Any) -> Tensor:
            device = kwargs.get("device")
            if device is None or torch.device(device).type != "cuda" or isinstance(data, Tensor):
                return make(data, *args, **kwargs)
            self.sync("upload")
            made = make(data, *args, **{**kwargs, "device": "cpu"})
            return torch.zeros(made.shape, dtype=made.dtype, device=device)

        def new_tensor(x: Tensor, data: Any, *args: Any, **kwargs: Any) -> Tensor:
            if not x.is_cuda or "device" in kwargs:
                return new(x, data, *args, **kwargs)
            self.sync("upload")
            return torch.zeros(make(data).shape, dtype=kwargs.get("dtype", x.dtype), device=x.device)

        def getitem(x: Tensor, index: Any) -> Tensor:
            if x.is_cuda and isinstance(index, list) and index and isinstance(index[0], int):
                self.sync("upload")
                index = torch.zeros(len(index), dtype=torch.long, device="cuda")
            return get(x, index)

        replacements = [
            *((owner, "__deepcopy__", _deepcopy) for owner in (Tensor, torch.nn.Parameter)),
            *((owner, "tolist", tolist) for owner in (Tensor, FakeTensor)),
            *((Tensor, name, function) for name, function in (("numpy", numpy), ("new_tensor", new_tensor))),
            (Tensor, "__getitem__", getitem),
            (Tensor, "data_ptr", lambda x: x.untyped_storage()._cdata),
            (Tensor, "__format__", lambda x, spec: format(x.item(), spec)),
            (torch, "tensor", tensor),
            # the generator would write its state to memory that a fake tensor does not have
            (torch, "get_rng_state", lambda: torch.zeros(16, dtype=torch.uint8)),
            (torch, "set_rng_state", lambda _: None),
            (torch, "manual_seed", lambda _: None),
        ]
        with contextlib.ExitStack() as stack:
            for owner, name, replacement in replacements:
                stack.enter_context(mock.patch.object(owner, name, replacement))
            yield


def _launches(func: Any, tensors: list[Tensor]) -> bool:
    """Return whether an operation launches a kernel on the GPU."""
    if func in LAUNCH_NOTHING or not any(x.is_cuda for x in tensors):
        return False
    returns = func._schema.returns
    is_view = returns and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)
    return not is_view


def _value(x: Tensor) -> Any:
    if x.dtype == torch.bool:
        # all(...) holds and any(...) does not: nothing has gone wrong
        return getattr(x, "is_all", False)
    # 1 for what the host reads of its own, such as the number of steps by which Adam divides
    return float(not x.is_cuda) if x.dtype.is_floating_point else int(not x.is_cuda)


def _deepcopy(x: Tensor, memo: dict[int, Any]) -> Tensor:
    """Copy a fake tensor, whose storage has no memory to copy."""
    if id(x) not in memo:
        copied = x.detach().clone()
        memo[id(x)] = torch.nn.Parameter(copied, x.requires_grad) if isinstance(x, torch.nn.Parameter) else copied
    return memo[id(x)]
