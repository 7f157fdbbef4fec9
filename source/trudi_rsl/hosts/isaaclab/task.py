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
from trudi_rsl.config.compose import check_names, parse_overrides
from trudi_rsl.config.presets import task_preset
from trudi_rsl.config.run_folder import LOG_ROOT, select_checkpoint
from trudi_rsl.config.schema import ANY_CHECKPOINT
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.hosts.isaaclab.conversion import alternatives
from trudi_rsl.hosts.isaaclab.registration import PPO_KEY, TRUDI_KEY, agent_key, register
from trudi_rsl.task_names import counterpart

logger = logging.getLogger(__name__)

AGENT_KEYS = {algo: agent_key(algo) for algo in NAMES}
"""Keys of the configurations in a task's registration, by algorithm."""


@dataclass(frozen=True)
class Task:
    """A registered task and the configuration to use."""

    id: str
    """Gymnasium id."""
    agent_key: str
    """Key of the agent configuration, one of :data:`AGENT_KEYS`."""

    def agent_cfg(self, overrides: Sequence[str] = ()) -> Any:
        """Return the agent configuration; overrides such as ``presets=name`` choose among alternatives."""
        chosen = [name for text in overrides if "." not in text for name in text.partition("=")[2].split(",")]
        cfg = load_cfg_from_registry(self.id, self.agent_key)
        while choices := alternatives(cfg):
            cfg = choices[next((name for name in chosen if name in choices), "default")]
        return cfg


def find_task(name: str, algo: str, play: bool = False) -> Task:
    """Return the task of the installed Isaac Lab that has this name or is the same task under another name.

    Args:
        name: Task name of Isaac Lab 2.3 or 3.0, or ``module:Name`` for a task that importing ``module`` registers.
        algo: One of :data:`AGENT_KEYS`.
        play: Prefer the task's variant for playing, if it has one.

    Raises:
        ConfigError: The task (named with the nearest ones) or algorithm does not exist, or the task has no
            configuration for RSL-RL.
    """
    if algo not in AGENT_KEYS:
        raise ConfigError(f"Unknown algorithm {algo!r}. {nearest(algo, AGENT_KEYS)}")
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
    if AGENT_KEYS[algo] not in gymnasium.spec(found).kwargs:
        suffix = "_cfg_entry_point"
        others = sorted(key.removesuffix(suffix) for key in tasks[found] if key.endswith(suffix))
        raise ConfigError(
            f"Task {found!r} has no configuration for RSL-RL (only for: {', '.join(others) or 'nothing'}). Register a "
            f"PPO configuration as {PPO_KEY}, or one of TruDi as {TRUDI_KEY}."
        )
    return Task(found, AGENT_KEYS[algo])


def played_algorithm(args: argparse.Namespace) -> str:
    """Return the algorithm to play: ``args.algo``, else that of the file ``args.checkpoint``, else TruDi.

    Raises:
        CheckpointError: The file is not a checkpoint.
    """
    if args.algo is None and args.checkpoint and Path(args.checkpoint).is_file():
        return algorithm_of(read_checkpoint(args.checkpoint))
    return args.algo or "trudi"


def check_agent_overrides(cfg: Any, overrides: Sequence[str]) -> None:
    """Raise if an override's agent setting does not exist in ``cfg``; Isaac Lab itself checks those of ``env``.

    Raises:
        ConfigError: Names the nearest settings.
    """
    given = [text for text in overrides if text.lstrip("+").startswith("agent.")]
    check_names(OmegaConf.create({"agent": cfg.to_dict()}), parse_overrides(given))


def preset_num_envs(task: Task, overrides: Sequence[str]) -> int | None:
    """Return the preset's number of environments, None if the preset or an override leaves it to the task.

    The paper's budget of environment steps is a number of iterations with that many environments.
    """
    number = task_preset(task.id, "isaaclab").get("env", {}).get("num_envs")
    if number is None or any(text.startswith("env.scene.num_envs=") for text in overrides):
        return None
    logger.info(f"{number} environments, as in the preset; change it with --num_envs.")
    return number


def use_trained_settings(cfg: Any, checkpoint: Path) -> None:
    """Copy the settings of a checkpoint of TruDi's learner into the agent configuration ``cfg``."""
    spec = spec_of(read_checkpoint(checkpoint))
    if spec is None or spec["policy"] not in LEARNER_KINDS:
        return
    for name, value in spec["settings"].items():
        if hasattr(cfg.algorithm, name):
            setattr(cfg.algorithm, name, value)


def find_resume(args: argparse.Namespace, cfg: Any, overrides: Sequence[str]) -> Path | None:
    """Return the checkpoint to resume, None if no flag asks for one; overrides may set the experiment's name.

    Raises:
        CheckpointError: There is no such checkpoint.
    """
    if not (args.resume or args.load_run or args.checkpoint):
        return None
    named = {o.key_or_group: o.value() for o in parse_overrides([t for t in overrides if t.startswith("agent.")])}
    experiment = named.get("agent.experiment_name") or args.experiment_name or cfg.experiment_name
    return select_checkpoint(LOG_ROOT / str(experiment), args.load_run or ".*", args.checkpoint or ANY_CHECKPOINT)
