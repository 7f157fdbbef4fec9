# SPDX-License-Identifier: BSD-3-Clause
"""Training and playing tasks of Isaac Lab from this project's scripts, whichever version is installed."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import torch
from packaging.version import Version

from trudi_rsl.distributed import check_launch
from trudi_rsl.errors import ConfigError

INSTALL = (
    "Isaac Lab 3.0 (Python 3.12): pip install isaaclab. With Isaac Lab from a checkout, run this script as "
    "./isaaclab.sh -p scripts/train.py ..."
)


def train(args: argparse.Namespace, host_args: Sequence[str]) -> None:
    """Train a task of Isaac Lab, as its own RSL-RL script does.

    Args:
        args: Flags of ``scripts/train.py``.
        host_args: What it does not know: Isaac Lab's own flags, and overrides.

    Raises:
        ImportError: If Isaac Lab is not installed.
        ConfigError: If a task or setting does not exist or cannot work here.
        CheckpointError: If the checkpoint to resume does not exist, or is of another task or algorithm.
    """
    if _is_version_3():
        from trudi_rsl.hosts.isaaclab.launch_3_0 import train
    else:
        from trudi_rsl.hosts.isaaclab.launch_2_3 import train
    check_gpu(args, host_args)
    check_launch(args.distributed)
    train(args, list(host_args))


def play(args: argparse.Namespace, host_args: Sequence[str]) -> None:
    """Play a checkpoint in a task of Isaac Lab and export it, as Isaac Lab's own script does.

    Writes ``exported/policy.onnx`` and ``exported/policy.pt`` beside the checkpoint. With ``args.episodes``, runs that
    many episodes, prints their statistics and stops. With ``args.every_checkpoint``, does so with all checkpoints of
    the run, and writes nothing but ``best.pt``.

    Args:
        args: Flags of ``scripts/play.py``.
        host_args: What it does not know: Isaac Lab's own flags, and overrides.

    Raises:
        ImportError: If Isaac Lab is not installed.
        ConfigError: If a task or setting does not exist or cannot work here.
        CheckpointError: If there is no such checkpoint, or it is of another task or algorithm.
    """
    if _is_version_3():
        from trudi_rsl.hosts.isaaclab.launch_3_0 import play
    else:
        from trudi_rsl.hosts.isaaclab.launch_2_3 import play
    check_gpu(args, host_args)
    play(args, list(host_args))


def check_gpu(args: argparse.Namespace, host_args: Sequence[str]) -> None:
    """Refuse to start on a GPU that is not there, since Isaac Lab would take a minute to fail.

    Args:
        args: ``device``.
        host_args: May choose the physics engine.

    Raises:
        ConfigError: Saying how to train on the CPU.
    """
    wants_kit = [a for a in host_args if a.startswith("physics=") and ("physx" in a) and "ovphysx" not in a]
    on_cpu = args.device == "cpu"
    if (wants_kit or not on_cpu) and not torch.cuda.is_available():
        what = f"{wants_kit[0]} is Isaac Sim, which needs a GPU" if wants_kit else "Isaac Lab uses the GPU by default"
        raise ConfigError(
            f"{what}, and PyTorch finds none. Isaac Lab 3.0 also trains on the CPU, with Newton: add --device cpu "
            "physics=newton_mjwarp."
        )


def _is_version_3() -> bool:
    if importlib.util.find_spec("isaaclab") is None:
        raise ImportError(f"Isaac Lab is not installed. {INSTALL}")
    try:
        # 2.3 numbers its core package 0.5x, and only 3.0 has a distribution of its own number
        return Version(version("isaaclab")) >= Version("3.0.0b0")
    except PackageNotFoundError:
        return importlib.util.find_spec("isaaclab_newton") is not None
