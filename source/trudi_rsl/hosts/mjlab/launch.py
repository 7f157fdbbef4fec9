# SPDX-License-Identifier: BSD-3-Clause
"""Running mjlab with the flags of ``trudi train`` and ``trudi play``."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mjlab.scripts.train import TrainConfig, launch_training  # pyright: ignore[reportMissingImports]
from mjlab.tasks import registry  # pyright: ignore[reportMissingImports]

from trudi_rsl.config.presets import task_preset
from trudi_rsl.config.run_folder import LOG_ROOT, select_checkpoint
from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.identify import identify
from trudi_rsl.hosts.continuation import continue_run, is_finished, own_overrides
from trudi_rsl.hosts.mjlab.task import SUFFIX, Task, apply, find_task
from trudi_rsl.hosts.setting_names import names_in
from trudi_rsl.hosts.stock_names import PLAY, Names

logger = logging.getLogger(__name__)


def train(args: argparse.Namespace, rest: Sequence[str] = ()) -> None:
    """Train a task with mjlab's own ``train`` command; see :meth:`trudi_rsl.hosts.host.Host.train`.

    Defaults differ from mjlab's in three points: the log writer is TensorBoard, a machine without a GPU trains on its
    CPU, and the number of environments is the preset's (mjlab's configurations have 1). With ``--distributed``, mjlab
    starts one process per GPU. Overrides also reach settings of mjlab's command, such as ``enable_nan_guard``.
    """
    task = find_task(args.task, args.algo)
    default = _default(task)
    args.start.remember(names_in(default) or {})
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
    if cfg.agent.resume and cfg.wandb_run_path is None:
        checkpoint = _find_resumed(cfg, task)
        rest, args.max_iterations = continue_run(args, rest, checkpoint, cfg.agent.max_iterations)
        if is_finished(args, checkpoint):
            return
        cfg = apply(default, settings | {"agent.seed": args.seed, "agent.max_iterations": args.max_iterations}, rest)
        _select_resumed(cfg, checkpoint)
    elif args.more_iterations is not None:
        raise ConfigError("--more_iterations adds to those of a checkpoint: add --resume, or use --max_iterations.")
    if hasattr(cfg.agent, "overrides"):
        cfg.agent.overrides, cfg.agent.verbose = tuple(own_overrides(args, rest)), bool(args.verbose)
    num_envs, log_writer = cfg.env.scene.num_envs, cfg.agent.logger
    logger.info(f"{task.name}, {task.algo}: {num_envs} environments (--num_envs), log writer {log_writer}.")
    if args.num_threads:
        torch.set_num_threads(args.num_threads)
    launch_training(task.id, cfg)


def stock_tasks() -> Iterator[tuple[str, Sequence[str], str, Names]]:
    """Yield mjlab's own tasks for :func:`trudi_rsl.hosts.stock_names.encode`."""
    for name in registry.list_tasks():
        for algo in ("trudi", "ppo"):
            if not name.endswith(SUFFIX) and (algo == "ppo" or name + SUFFIX in registry.list_tasks()):
                task = find_task(name, algo)
                yield name, (), algo, names_in(_default(task)) or {}
                yield name, (), PLAY, task.played_names()


def _default(task: Task) -> Any:
    return replace(TrainConfig.from_task(task.id), agent=task.agent_cfg())


def play(args: argparse.Namespace, rest: Sequence[str] = ()) -> None:
    """Play a trained policy; see :func:`trudi_rsl.hosts.mjlab.play.play`."""
    from trudi_rsl.hosts.mjlab.play import play as play_with_mjlab  # needs the `export` extra

    play_with_mjlab(args, rest)


def _gpu_ids(device: str | None, distributed: bool) -> Any:
    """Return mjlab's notation for the device: indices of GPUs, ``all``, or the text ``None`` for the CPU."""
    if distributed:
        if not torch.cuda.is_available():
            raise ConfigError("--distributed trains on all GPUs, but this machine has none.")
        return "all"
    kind = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if kind.type not in ("cpu", "cuda"):
        raise ConfigError(f"mjlab runs on cpu or cuda, not on {device!r}.")
    return [kind.index or 0] if kind.type == "cuda" else "None"


def _find_resumed(cfg: Any, task: Task) -> Path:
    """Return the checkpoint to resume; refuse that of another task before the simulator starts."""
    experiment = LOG_ROOT / cfg.agent.experiment_name
    checkpoint = select_checkpoint(experiment, cfg.agent.load_run, cfg.agent.load_checkpoint, task.may_have_trained)
    identify(checkpoint, task.name, task.algo)
    return checkpoint


def _select_resumed(cfg: Any, checkpoint: Path) -> None:
    """Let mjlab resume from exactly the chosen checkpoint; the new run folder is created beside that of the old run."""
    run = checkpoint.resolve().parent
    cfg.agent.experiment_name = run.parent.name
    object.__setattr__(cfg, "log_root", str(run.parent.parent))  # mjlab's dataclass is frozen
    cfg.agent.load_run = f"{re.escape(run.name)}$"
    cfg.agent.load_checkpoint = f"{re.escape(checkpoint.name)}$"
