# SPDX-License-Identifier: BSD-3-Clause
"""The settings that a checkpoint carries, and taking them over where the user has set nothing else."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import RunRecord, check_algorithm, check_task, class_basename, run_of, task_of
from trudi_rsl.checkpoints.rebuild import with_known_classes
from trudi_rsl.checkpoints.release import require_resumable
from trudi_rsl.choices import Algorithm
from trudi_rsl.config.compose import check_values
from trudi_rsl.config.run_folder import load_params
from trudi_rsl.config.schema import EnvCfg
from trudi_rsl.errors import CheckpointError, ConfigError, as_checkpoint_error, one_line
from trudi_rsl.settings import algorithm_of_settings

SECTIONS = ("agent.algorithm", "agent.actor", "agent.critic")
"""Sections of an agent whose settings are taken over one by one; everything else is taken over as a whole."""

OWN_SETTINGS = (
    *("class_name", "experiment_name", "run_name", "logger", "resume", "load_run", "load_checkpoint", "verbose"),
    *("wandb_project", "neptune_project", "max_iterations"),
)
"""Settings of an agent that each run has for itself."""


NOT_MENTIONED = ("device", "num_threads")
"""Settings that do not change what is trained."""


@dataclass(frozen=True)
class Continuation:
    """How a resumed training goes on."""

    cfg: DictConfig
    """Its configuration; ``agent.max_iterations`` is the total."""
    done: int
    """Iterations in the checkpoint."""
    overridden: str
    """A sentence on the settings that differ from the run's; empty if none does."""
    preset: str | None
    """The preset of the run; None if it is not known."""

    @property
    def left(self) -> int:
        """Iterations to train, at least 0."""
        return max(0, self.cfg.agent.max_iterations - self.done)

    def finished_message(self, checkpoint: Path) -> str:
        """Return what to say if none are left."""
        total = self.cfg.agent.max_iterations
        return (
            f"Finished: {checkpoint} has {self.done} of {total} iterations. --more_iterations N trains N more, "
            "--max_iterations sets the total."
        )


def record_of(checkpoint: Path, content: Mapping[str, Any] | None = None) -> RunRecord | None:
    """Return what is known about the run of a checkpoint file: its own record, else the settings beside it.

    None for a file of another program, or of an earlier version of this one outside of its run folder. ``content``
    spares reading the file.
    """
    record = run_of(read_checkpoint(checkpoint) if content is None else content)
    if record is not None and record["env"] is not None:
        return record
    try:
        return record_beside(checkpoint, record)
    except CheckpointError:
        return record


def record_beside(checkpoint: Path, record: RunRecord | None, env_cfg: type[EnvCfg] = EnvCfg) -> RunRecord:
    """Return the record of a run with the settings in ``params/`` beside its checkpoint.

    ``env_cfg`` is the schema of its ``env`` section.

    Raises:
        CheckpointError: If there are none, or another program's.
    """
    params: Any = OmegaConf.to_container(load_params(checkpoint.parent, env_cfg))
    known: Any = record or {
        "id": checkpoint.resolve().parent.name,
        "ancestors": [],
        "preset": None,
        "overrides": [],
        "versions": {},
    }
    return cast(RunRecord, {**known, **params, "seed": params["agent"].get("seed")})


def continue_run(
    cfg: DictConfig, named: Collection[str], checkpoint: Path, more_iterations: int | None = None
) -> Continuation:
    """Return how to resume a checkpoint: with the settings of its run, except for those that the user names.

    Args:
        cfg: The composed configuration, with what the user has set.
        named: Dotted names of what the user has set, by flags or overrides; ``preset`` stands for all settings.
        checkpoint: The file.
        more_iterations: Iterations to add to those in the checkpoint; None takes the total, the user's or the run's.

    Raises:
        CheckpointError: If the checkpoint is of another algorithm or task or was released without what a resume needs,
            or the settings in it do not fit.
        ConfigError: If the iterations are set in two ways, or are below 1.
    """
    content = read_checkpoint(checkpoint)
    check_algorithm(content, _algorithm(cfg.agent.algorithm))
    check_task(task_of(content), cfg.task)
    require_resumable(content, checkpoint)
    record, done = record_of(checkpoint, content), content.get("iter", -1) + 1
    cfg, overridden = adopt(cfg, named, record)
    if more_iterations is not None:
        if "agent.max_iterations" in named or more_iterations < 1:
            raise ConfigError(
                "--more_iterations is a number of at least 1, without --max_iterations, which is a total."
            )
        cfg.agent.max_iterations = done + more_iterations
    elif "agent.max_iterations" not in named and record is not None:
        total = record["agent"].get("max_iterations")
        cfg.agent.max_iterations = total if isinstance(total, int) else cfg.agent.max_iterations
    cfg.agent.load_checkpoint = str(checkpoint)
    check_values(cfg)
    preset = None if record is None or "preset" in named else record["preset"]
    return Continuation(cfg, done, overridden, preset)


def _algorithm(section: Mapping[str, Any]) -> Algorithm:
    """Return the ``--algo`` name of an ``algorithm`` section."""
    name = str(class_basename(section["class_name"])).lower()
    return algorithm_of_settings(section) if name == "trudi" else cast(Algorithm, name)


def adopt(cfg: DictConfig, named: Collection[str], record: RunRecord | None) -> tuple[DictConfig, str]:
    """Return a configuration with the settings of a run, and a sentence on those that the user has set differently.

    Settings that the run does not have, since it is of an earlier version, keep their values.
    """
    if record is None or record["env"] is None or "preset" in named:
        return cfg, ""
    adopted = cfg.copy()
    with as_checkpoint_error():
        shared = {name: value for name, value in record["agent"].items() if name not in OWN_SETTINGS}
        agent = with_known_classes(shared)
        _take_over(adopted.env, record["env"], "env")
        _take_over(adopted.agent, agent, "agent")
    return adopted, replace_settings(adopted, cfg, named, record["task"])


def replace_settings(
    settings: DictConfig, chosen: DictConfig, names: Iterable[str], trained_task: str | None = None
) -> str:
    """Give settings of a run the values that the user has chosen, and return a sentence on those that differ.

    Args:
        settings: ``task``, ``agent`` and ``env``; modified.
        chosen: A configuration with the user's values.
        names: Dotted names of what the user has set.
        trained_task: The task of the run.
    """
    changed = []
    for name in names:
        if name.startswith(("agent.", "env.")):
            before, value = OmegaConf.select(settings, name), OmegaConf.select(chosen, name)
            OmegaConf.update(settings, name, value, merge=False, force_add=True)
            if before != value and name.rpartition(".")[2] not in (*OWN_SETTINGS, *NOT_MENTIONED):
                changed.append(f"{name} {_shown(before)} -> {_shown(value)}")
    if trained_task not in (None, settings.task):
        changed.insert(0, f"task {one_line(trained_task, 80)} -> {settings.task}")
    return f"Overridden, the run had other values: {', '.join(changed)}." if changed else ""


def _take_over(section: DictConfig, values: Mapping[str, Any], prefix: str) -> None:
    for name, value in values.items():
        full_name = f"{prefix}.{name}"
        if name not in section or (prefix != "env" and name in OWN_SETTINGS):
            continue
        if full_name in SECTIONS and isinstance(section[name], DictConfig) and isinstance(value, Mapping):
            _take_over(section[name], value, full_name)
        else:
            OmegaConf.update(section, name, value, merge=False)


def _shown(value: Any) -> str:
    plain = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
    return one_line("null" if plain is None else plain, 60)
