# SPDX-License-Identifier: BSD-3-Clause
"""Folders of runs, laid out and named as Isaac Lab does: ``logs/rsl_rl/<experiment>/<timestamp>[_<run_name>]/``."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import itertools
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trudi_rsl.config.schema import ANY_CHECKPOINT, EnvCfg, RunnerCfg
from trudi_rsl.config.yaml_file import read_yaml
from trudi_rsl.errors import CheckpointError, ConfigError, nearest, one_line
from trudi_rsl.files import is_whole, starts_as_checkpoint

logger = logging.getLogger(__name__)

LOG_ROOT = Path("logs", "rsl_rl")
"""Folder of all experiments, relative to the working directory."""

CHECKPOINTS, EVENTS = "model_*.pt", "events.out.tfevents.*"
"""Patterns of the files that a run folder holds: its checkpoints, its log."""


def experiment_folder(cfg: DictConfig) -> Path:
    """Return the folder of all runs of the experiment."""
    return LOG_ROOT / cfg.agent.experiment_name


@contextlib.contextmanager
def create_run_folder(experiment: Path, run_name: str = "") -> Iterator[Path]:
    """Create and yield a new run folder whose name ends in ``run_name``; remove it if the block fails to fill it."""
    stem = datetime.now().strftime("%Y-%m-%d_%H-%M-%S") + (f"_{run_name}" if run_name else "")
    try:
        experiment.mkdir(parents=True, exist_ok=True)
        folder = experiment / stem
        for attempt in itertools.count(1):
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                break
            folder = experiment / f"{stem}_{attempt}"
    except OSError as error:
        reason = f"{error.strerror or one_line(error)}: {error.filename or experiment}"
        raise ConfigError(
            f"Cannot make a run folder in {experiment.absolute()} ({reason}). Runs are kept below the working folder: "
            "start in one that you may write to."
        ) from None
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


def find_checkpoint(
    experiment: Path,
    run_regex: str = ".*",
    checkpoint_regex: str = ANY_CHECKPOINT,
    accepts: Callable[[Path], bool] | None = None,
) -> Path:
    """Return the newest checkpoint of the newest run that has one; damaged files are skipped with a warning.

    The regular expressions match the starts of names; one that is itself a name means only that. Runs whose checkpoint
    ``accepts`` refuses are skipped: tasks may share the folder of an experiment.

    Raises:
        CheckpointError: If nothing matches.
        ConfigError: If a regular expression is malformed.
    """
    runs = [p for p in _matching(experiment, run_regex) if p.is_dir()]
    refused = []
    for run in reversed(runs):
        files = [p for p in _matching(run, checkpoint_regex) if p.is_file()]
        if (newest := next(_whole(reversed(files)), None)) is not None:
            if accepts is None or accepts(newest):
                if refused:
                    logger.info("Skipped newer runs of other tasks: %s.", ", ".join(refused))
                return newest
            refused.append(run.name)
            continue
        if files and checkpoint_regex != ANY_CHECKPOINT:
            raise CheckpointError(f"{files[-1]} is damaged or incomplete. Choose another checkpoint or run.")
    if not runs:
        if run_regex == ".*":
            raise CheckpointError(
                f"No run yet in {experiment.absolute()}: train one with trudi train, or start in the folder whose "
                f"{LOG_ROOT} holds it."
            )
        names = [p.name for p in _matching(experiment, ".*") if p.is_dir()]
        raise CheckpointError(f"No run in {experiment} matches {run_regex!r}. {nearest(run_regex, names)}")
    if refused:
        raise CheckpointError(f"No run in {experiment} is of this task; {', '.join(refused)} are of others.")
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


def select_checkpoint(
    experiment: Path, run_regex: str, checkpoint: str, accepts: Callable[[Path], bool] | None = None
) -> Path:
    """Return a checkpoint given by a path or by regular expressions; see :func:`one_checkpoint`, `find_checkpoint`.

    A run may be given by its path, too, as it is printed.
    """
    run = Path(run_regex)
    if len(run.parts) > 1 and run.is_dir():
        experiment, run_regex = run.resolve().parent, run.resolve().name
    require_path(checkpoint)
    if Path(checkpoint).exists():
        return one_checkpoint(checkpoint)
    return find_checkpoint(experiment, run_regex, checkpoint, accepts)


def require_path(checkpoint: str) -> None:
    """Raise a CheckpointError if there is nothing at a path; a single name may be a regular expression of names."""
    if len(Path(checkpoint).parts) > 1:
        require_exists(checkpoint)


def require_exists(named: str | Path) -> None:
    """Raise a CheckpointError, with the nearest names, if there is nothing at a path."""
    if Path(named).exists():
        return
    if re.match(r"(agent|env)\.[\w.]+=", str(named)):
        raise CheckpointError(f"{named} is an override, and this command takes none.")
    raise CheckpointError(f"Nothing at {named}. {_nearest_paths(Path(named))}")


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
    entries = list(folder.iterdir()) if folder.is_dir() else []
    if same := [p for p in entries if p.name == regex]:
        return same
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise ConfigError(f"{regex!r} is not a regular expression: {error}.") from error
    entries = [p for p in entries if pattern.match(p.name)]
    return sorted(entries, key=lambda p: _natural(p.name))


# -- what a user names ------------------------------------------------------------------------------------------------


def find_runs(named: str | Path, holding: str = CHECKPOINTS) -> list[Path]:
    """Return the run folders that a user names: every command that reads runs takes the same arguments.

    Args:
        named: A run folder, a file in one, a folder above run folders, or a pattern of these (``*``, ``?``, ``**``).
        holding: Pattern of the files that make a folder a run, :data:`CHECKPOINTS` or :data:`EVENTS`.

    Raises:
        CheckpointError: If it names none, with the nearest names.
    """
    paths = _named_paths(named)
    if runs := list(dict.fromkeys(run for path in paths for run in _runs_in(path, holding))):
        return runs
    what = "checkpoint" if holding == CHECKPOINTS else "log"
    raise CheckpointError(f"No {what} ({holding}) in {named} or below it.")


def find_checkpoints(named: str | Path) -> list[Path]:
    """Return the checkpoints that a user names: a file itself, and the newest of each run; see :func:`find_runs`."""
    paths, found = _named_paths(named), {}
    for path in paths:
        if path.is_file():
            if len(paths) == 1 and not starts_as_checkpoint(path):
                raise CheckpointError(f"{path} is not a checkpoint (model_*.pt); name one, or its run folder.")
            checkpoints = [path] if len(paths) == 1 or path.match(CHECKPOINTS) else []
        else:
            checkpoints = map(newest_checkpoint, _runs_in(path, CHECKPOINTS))
        found |= {checkpoint.resolve(): checkpoint for checkpoint in checkpoints}
    if not found:
        raise CheckpointError(f"No checkpoint ({CHECKPOINTS}) in {named} or below it.")
    return list(found.values())


def named_checkpoints(named: Sequence[str]) -> list[tuple[str | None, Path]]:
    """Return the checkpoints that several arguments name, each once, with the name of its group if it has one.

    An argument is what :func:`find_checkpoints` takes, or ``NAME=PATH`` with the group's name. Raises CheckpointError
    if there is none, or one names nothing.
    """
    if not named:
        raise CheckpointError("No checkpoint, run folder or pattern was given.")
    found: dict[Path, tuple[str | None, Path]] = {}
    for text in named:
        label, path = _split_label(text)
        for checkpoint in find_checkpoints(path):
            found.setdefault(checkpoint.resolve(), (label, checkpoint))
    return list(found.values())


def _split_label(text: str) -> tuple[str | None, str]:
    """Split ``NAME=PATH``; without a name the first part is None."""
    label, _, pattern = text.partition("=")
    is_path = "=" not in text or os.path.lexists(text) or "/" in label or not label.strip()
    return (None, text) if is_path else (label.strip(), pattern)


def task_beside(checkpoint: Path) -> str | None:
    """Return the task that ``params/`` beside a checkpoint names, without reading the checkpoint, which needs torch.

    None if there is nothing that this program wrote.
    """
    try:
        params = read_yaml(checkpoint.parent / "params" / "env.yaml")
    except (OSError, ConfigError):
        return None
    task = params.get("task") if isinstance(params, dict) else None
    return task if isinstance(task, str) else None


def one_checkpoint(named: str | Path) -> Path:
    """Return the checkpoint that a user names for a command that takes one: of several runs, the newest run's."""
    found = find_checkpoints(named)
    newest = max(found, key=lambda checkpoint: _natural(checkpoint.parent.name))
    if len(found) > 1:
        logger.info("%s holds %d runs; the newest is used: %s.", named, len(found), newest.parent)
    return newest


def newest_checkpoint(run: Path) -> Path:
    """Return the newest checkpoint of a run folder; raise CheckpointError if it has none that is whole."""
    run = run.absolute()
    return find_checkpoint(run.parent, f"{re.escape(run.name)}$")


def _named_paths(named: str | Path) -> list[Path]:
    """Return a path that exists, or those that match a pattern; raise CheckpointError if there are none."""
    path = Path(named)
    if path.exists():
        return [path]
    if not glob.has_magic(str(named)):
        require_exists(named)
    if matches := [Path(match) for match in sorted(glob.glob(str(named), recursive=True))]:
        return matches
    raise CheckpointError(f"The pattern {str(named)!r} matches nothing.")


def _runs_in(path: Path, holding: str) -> list[Path]:
    """Return the run folder of a file, a run folder itself, or the runs below a folder; empty if there are none."""
    folder = path.parent if path.is_file() else path
    if any(folder.glob(holding)):
        return [folder]
    below = set() if path.is_file() else {file.parent for file in path.rglob(holding)}
    return sorted(below, key=lambda run: [_natural(part) for part in run.parts])


def _nearest_paths(path: Path) -> str:
    """Return the names nearest to the first part of the path that does not exist."""
    for depth, name in enumerate(path.parts):
        parent = Path(*path.parts[:depth])
        if not (parent / name).exists():
            names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
            where = "this folder" if parent == Path() else str(parent)
            hint = nearest(name, names) if names else "It is empty."
            return f"In {where} there is no {name!r}." + (f" {hint}" if len(hint) < 300 else "")
    return ""


def _natural(name: str) -> list[Any]:
    """Return a key that sorts names by the numbers in them."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
