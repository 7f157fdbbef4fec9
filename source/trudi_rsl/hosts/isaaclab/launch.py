# SPDX-License-Identifier: BSD-3-Clause
"""Training and playing tasks of Isaac Lab from this project's scripts, with whichever version is installed.

The module of the other version cannot be imported, so the functions import theirs.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import torch
from packaging.version import Version

from trudi_rsl.distributed import check_launch
from trudi_rsl.errors import ConfigError


def train(args: argparse.Namespace, host_args: Sequence[str]) -> None:
    """Train a task as Isaac Lab's own RSL-RL script does; see :meth:`trudi_rsl.hosts.registry.Host.train`."""
    if _is_version_3():
        from trudi_rsl.hosts.isaaclab.launch_3_0 import train
    else:
        from trudi_rsl.hosts.isaaclab.launch_2_3 import train
    check_gpu(args, host_args)
    check_launch(args.distributed)
    train(args, list(host_args))


def play(args: argparse.Namespace, host_args: Sequence[str]) -> None:
    """Play a checkpoint and export it, as Isaac Lab's own script does; see :meth:`trudi_rsl.hosts.registry.Host.play`.

    Writes ``exported/policy.onnx`` and ``exported/policy.pt`` beside the checkpoint. With ``args.episodes``, runs that
    many episodes, prints their statistics and stops. With ``args.every_checkpoint``, does so with all checkpoints of
    the run, and writes nothing but ``best.pt``.
    """
    if _is_version_3():
        from trudi_rsl.hosts.isaaclab.launch_3_0 import play
    else:
        from trudi_rsl.hosts.isaaclab.launch_2_3 import play
    check_gpu(args, host_args)
    play(args, list(host_args))


def check_gpu(args: argparse.Namespace, host_args: Sequence[str]) -> None:
    """Raise if a GPU is needed and there is none: Isaac Lab would take a minute to fail.

    Args:
        args: ``device``.
        host_args: May choose the physics engine.

    Raises:
        ConfigError: Says how to train on the CPU.
    """
    isaac_sim = [arg for arg in host_args if arg.startswith("physics=") and "physx" in arg and "ovphysx" not in arg]
    if (isaac_sim or args.device != "cpu") and not torch.cuda.is_available():
        reason = f"{isaac_sim[0]} is Isaac Sim, which needs a GPU" if isaac_sim else "Isaac Lab uses the GPU by default"
        raise ConfigError(
            f"{reason}, but PyTorch finds none. Isaac Lab 3.0 also trains on the CPU, with Newton: add --device cpu "
            "physics=newton_mjwarp."
        )


def _is_version_3() -> bool:
    try:
        # Isaac Lab 2.3 numbers its core package 0.5x; only 3.0's distribution has the number of the release.
        return Version(version("isaaclab")) >= Version("3.0.0b0")
    except PackageNotFoundError:
        return importlib.util.find_spec("isaaclab_newton") is not None
