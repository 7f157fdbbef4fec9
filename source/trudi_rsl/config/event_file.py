# SPDX-License-Identifier: BSD-3-Clause
"""Reading the log of a run folder: TensorBoard events and the saved configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from omegaconf import DictConfig, OmegaConf

from trudi_rsl.checkpoints.format import class_basename
from trudi_rsl.choices import NAMES
from trudi_rsl.config import load_params
from trudi_rsl.config.yaml_file import read_foreign_yaml
from trudi_rsl.errors import CheckpointError, ConfigError, UserError, one_line
from trudi_rsl.metric_names import tags_of
from trudi_rsl.plain_values import is_count, is_finite
from trudi_rsl.settings import algorithm_of_settings

SECONDS_TAGS = ("Perf/collection_time", "Perf/learning_time")
"""Seconds of each iteration."""


class RunError(UserError, RuntimeError):
    """The folder is not a run, or its log has no usable content."""


@dataclass(frozen=True)
class Run:
    """The log of a training run."""

    name: str
    scalars: dict[str, tuple[np.ndarray, np.ndarray]]
    """Tag to iterations ``[n]`` and values ``[n]``; a tag that was never logged is missing."""
    steps_per_iteration: int | None
    """Environment steps per iteration over all environments, None if unknown."""
    kl_bound: float | None
    """Trust region on the path KL per state, nats; None if there is none."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The saved ``agent.algorithm`` section; empty if unknown."""
    seed: int | None = None
    """Seed of the training; None if unknown."""

    @property
    def algorithm(self) -> str | None:
        """Display name of the algorithm; None if unknown."""
        found = class_basename(self.settings.get("class_name"))
        return NAMES[algorithm_of_settings(self.settings)] if found == NAMES["trudi"] else found

    def env_steps(self, iterations: np.ndarray) -> np.ndarray:
        """Return the environment steps taken by the end of each iteration ``[n]``; iteration 0 is the first.

        Raises:
            RunError: If the run's configuration is unknown.
        """
        if self.steps_per_iteration is None:
            raise RunError(f"{self.name} has no readable configuration with its environment steps per iteration.")
        return (iterations + 1) * self.steps_per_iteration

    def elapsed_seconds(self, iterations: np.ndarray) -> np.ndarray:
        """Return the seconds of training by the end of each iteration ``[n]``, with compilation and without start-up.

        Raises:
            RunError: If :data:`SECONDS_TAGS` were not logged or not read.
        """
        if not all(tag in self.scalars for tag in SECONDS_TAGS):
            raise RunError(f"{self.name} has no log of its seconds per iteration.")
        logged, _ = self.scalars[SECONDS_TAGS[0]]
        seconds = np.sum([self.scalars[tag][1] for tag in SECONDS_TAGS], axis=0, dtype=np.float64).cumsum()
        return seconds[np.searchsorted(logged, iterations)]


def read_run(folder: str | Path, tags: Iterable[str]) -> Run:
    """Read scalars from a folder with ``events.out.tfevents.*`` and, if trudi_rsl trained it, ``params/*.yaml``.

    A scalar is found whatever heading a run logged it under; it gets the tag that was asked for.

    Raises:
        RunError: If the folder does not exist, or its events are missing or damaged.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"No run folder at {folder}.")
    if not any(folder.glob("events.out.tfevents.*")):
        example = "logs/rsl_rl/<experiment>/<timestamp>"
        raise RunError(f"{folder} holds no TensorBoard events. Pass a run folder, {example}.")
    scalars = {}
    try:
        events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        events.Reload()
        logged = {*events.Tags()["scalars"]}
        for tag in {*tags}:
            found = next((name for name in tags_of(tag) if name in logged), None)
            if found is None:
                continue
            points = events.Scalars(found)
            scalars[tag] = (np.array([p.step for p in points]), np.array([p.value for p in points]))
    except Exception as error:  # damaged files make TensorBoard raise any error
        raise RunError(f"The TensorBoard events in {folder} are damaged: {one_line(error)}") from error
    name = folder.resolve().name
    try:
        params = load_params(folder)
    except CheckpointError:  # settings of another program, or none
        return Run(name, scalars, _host_steps_per_iteration(folder), None)
    algorithm = params.agent.get("algorithm")
    settings = cast("dict[str, Any]", OmegaConf.to_container(algorithm)) if isinstance(algorithm, DictConfig) else {}
    kl_bound = settings.get("kl_bound")
    steps, num_envs = OmegaConf.select(params, "agent.num_steps_per_env"), OmegaConf.select(params, "env.num_envs")
    per_iteration = steps * num_envs if is_count(steps) and is_count(num_envs) else None
    seed = OmegaConf.select(params, "agent.seed")
    return Run(name, scalars, per_iteration, kl_bound if is_finite(kl_bound) else None, settings, seed)


def _host_steps_per_iteration(folder: Path) -> int | None:
    """Return the environment steps per iteration of a run whose settings Isaac Lab or mjlab wrote, None if unknown."""
    try:
        agent, env = (read_foreign_yaml(folder / "params" / f"{name}.yaml") for name in ("agent", "env"))
        steps, num_envs = agent["num_steps_per_env"], env["scene"]["num_envs"]
    except (OSError, ConfigError, LookupError, TypeError):
        return None
    return steps * num_envs if is_count(steps) and is_count(num_envs) else None
