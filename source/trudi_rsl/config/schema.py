# SPDX-License-Identifier: BSD-3-Clause
"""Typed schemas of a training configuration's sections, but for those that belong to an algorithm."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import MISSING, DictConfig, OmegaConf

from trudi_rsl.config.presets import CONFIG_DIR
from trudi_rsl.errors import ConfigError, nearest

ANY_CHECKPOINT = "model_.*.pt"
"""Regular expression of RSL-RL's checkpoint names."""


@dataclass
class RunnerCfg:
    """RSL-RL's runner settings under Isaac Lab's names; the ``agent`` section without algorithm and models."""

    seed: int = 42
    """Seed of the simulator and of all random generators, at least 0 and below 2^32."""
    device: str = "cuda:0"
    """Where training runs."""
    num_threads: int | None = None
    """CPU threads of torch, at least 1; None keeps torch's default."""
    num_steps_per_env: int = MISSING
    """Environment steps per iteration, at least 1."""
    max_iterations: int = MISSING
    """Iterations to train in total, at least 1; a resumed run counts those before."""
    max_seconds: float | None = None
    """Seconds of training, compiling included, after which it ends before `max_iterations`, above 0; None: no limit."""
    save_interval: int = 50
    """Iterations between checkpoints, at least 1."""
    evaluation_episodes: int | None = 10
    """Episodes without exploration in which the policy of every checkpoint is evaluated, in environments beside those
    of training, at least 1; the highest mean return becomes `best.pt`. None disables the evaluation, and `best.pt`
    is chosen by training return."""
    keep_checkpoints: int | None = None
    """Number of newest checkpoints to keep in the run folder besides the best, at least 1; None keeps all."""
    export_checkpoints: bool = False
    """Export the policy of every checkpoint to `exported/model_<iteration>/`, which takes seconds each."""
    verbose: bool = False
    """Print every logged value in every iteration instead of one row."""
    init_at_random_ep_len: bool = True
    """Start episodes at random lengths, so that the environments do not reset in lockstep."""
    check_for_nan: bool = True
    """End training after a rollout with NaN; without a GPU sync per step, unless RSL-RL's own runner trains."""
    obs_groups: dict[str, list[str]] = field(default_factory=lambda: {"actor": ["policy"], "critic": ["policy"]})
    """Observation groups of actor and critic."""
    experiment_name: str = ""
    """Folder of all runs of this experiment; empty uses the task's name."""
    run_name: str = ""
    """Suffix of the run folder's name."""
    logger: Any = "tensorboard"
    """RSL-RL's log writer: tensorboard, wandb, neptune, or a section with `class_name` (RSL-RL 5.4.2 and newer)."""
    wandb_project: str = "trudi_rsl"
    """Project name for Weights & Biases."""
    neptune_project: str = "trudi_rsl"
    """Project name for Neptune."""
    resume: bool = False
    """Continue from a checkpoint, in a new run folder."""
    load_run: str = ".*"
    """Regular expression of the run to resume; the latest match that has a checkpoint is used."""
    load_checkpoint: str = ANY_CHECKPOINT
    """Checkpoint to resume: a file, a run folder, or a regular expression of file names in the run."""


@dataclass
class EnvCfg:
    """The ``env`` section of a host's tasks; each host derives its own.

    Fields of type ``dict[str, Any]`` are open: overrides may add keys to them.
    """

    num_envs: int = 64
    """Environments stepped together, at least 1."""


@dataclass
class GymnasiumEnvCfg(EnvCfg):
    """The ``env`` section of Gymnasium tasks."""

    max_episode_steps: int | None = None
    """Time limit in steps, at least 1; None keeps the task's own."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Options of the task's constructor."""
    action_bounds: list[float] | None = None
    """Lower and upper bound for action entries that the task leaves unbounded. `agent.algorithm.action_bounds` instead
    overrides the policy's bounds for all entries; the host still clips actions to the task's."""
    obs: str = "flatten"
    """Observations of tasks with a dictionary or tuple: `flatten` makes one vector, the group `policy`; `groups` makes
    an observation group of each entry, for `agent.obs_groups`. Images are groups of their own."""
    images: str = "auto"
    """Type of image observations: `original` is the task's, mostly bytes; `float32` scales bytes to [0, 1], as RSL-RL's
    own networks need; `auto` takes the latter for PPO and SPO, else the former."""


@dataclass(frozen=True, kw_only=True)
class HostSettings:
    """What a configuration needs to know of the host of its task."""

    name: str
    """Section of ``tasks.yaml``."""
    env_cfg: type[EnvCfg] = EnvCfg
    """Schema of the ``env`` section."""
    config_dir: Path = CONFIG_DIR
    """Folder with ``tasks.yaml`` and ``preset/<algorithm>/<name>.yaml``."""

    @property
    def open_sections(self) -> list[str]:
        """The sections of ``env`` that accept keys beyond those of the schema."""
        hints = typing.get_type_hints(self.env_cfg)
        return [f"env.{name}" for name, hint in hints.items() if typing.get_origin(hint) is dict]


GYMNASIUM = HostSettings(name="gymnasium", env_cfg=GymnasiumEnvCfg)
"""The host of tasks that no other host claims."""

Env = TypeVar("Env", bound=EnvCfg)


def read_env(schema: type[Env], values: Mapping[str, Any]) -> Env:
    """Return an ``env`` section as an instance of its schema, with plain Python values in it.

    Types are those of ``values``, which composing or loading has checked. Raises ConfigError for an unknown setting,
    with the nearest names.
    """
    plain: Any = OmegaConf.to_container(values, resolve=True) if isinstance(values, DictConfig) else dict(values)
    known = [entry.name for entry in dataclasses.fields(schema)]
    if unknown := [name for name in plain if name not in known]:
        raise ConfigError(f"Unknown setting 'env.{unknown[0]}'. {nearest(unknown[0], known)}")
    return schema(**plain)


@dataclass
class TrainCfg:
    """A training configuration."""

    task: str = MISSING
    """Task name."""
    env: Any = MISSING
    """The simulator's settings."""
    agent: Any = MISSING
    """RSL-RL's runner configuration."""
