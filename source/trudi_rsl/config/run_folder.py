# SPDX-License-Identifier: BSD-3-Clause
"""Folders of runs, laid out and named as Isaac Lab does: ``logs/rsl_rl/<experiment>/<timestamp>[_<run_name>]/``."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from trudi_rsl.config.schema import ANY_CHECKPOINT, EnvCfg, RunnerCfg
from trudi_rsl.config.yaml_file import read_yaml
from trudi_rsl.errors import CheckpointError, ConfigError, one_line
from trudi_rsl.files import is_whole

logger = logging.getLogger(__name__)

LOG_ROOT = Path("logs", "rsl_rl")
"""Folder of all experiments, relative to the working directory."""


def experiment_folder(cfg: DictConfig) -> Path:
    """Return the folder of all runs of the experiment."""
    return LOG_ROOT / cfg.agent.experiment_name


@contextlib.contextmanager
def create_run_folder(experiment: Path, run_name: str = "") -> Iterator[Path]:
    """Create and yield a new run folder whose name ends in ``run_name``; remove it if the block fails to fill it."""
    stem = datetime.now().strftime("%Y-%m-%d_%H-%M-%S") + (f"_{run_name}" if run_name else "")
    experiment.mkdir(parents=True, exist_ok=True)
    folder = experiment / stem
    for attempt in itertools.count(1):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            break
        folder = experiment / f"{stem}_{attempt}"
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


def find_checkpoint(experiment: Path, run_regex: str = ".*", checkpoint_regex: str = ANY_CHECKPOINT) -> Path:
    """Return the newest checkpoint of the newest run that has one; damaged files are skipped with a warning.

    The regular expressions match the starts of names; one that is itself a name means only that.

    Raises:
        CheckpointError: If nothing matches.
        ConfigError: If a regular expression is malformed.
    """
    runs = [p for p in _matching(experiment, run_regex) if p.is_dir()]
    for run in reversed(runs):
        files = [p for p in _matching(run, checkpoint_regex) if p.is_file()]
        if (newest := next(_whole(reversed(files)), None)) is not None:
            return newest
        if files and checkpoint_regex != ANY_CHECKPOINT:
            raise CheckpointError(f"{files[-1]} is damaged or incomplete. Choose another checkpoint or run.")
    if not runs:
        raise CheckpointError(f"No run in {experiment} matches {run_regex!r}.")
    raise CheckpointError(f"No run in {experiment} matching {run_regex!r} has a file matching {checkpoint_regex!r}.")


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints ``model_<iteration>.pt`` of a folder, sorted; damaged files are skipped with a warning.

    Raises:
        CheckpointError: If there is none.
    """
    found = list(_whole(p for p in _matching(folder, r"model_\d+\.pt$") if p.is_file()))
    if not found:
        raise CheckpointError(f"{folder} has no sound checkpoint model_<iteration>.pt.")
    return found


def select_checkpoint(experiment: Path, run_regex: str, checkpoint: str) -> Path:
    """Return a checkpoint given as a file, as a run folder, or by regular expressions; see :func:`find_checkpoint`.

    A run may be given by its path, too, as it is printed.
    """
    path, run = Path(checkpoint), Path(run_regex)
    if len(run.parts) > 1 and run.is_dir():
        experiment, run_regex = run.resolve().parent, run.resolve().name
    if path.is_file():
        return path
    if path.is_dir():
        return find_checkpoint(path.resolve().parent, f"{re.escape(path.resolve().name)}$")
    if len(path.parts) > 1:
        raise CheckpointError(f"No checkpoint at {path}.")
    return find_checkpoint(experiment, run_regex, checkpoint)


def resume_path(cfg: DictConfig) -> Path | None:
    """Return the checkpoint that ``cfg.agent`` resumes from, None if it does not resume; see `select_checkpoint`."""
    agent = cfg.agent
    return select_checkpoint(experiment_folder(cfg), agent.load_run, agent.load_checkpoint) if agent.resume else None


def save_params(run_dir: Path, cfg: DictConfig) -> None:
    """Write ``params/agent.yaml`` and ``params/env.yaml``; the latter also names the task."""
    params = run_dir / "params"
    params.mkdir(exist_ok=True)
    OmegaConf.save(cfg.agent, params / "agent.yaml")
    OmegaConf.save({"task": cfg.task, **cfg.env}, params / "env.yaml")


def load_params(run_dir: Path, env_cfg: type[EnvCfg] = EnvCfg) -> DictConfig:
    """Read the result of :func:`save_params`: ``task``, ``agent`` and ``env``, whose schema is ``env_cfg``.

    Raises:
        CheckpointError: If the folder contains no parameters, or those of another program.
    """
    params = Path(run_dir) / "params"
    if not (params / "agent.yaml").is_file() or not (params / "env.yaml").is_file():
        raise CheckpointError(f"{run_dir} is not a run folder: it has no params/agent.yaml and params/env.yaml.")
    env = _read(params / "env.yaml", env_cfg)
    agent = _read(params / "agent.yaml", RunnerCfg)
    task = env.pop("task", None)
    if not isinstance(task, str):
        raise CheckpointError(f"{params / 'env.yaml'} does not name a task, so trudi_rsl's train.py did not write it.")
    return OmegaConf.create({"task": task, "agent": agent, "env": env})


def _read(path: Path, schema: type) -> DictConfig:
    """Read a section of settings; those that ``schema`` has are converted to its types."""
    try:
        read_yaml(path)  # checks only: OmegaConf reads more texts as numbers
        section = OmegaConf.load(path)
        if not isinstance(section, DictConfig):
            raise ConfigError("it is a list")
        names = [field.name for field in dataclasses.fields(schema) if field.name in section]
        typed = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.masked_copy(section, names))
        for name in names:
            section[name] = OmegaConf.to_container(typed)[name]  # pyright: ignore
        if missing := OmegaConf.missing_keys(section):
            raise ConfigError(f"no value for {', '.join(sorted(missing))}")
    except Exception as error:  # OmegaConf raises more than its own errors
        raise CheckpointError(f"{path} was not written by trudi_rsl's train.py: {one_line(error)}") from error
    return section


def _whole(files: Iterable[Path]) -> Iterator[Path]:
    """Yield the intact files and warn about the others."""
    for file in files:
        if is_whole(file):
            yield file
        else:
            logger.warning("%s is damaged or incomplete, and was skipped.", file)


def _matching(folder: Path, regex: str) -> list[Path]:
    """Return the entry of that very name, else those whose names match, in natural order of their numbers."""
    if Path(regex).name == regex and (folder / regex).exists():
        return [folder / regex]
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ConfigError(f"{regex!r} is not a regular expression: {error}.") from error
    entries = [p for p in folder.iterdir() if pattern.match(p.name)] if folder.is_dir() else []
    return sorted(entries, key=lambda p: [int(s) if s.isdigit() else s for s in re.split(r"(\d+)", p.name)])
