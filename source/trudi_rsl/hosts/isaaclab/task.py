# SPDX-License-Identifier: BSD-3-Clause
"""Finding a task, its configuration for RSL-RL, and its checkpoints, in the installed Isaac Lab."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
from omegaconf import OmegaConf

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import LEARNER_KINDS, NAMES, algorithm_of, spec_of
from trudi_rsl.config.compose import check_names, parse_overrides
from trudi_rsl.config.presets import task_preset
from trudi_rsl.config.run_folder import resume_path
from trudi_rsl.config.schema import ANY_CHECKPOINT
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.hosts.isaaclab.registration import PPO_KEY, TRUDI_KEY, agent_key, register
from trudi_rsl.task_names import counterpart

AGENT_KEYS = {algo: agent_key(algo) for algo in NAMES}
"""Where a task names its configuration for an algorithm."""


@dataclass(frozen=True)
class Task:
    """A task as Isaac Lab knows it, and which of its configurations to use."""

    id: str
    """Gymnasium id."""
    agent_key: str
    """Name of the agent configuration's entry point."""

    def agent_cfg(self, overrides: Sequence[str] = ()) -> Any:
        """Return the agent configuration; of alternatives, the one that ``presets=name`` or its like chooses."""
        from isaaclab_tasks.utils.parse_cfg import (  # pyright: ignore[reportMissingImports]
            load_cfg_from_registry,
        )

        from trudi_rsl.hosts.isaaclab.conversion import alternatives

        chosen = [name for text in overrides if "." not in text for name in text.partition("=")[2].split(",")]
        cfg = load_cfg_from_registry(self.id, self.agent_key)
        while choices := alternatives(cfg):
            cfg = choices[next((name for name in chosen if name in choices), "default")]
        return cfg


def find_task(name: str, algo: str, play: bool = False) -> Task:
    """Return the task that the installed Isaac Lab has under this name or another of its names.

    To be called when Isaac Lab's tasks can be imported, which under 2.3 is after its app has been launched.

    Args:
        name: Task name of Isaac Lab 2.3 or 3.0, or ``module:Name`` for a task that importing ``module`` registers.
        algo: One of :data:`AGENT_KEYS`.
        play: Prefer the variant for playing, where tasks have one.

    Raises:
        ConfigError: If there is no such task (with the nearest names), or it has no configuration for RSL-RL.
    """
    if algo not in AGENT_KEYS:
        raise ConfigError(f"Unknown algorithm {algo!r}. {nearest(algo, AGENT_KEYS)}")
    module, _, wanted = name.rpartition(":")
    import isaaclab_tasks  # noqa: F401  # pyright: ignore[reportMissingImports]

    if module:
        importlib.import_module(module)
    register()
    tasks = {task: spec.kwargs for task, spec in gymnasium.registry.items() if "env_cfg_entry_point" in spec.kwargs}
    found = counterpart(wanted, tasks, play)
    if found is None:
        raise ConfigError(f"No task {wanted!r} in the installed Isaac Lab. {nearest(wanted, tasks)}")
    if found != wanted:
        print(f"[trudi_rsl] {wanted} is {found} in the installed Isaac Lab.", flush=True)
    if AGENT_KEYS[algo] not in gymnasium.spec(found).kwargs:
        others = sorted(
            key.removesuffix("_cfg_entry_point") for key in tasks[found] if key.endswith("_cfg_entry_point")
        )
        raise ConfigError(
            f"Task {found!r} has no configuration for RSL-RL (it has one for: {', '.join(others) or 'nothing'}). "
            f"Register it with {PPO_KEY}, or give it a configuration for TruDi as {TRUDI_KEY}."
        )
    return Task(found, AGENT_KEYS[algo])


def played_algorithm(args: argparse.Namespace) -> str:
    """Return the algorithm to play: ``--algo``, or that of a checkpoint given as a file, or TruDi.

    Args:
        args: ``algo`` and ``checkpoint``.

    Raises:
        CheckpointError: If the file is not a checkpoint.
    """
    if args.algo is None and args.checkpoint and Path(args.checkpoint).is_file():
        return algorithm_of(read_checkpoint(args.checkpoint))
    return args.algo or "trudi"


def check_agent_overrides(cfg: Any, overrides: Sequence[str]) -> None:
    """Refuse overrides of agent settings that do not exist, before a simulator starts.

    Args:
        cfg: The agent configuration.
        overrides: Of agent and environment; the latter are Isaac Lab's to check.

    Raises:
        ConfigError: With the nearest names.
    """
    given = [text for text in overrides if text.lstrip("+").startswith("agent.")]
    check_names(OmegaConf.create({"agent": cfg.to_dict()}), parse_overrides(given))


def preset_num_envs(task: Task, overrides: Sequence[str]) -> int | None:
    """Return the number of environments that the task's preset is made for, None if it or an override leaves it open.

    The paper's budget of environment steps is one of iterations at that number.
    """
    number = task_preset(task.id, "isaaclab").get("env", {}).get("num_envs")
    if number is None or any(text.startswith("env.scene.num_envs=") for text in overrides):
        return None
    print(f"[trudi_rsl] {number} environments, as the preset has; --num_envs sets another number.", flush=True)
    return number


def use_trained_settings(cfg: Any, checkpoint: Path) -> None:
    """Give an agent configuration the settings a TruDi checkpoint was trained with, since its weights fit no others.

    Args:
        cfg: The task's agent configuration, changed in place.
        checkpoint: A ``model_*.pt``; one of PPO or its relatives changes nothing.
    """
    spec = spec_of(read_checkpoint(checkpoint))
    if spec is None or spec["policy"] not in LEARNER_KINDS:
        return
    for name, value in spec["settings"].items():
        if hasattr(cfg.algorithm, name):
            setattr(cfg.algorithm, name, value)


def find_resume(args: argparse.Namespace, cfg: Any, overrides: Sequence[str]) -> Path | None:
    """Return the checkpoint that flags ask for: a path, or by regular expressions among the runs of the experiment.

    Args:
        args: ``resume``, ``load_run``, ``checkpoint`` and ``experiment_name``.
        cfg: The agent configuration, which names the experiment otherwise.
        overrides: May name the experiment too.

    Raises:
        CheckpointError: If there is none.
    """
    if not (args.resume or args.load_run or args.checkpoint):
        return None
    named = {o.key_or_group: o.value() for o in parse_overrides([t for t in overrides if t.startswith("agent.")])}
    experiment = named.get("agent.experiment_name") or args.experiment_name or cfg.experiment_name
    agent = {"resume": True, "load_run": args.load_run or ".*", "load_checkpoint": args.checkpoint or ANY_CHECKPOINT}
    return resume_path(OmegaConf.create({"agent": {**agent, "experiment_name": str(experiment)}}))
