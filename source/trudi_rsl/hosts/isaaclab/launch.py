# SPDX-License-Identifier: BSD-3-Clause
"""Training and playing tasks of Isaac Lab from this project's scripts, with whichever version is installed."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType

import torch
from packaging.version import Version

from trudi_rsl.distributed import check_launch
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.stock_names import Names


def train(args: argparse.Namespace, host_args: Sequence[str]) -> None:
    """Train a task as Isaac Lab's own RSL-RL script does; see :meth:`trudi_rsl.hosts.host.Host.train`."""
    launcher = _launcher()
    _check_gpu(args, host_args)
    check_launch(args.distributed)
    launcher.train(args, list(host_args))


def play(args: argparse.Namespace, host_args: Sequence[str]) -> None:
    """Play a checkpoint and export it, as Isaac Lab's own script does; see :meth:`trudi_rsl.hosts.host.Host.play`.

    Writes ``exported/policy.onnx`` and ``exported/policy.pt`` beside the checkpoint. With ``args.episodes``, runs that
    many episodes, prints their statistics and stops. With ``args.every_checkpoint``, does so with all checkpoints of
    the run, and writes nothing but ``best.pt``.
    """
    launcher = _launcher()
    _check_gpu(args, host_args)
    launcher.play(args, list(host_args))


def stock_tasks() -> Iterator[tuple[str, Sequence[str], str, Names]]:
    """Yield Isaac Lab's own tasks for :func:`trudi_rsl.hosts.stock_names.encode`; 2.3's app has been launched."""
    return _launcher().stock_tasks()


def _launcher() -> ModuleType:
    """Return the module for the installed version; that of the other version cannot be imported."""
    try:
        # Isaac Lab 2.3 numbers its core package 0.5x; only 3.0's distribution has the number of the release.
        is_3_0 = Version(version("isaaclab")) >= Version("3.0.0b0")
    except PackageNotFoundError:
        is_3_0 = importlib.util.find_spec("isaaclab_newton") is not None
    if is_3_0:
        from trudi_rsl.hosts.isaaclab import launch_3_0 as launcher
    else:
        from trudi_rsl.hosts.isaaclab import launch_2_3 as launcher
    return launcher


def _check_gpu(args: argparse.Namespace, host_args: Sequence[str]) -> None:
    """Raise a ConfigError if a GPU is needed and there is none: Isaac Lab would take a minute to fail."""
    isaac_sim = [arg for arg in host_args if arg.startswith("physics=") and "physx" in arg and "ovphysx" not in arg]
    if (isaac_sim or args.device != "cpu") and not torch.cuda.is_available():
        reason = f"{isaac_sim[0]} is Isaac Sim, which needs a GPU" if isaac_sim else "Isaac Lab uses the GPU by default"
        raise ConfigError(
            f"{reason}, but PyTorch finds none. Isaac Lab 3.0 also trains on the CPU, with Newton: add --device cpu "
            "physics=newton_mjwarp."
        )
