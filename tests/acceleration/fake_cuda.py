# SPDX-License-Identifier: BSD-3-Clause
"""A CUDA device that computes nothing, on PyTorch's build for CPUs: for fake tensors of device ``cuda``.

Import this module before torch, in a process of its own. It builds a small library once and loads it: ATen hooks and a
device guard whose streams and events do nothing. Without it, fake tensors on ``cuda`` cannot be copied in place,
indexed or differentiated: "PyTorch is not linked with support for cuda devices".

:func:`patched` lets ``torch.cuda`` answer as on a machine with one GPU. A function is "captured" by calling it and
"replayed" by doing nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

assert "torch" not in sys.modules, "the library must be loaded before torch looks for CUDA's hooks"

SOURCE = r"""
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

struct FakeGuard final : c10::impl::DeviceGuardImplInterface {
  c10::Device dev() const { return c10::Device(c10::DeviceType::CUDA, 0); }
  c10::Stream stream() const { return c10::Stream(c10::Stream::DEFAULT, dev()); }
  c10::DeviceType type() const override { return c10::DeviceType::CUDA; }
  c10::Device exchangeDevice(c10::Device) const override { return dev(); }
  c10::Device getDevice() const override { return dev(); }
  void setDevice(c10::Device) const override {}
  void uncheckedSetDevice(c10::Device) const noexcept override {}
  c10::Stream getStream(c10::Device) const noexcept override { return stream(); }
  c10::Stream getDefaultStream(c10::Device) const override { return stream(); }
  c10::Stream getNewStream(c10::Device, int = 0) const override { return stream(); }
  c10::Stream exchangeStream(c10::Stream) const noexcept override { return stream(); }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override {}
};

namespace at {
struct CUDAHooks : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  int getNumGPUs() const override { return 1; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
  void deviceSynchronize(DeviceIndex) const override {}
  Generator getNewGenerator(DeviceIndex) const override { return at::detail::createCPUGenerator(); }
  const Generator& getDefaultGenerator(DeviceIndex) const override {
    static Generator generator = at::detail::createCPUGenerator();
    return generator;
  }
};
REGISTER_CUDA_HOOKS(CUDAHooks)
}  // namespace at

__attribute__((constructor)) static void install() {
  static FakeGuard guard;
  c10::impl::device_guard_impl_registry[static_cast<size_t>(c10::DeviceType::CUDA)].store(&guard);
}
"""


def _load() -> None:
    """Build the library, unless it is in the user's cache folder, and load it."""
    spec = importlib.util.find_spec("torch")
    assert spec is not None and spec.origin is not None
    torch_dir = Path(spec.origin).parent
    version = (torch_dir / "version.py").read_text()
    key = hashlib.sha256((SOURCE + str(torch_dir) + version).encode()).hexdigest()[:12]
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "trudi_rsl", "fake_cuda")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / f"{key}.so"
    if not library.exists():
        source, built = folder / f"{key}.{os.getpid()}.cpp", folder / f"{key}.{os.getpid()}.so"
        source.write_text(SOURCE)
        include, lib = torch_dir / "include", torch_dir / "lib"
        command = ["g++", "-O0", "-shared", "-fPIC", "-std=c++20", f"-I{include}", str(source)]
        command += [f"-I{include}/torch/csrc/api/include", f"-L{lib}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{lib}"]
        subprocess.run([*command, "-o", str(built)], check=True)
        source.unlink()
        built.replace(library)
    for path in (torch_dir / "lib" / "libc10.so", torch_dir / "lib" / "libtorch_cpu.so", library):
        ctypes.CDLL(str(path), ctypes.RTLD_GLOBAL)


_load()

import torch  # noqa: E402


class Graph:
    """``torch.cuda.CUDAGraph`` without operations."""

    capturing = False
    """Whether any graph is being captured."""
    num_replays = 0

    def capture_begin(self, **_: Any) -> None:
        Graph.capturing = True

    def capture_end(self) -> None:
        Graph.capturing = False

    def replay(self) -> None:
        Graph.num_replays += 1


class _Stream:
    device = torch.device("cuda", 0)
    cuda_stream = 0

    def __init__(self, *_: Any) -> None: ...

    def wait_stream(self, stream: Any) -> None: ...

    def is_capturing(self) -> bool:
        return Graph.capturing


class _Generator:
    def clone_state(self) -> None: ...

    def graphsafe_set_state(self, state: Any) -> None: ...

    def get_state(self) -> None: ...

    def set_state(self, state: Any) -> None: ...


def _move_module(
    module: torch.nn.Module, convert: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True
) -> torch.nn.Module:
    """Replace ``Module._apply``, whose way of swapping tensors is not made for fake ones."""
    if recurse:
        for child in module.children():
            _move_module(child, convert)
    for name, parameter in module._parameters.items():
        if parameter is None:
            continue
        moved = convert(parameter.data)
        if (moved.device, moved.dtype) != (parameter.device, parameter.dtype):
            module._parameters[name] = torch.nn.Parameter(moved, parameter.requires_grad)
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = convert(buffer)
    return module


@contextlib.contextmanager
def patched(on_sync: Callable[[], None]) -> Iterator[None]:
    """Let ``torch.cuda`` answer as on a machine with one GPU, and call ``on_sync`` where it would wait for it."""
    stream, state = _Stream(), torch.zeros(16, dtype=torch.uint8)
    functions: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": lambda: None,
        "init": lambda: None,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda _: None,
        "synchronize": lambda *_: on_sync(),
        "empty_cache": lambda: None,
        "is_bf16_supported": lambda *_, **__: True,
        "get_device_name": lambda *_: "fake",
        "get_device_capability": lambda *_: (9, 0),
        "current_stream": lambda *_: stream,
        "default_stream": lambda *_: stream,
        "Stream": _Stream,
        "stream": lambda _: contextlib.nullcontext(),
        "CUDAGraph": Graph,
        "is_current_stream_capturing": lambda: Graph.capturing,
        "default_generators": (_Generator(),),
        "get_rng_state": lambda *_: state,
        "get_rng_state_all": lambda: [state],
        "set_rng_state": lambda *_: None,
        "manual_seed": lambda _: None,
        "manual_seed_all": lambda _: None,
        "memory_allocated": lambda *_: 0,
    }
    with contextlib.ExitStack() as stack:
        for name, function in functions.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, function))
        device = torch.device("cuda")
        for name, function in (
            ("current_stream", lambda *_: stream),
            ("current_accelerator", lambda *_, **__: device),
        ):
            stack.enter_context(mock.patch.object(torch.accelerator, name, function))
        stack.enter_context(mock.patch.object(torch.nn.Module, "_apply", _move_module))
        yield
