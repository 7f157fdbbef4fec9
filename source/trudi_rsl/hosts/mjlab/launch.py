# SPDX-License-Identifier: BSD-3-Clause
"""Starting mjlab from the flags of ``scripts/train.py`` and ``scripts/play.py``."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from trudi_rsl.command_line import refuse_flags
from trudi_rsl.config import resume_path
from trudi_rsl.config.presets import task_preset
from trudi_rsl.config.run_folder import LOG_ROOT
from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.identify import identify
from trudi_rsl.hosts.mjlab.task import Task, find_task, require_mjlab
from trudi_rsl.hosts.registry import check_device


def train(args: argparse.Namespace, rest: Sequence[str] = ()) -> None:
    """Train a task of mjlab through mjlab's ``train`` command, PPO with the task's own configuration.

    What differs from typing that command: the log writer is TensorBoard unless another is asked for, a machine without
    a GPU trains on its CPU, and where no number of environments is given the preset's is taken, since mjlab's own
    configurations say 1. On several GPUs (``--distributed``) mjlab starts the processes itself.

    Args:
        args: Flags of ``scripts/train.py``.
        rest: Overrides: ``agent.*`` and ``env.*`` settings, and those of mjlab's command such as ``enable_nan_guard``.

    Raises:
        ConfigError: If a task, setting or value does not exist or cannot work.
        CheckpointError: If the checkpoint to resume does not exist, or is of another task or algorithm.
        ImportError: If mjlab is not installed.
    """
    require_mjlab(args.task)
    refuse_flags(rest, args.flags)
    from mjlab.scripts.train import TrainConfig, launch_training  # pyright: ignore[reportMissingImports]

    from trudi_rsl.hosts.mjlab.overrides import apply

    task = find_task(args.task, args.algo)
    default = replace(TrainConfig.from_task(task.id), agent=task.agent_cfg())
    settings = {
        "env.scene.num_envs": args.num_envs,
        "agent.max_iterations": args.max_iterations,
        "agent.seed": args.seed,
        "agent.experiment_name": args.experiment_name,
        "agent.run_name": args.run_name,
        "agent.logger": args.logger or "tensorboard",
        "agent.resume": True if args.resume or args.load_run or args.checkpoint else None,
        "agent.load_run": args.load_run,
        "agent.load_checkpoint": args.checkpoint,
        "video": args.video or None,
        "video_length": args.video_length,
        "video_interval": args.video_interval,
        "log_root": str(LOG_ROOT),
        "gpu_ids": _gpu_ids(args.device, args.distributed),
    }
    if args.num_envs is None and default.env.scene.num_envs == 1:
        settings["env.scene.num_envs"] = task_preset(task.name, "mjlab")["env"]["num_envs"]
    cfg = apply(default, settings, rest)
    print(
        f"[trudi_rsl] {task.name}, {task.algo}: {cfg.env.scene.num_envs} environments (--num_envs), logged to "
        f"{cfg.agent.logger}."
    )
    if cfg.agent.resume and cfg.wandb_run_path is None:
        checkpoint = resume_path(OmegaConf.create({"agent": _resume_settings(cfg.agent)}))
        assert checkpoint is not None, "resume is set"
        _point_to(checkpoint, task, cfg)
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    launch_training(task.id, cfg)


def play(args: argparse.Namespace, rest: Sequence[str] = ()) -> None:
    """Play a trained policy; see :func:`trudi_rsl.hosts.mjlab.play.play`, which needs mjlab to be imported.

    Args:
        args: Flags of ``scripts/play.py``.
        rest: Overrides of ``env.*`` settings.

    Raises:
        ImportError: If mjlab is not installed.
    """
    require_mjlab(args.task)
    refuse_flags(rest, args.flags)
    from trudi_rsl.hosts.mjlab.play import play as play_with_mjlab

    play_with_mjlab(args, rest)


def _gpu_ids(device: str | None, distributed: bool) -> Any:
    """Return mjlab's way to say where to train: numbers of GPUs, ``all``, or the text ``None`` for the CPU."""
    if distributed:
        if not torch.cuda.is_available():
            raise ConfigError("--distributed trains on all GPUs, and there is none.")
        return "all"
    if device is None:
        return [0] if torch.cuda.is_available() else "None"
    check_device(device)
    kind = torch.device(device)
    if kind.type not in ("cpu", "cuda"):
        raise ConfigError(f"mjlab runs on cpu or cuda, not on {device!r}.")
    return [kind.index or 0] if kind.type == "cuda" else "None"


def _resume_settings(agent: Any) -> dict[str, Any]:
    names = ("resume", "load_run", "load_checkpoint", "experiment_name")
    return {name: getattr(agent, name) for name in names}


def _point_to(checkpoint: Path, task: Task, cfg: Any) -> None:
    """Let mjlab resume from exactly one checkpoint; the new run's folder lies beside that of the old one.

    Raises:
        CheckpointError: If the checkpoint is of another task or algorithm; simulators take long to start, so this
            looks first.
    """
    identify(checkpoint, task.name, task.algo)
    run = checkpoint.resolve().parent
    cfg.agent.experiment_name = run.parent.name
    object.__setattr__(cfg, "log_root", str(run.parent.parent))  # mjlab's dataclass is frozen
    cfg.agent.load_run = f"{re.escape(run.name)}$"
    cfg.agent.load_checkpoint = f"{re.escape(checkpoint.name)}$"
