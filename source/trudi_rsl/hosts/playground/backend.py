# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""JAX beside PyTorch: its memory, its compilation cache, its devices, and arrays that both read without a host copy."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

# Read when JAX first uses a GPU: by default it would reserve three quarters of the memory that PyTorch needs, too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import numpy as np
import torch

from trudi_rsl.errors import ConfigError, one_line

logger = logging.getLogger(__name__)

SHORT_S = 3.0
"""Compilations below this time are not worth a second line in the log [s]."""


def cache_folder() -> Path:
    """Return the default folder of compiled simulators, in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trudi_rsl" / "jax"


# JAX itself reads JAX_COMPILATION_CACHE_DIR.
if jax.config.jax_compilation_cache_dir is None:
    jax.config.update("jax_compilation_cache_dir", str(cache_folder()))


def jax_device(device: torch.device) -> jax.Device:
    """Return JAX's name for a device of PyTorch; ConfigError if this JAX does not have it."""
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"MuJoCo Playground simulates on cpu or cuda, not on {str(device)!r}. Choose with --device.")
    try:
        found = jax.devices(device.type)
    except RuntimeError as error:
        raise ConfigError(
            f"PyTorch has {str(device)!r}, but the installed JAX {jax.__version__} has no GPU, and MuJoCo Playground "
            f"simulates with JAX ({one_line(error)}). Install JAX for CUDA, pip install "
            f'"jax[cuda13]=={jax.__version__}" (cuda12 for older drivers), or train on the CPU: --device cpu.'
        ) from error
    index = device.index or 0
    if index >= len(found):
        raise ConfigError(
            f"PyTorch has {str(device)!r}, but JAX has only {len(found)} of these devices. Check CUDA_VISIBLE_DEVICES "
            "and JAX_CUDA_VISIBLE_DEVICES."
        )
    return found[index]


def to_torch(array: jax.Array) -> torch.Tensor:
    """Return a tensor in the memory of an array that JAX does not use again, such as an output."""
    return torch.from_dlpack(array)


def from_torch(tensor: torch.Tensor, device: torch.device) -> jax.Array | np.ndarray:
    """Return float32 values for a compiled function, in the tensor's own memory where device and type agree."""
    tensor = tensor.detach().to(device, torch.float32).contiguous()
    # an import through DLPack takes 0.2 ms on a CPU, where compiled functions read NumPy's arrays in place
    return tensor.numpy() if device.type == "cpu" else jax.dlpack.from_dlpack(tensor)


@contextlib.contextmanager
def logged_compilation(task: str, num_envs: int) -> Iterator[None]:
    """Log that the simulator is compiled inside the block, and how long it took."""
    logger.info(
        "Compiling %s for %d environments: up to two minutes the first time, less from then on, as results are kept "
        "in %s.",
        *(task, num_envs, jax.config.jax_compilation_cache_dir),
    )
    start = time.monotonic()
    yield
    if (seconds := time.monotonic() - start) > SHORT_S:
        logger.info("Compiled in %.0f s.", seconds)
