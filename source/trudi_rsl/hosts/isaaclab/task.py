# SPDX-License-Identifier: BSD-3-Clause
"""Tasks of the installed Isaac Lab, their RSL-RL configurations and checkpoints.

With Isaac Lab 2.3, this module can only be imported after the app has been launched.
"""

from __future__ import annotations

import argparse
import importlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import isaaclab_tasks  # noqa: F401  registers the tasks  # pyright: ignore[reportMissingImports]
from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry  # pyright: ignore[reportMissingImports]
from omegaconf import OmegaConf

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import LEARNER_KINDS, NAMES, algorithm_of, spec_of
from trudi_rsl.config.overrides import check_names, parse_overrides
from trudi_rsl.config.presets import task_preset
from trudi_rsl.config.run_folder import LOG_ROOT, select_checkpoint
from trudi_rsl.config.schema import ANY_CHECKPOINT
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.evaluation.identify import identify, is_of_task
from trudi_rsl.evaluation.play import Playback
from trudi_rsl.hosts.continuation import continue_run
from trudi_rsl.hosts.isaaclab.conversion import alternatives
from trudi_rsl.hosts.isaaclab.registration import PPO_KEY, TRUDI_KEY, agent_key, register
from trudi_rsl.hosts.setting_names import names_in, refuse_wrong
from trudi_rsl.hosts.stock_names import Names
from trudi_rsl.settings import SETTINGS
from trudi_rsl.task_names import counterpart

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """A registered task, by its Gymnasium id, and the algorithm that trains it."""

    id: str
    algo: str

    @property
    def agent_key(self) -> str:
        """Key of the agent configuration in the task's registration."""
        return agent_key(self.algo)

    def agent_cfg(self, overrides: Sequence[str] = ()) -> Any:
        """Return the agent configuration; overrides such as ``presets=name`` choose among alternatives."""
        chosen = [name for text in overrides if "." not in text for name in text.partition("=")[2].split(",")]
        cfg = load_cfg_from_registry(self.id, self.agent_key)
        while choices := alternatives(cfg):
            cfg = choices[next((name for name in chosen if name in choices), "default")]
        return cfg

    def setting_names(self) -> Names:
        """Return the names of the settings of environment and agent, without what overrides may select."""
        env = load_cfg_from_registry(self.id, "env_cfg_entry_point")
        return names_in({"env": env, "agent": self.agent_cfg()}, selectable=()) or {}


def task_to_train(args: argparse.Namespace, overrides: list[str]) -> tuple[Task, Path | None]:
    """Return the task to train and the checkpoint to resume, None for a new run; errors are those of ``Host.train``.

    For a resume, ``overrides`` become those of the run and the user's, ``args.seed`` the run's unless it is set, and
    ``args.max_iterations`` the iterations that are left, possibly none.

    If neither a flag nor an override sets the number of environments, ``args.num_envs`` becomes the preset's: the
    paper's budget of environment steps is a number of iterations with that many environments.
    """
    task = find_task(args.task, args.algo)
    checkpoint = _find_resume(args, task, overrides)
    if checkpoint is not None:
        identify(checkpoint, task.id, args.algo)
        total = task.agent_cfg(overrides).max_iterations
        overrides[:], args.max_iterations = continue_run(args, overrides, checkpoint, total)
    elif args.more_iterations is not None:
        raise ConfigError("--more_iterations adds to those of a checkpoint: add --resume, or use --max_iterations.")
    number = task_preset(task.id, "isaaclab").get("env", {}).get("num_envs") if args.algo in SETTINGS else None
    overridden = any(text.startswith("env.scene.num_envs=") for text in overrides)
    if number is not None and args.num_envs is None and not overridden:
        logger.info(f"{number} environments, as in the preset; change it with --num_envs.")
        args.num_envs = number
    return task, checkpoint


def task_to_play(args: argparse.Namespace, overrides: Sequence[str]) -> tuple[Task, Playback]:
    """Return the task to play, in its variant for playing if there is one, and how to play which checkpoint.

    The algorithm is ``args.algo``, else that of the file ``args.checkpoint``, else TruDi.
    """
    algo = args.algo
    if algo is None and args.checkpoint and Path(args.checkpoint).is_file():
        algo = algorithm_of(read_checkpoint(args.checkpoint))
    task = find_task(args.task, algo or "trudi", play=True)
    args.resume = True
    checkpoint = _find_resume(args, task, overrides)
    assert checkpoint is not None, "resume is set"
    playback = Playback.from_args(args, task.id, checkpoint)
    return Task(task.id, playback.algorithm), playback


def find_task(name: str, algo: str, play: bool = False) -> Task:
    """Return the installed Isaac Lab's task of a name in 2.3 or 3.0, or ``module:Name`` if ``module`` registers it.

    With ``play``, its variant for playing, if it has one.

    Raises:
        ConfigError: The task or algorithm does not exist, or the task has no configuration for RSL-RL.
    """
    if algo not in NAMES:
        raise ConfigError(f"Unknown algorithm {algo!r}. {nearest(algo, NAMES)}")
    module, _, wanted = name.rpartition(":")
    if module:
        importlib.import_module(module)
    register()
    tasks = {task: spec.kwargs for task, spec in gymnasium.registry.items() if "env_cfg_entry_point" in spec.kwargs}
    found = counterpart(wanted, tasks, play)
    if found is None:
        raise ConfigError(f"The installed Isaac Lab has no task {wanted!r}. {nearest(wanted, tasks)}")
    if found != wanted:
        logger.info(f"{wanted} is {found} in the installed Isaac Lab.")
    if agent_key(algo) not in gymnasium.spec(found).kwargs:
        suffix = "_cfg_entry_point"
        others = sorted(key.removesuffix(suffix) for key in tasks[found] if key.endswith(suffix))
        raise ConfigError(
            f"Task {found!r} has no configuration for RSL-RL (only for: {', '.join(others) or 'nothing'}). Register a "
            f"PPO configuration as {PPO_KEY}, or one of TruDi as {TRUDI_KEY}."
        )
    return Task(found, algo)


def use_trained_settings(cfg: Any, checkpoint: Path) -> None:
    """Copy the settings of a checkpoint of TruDi's learner into the agent configuration ``cfg``."""
    spec = spec_of(read_checkpoint(checkpoint))
    if spec is not None and spec["policy"] in LEARNER_KINDS:
        for name, value in spec["settings"].items():
            if hasattr(cfg.algorithm, name):
                setattr(cfg.algorithm, name, value)


def _find_resume(args: argparse.Namespace, task: Task, overrides: Sequence[str]) -> Path | None:
    """Return the checkpoint to resume, None if no flag asks for one; check the names of the agent's overrides."""
    cfg = task.agent_cfg(overrides)
    # those of the environment: Isaac Lab 2.3 itself, launch_3_0.py
    parsed = parse_overrides([text for text in overrides if text.lstrip("+").startswith("agent.")])
    check_names(OmegaConf.create({"agent": cfg.to_dict()}), parsed)
    refuse_wrong(overrides, {"agent": names_in(cfg, selectable=())}, task.algo)
    if not (args.resume or args.load_run or args.checkpoint):
        return None
    values = {override.key_or_group: override.value() for override in parsed}
    experiment = values.get("agent.experiment_name") or args.experiment_name or cfg.experiment_name
    return select_checkpoint(
        LOG_ROOT / str(experiment),
        args.load_run or ".*",
        args.checkpoint or ANY_CHECKPOINT,
        lambda path: is_of_task(path, task.id),
    )
