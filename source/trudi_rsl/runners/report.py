# SPDX-License-Identifier: BSD-3-Clause
"""What a training prints: one row per iteration, and at its end what each return means and how to go on.

``docs/log.md`` explains the columns. RSL-RL's logger writes the event files; what it prints is not shown.
"""

from __future__ import annotations

import contextlib
import shlex
import statistics
import sys
import textwrap
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from trudi_rsl.checkpoints.format import NAMES
from trudi_rsl.metric_names import HEADINGS, LOSS, OTHER, tag_of

GLOSSARY = "trudi docs log"
ROWS_PER_HEADER = 25
WINDOW = 50
"""Iterations whose median duration is that of those to come."""

COLUMNS = (
    *(("path KL", "path_kl"), ("entropy", "entropy_per_dim"), ("critic", "critic")),
    *(("value", "value"), ("value", "value_function"), ("surrog.", "surrogate"), ("entropy", "entropy")),
)
"""Title and name of the scalars in a row, as far as the algorithm logs them, at most :data:`MOST_COLUMNS`."""
MOST_COLUMNS = 3


class Iteration(NamedTuple):
    """An iteration that was logged."""

    number: int
    total: int
    """Number of the iteration after the last one."""
    collect_seconds: float
    learn_seconds: float
    metrics: Mapping[str, float]
    episode: Mapping[str, float]
    """Means of what the environments logged about their episodes."""


class TimeLeft:
    """Estimates the time left from the median of recent iterations, without the first: it compiles."""

    def __init__(self) -> None:
        self._seconds: deque[float] | None = None

    def add(self, seconds: float) -> None:
        """Add the duration of an iteration."""
        if self._seconds is None:
            self._seconds = deque(maxlen=WINDOW)
        else:
            self._seconds.append(seconds)

    def estimate(self, iterations: int) -> float | None:
        """Return the seconds that so many iterations will take; None after less than two."""
        return statistics.median(self._seconds) * iterations if self._seconds else None


class Report:
    """Prints a training's progress to standard output, with a progress bar if that is a terminal.

    Args:
        verbose: Whether every logged value is printed in every iteration.
    """

    def __init__(self, verbose: bool) -> None:
        self._verbose = verbose
        self._bar: Progress | None = None
        self._rows = 0
        self._unfinished = False
        self._time_left = TimeLeft()

    def start(self, runner: Any, first: int, total: int) -> None:
        """Print what is trained and start the progress bar."""
        self._rows, self._time_left = 0, TimeLeft()
        record, env = runner.record, runner.env
        name = NAMES.get(runner.algorithm_name, type(runner.alg).__name__)
        preset = f", preset {record['preset']}" if record["preset"] else ""
        span = f"iterations {first} to {total - 1}" if first else f"{total} iterations"
        seed = "" if record["seed"] is None else f", seed {record['seed']}"
        _print(f"{name} on {record['task'] or 'a task without a name'}{preset}{seed}, on {runner.device}")
        _print(f"{span} of {env.num_envs} environments x {runner.cfg['num_steps_per_env']} steps")
        hint = "" if self._verbose else ", every value with --verbose"
        _print(f"What the columns mean: {GLOSSARY}{hint}.")
        console = Console(file=sys.stdout)
        if console.is_terminal:
            left = TextColumn("left {task.fields[left]}")
            self._bar = Progress(
                TextColumn("Training"), BarColumn(), MofNCompleteColumn(), left, console=console, transient=True
            )
            self._bar.add_task("", total=total, completed=first, left="-")
            self._bar.start()

    def add(self, runner: Any, iteration: Iteration) -> None:
        """Print an iteration."""
        self._time_left.add(iteration.collect_seconds + iteration.learn_seconds)
        seconds = self._time_left.estimate(iteration.total - iteration.number - 1)
        left = "-" if seconds is None else str(timedelta(seconds=round(seconds)))
        if self._verbose:
            _print(_block(runner, iteration, left))
        else:
            if self._rows % ROWS_PER_HEADER == 0:
                _print(_header(iteration.metrics))
            _print(_row(runner, iteration, left))
        self._rows += 1
        self._unfinished = iteration.number + 1 < iteration.total
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=iteration.number + 1, left=left)

    def stop(self) -> None:
        """Remove the progress bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def end(self, runner: Any) -> None:
        """Remove the progress bar; print what the returns of the run mean, and commands that use it."""
        self.stop()
        folder = runner.logger.log_dir
        if self._rows == 0 or folder is None:
            return
        commands = _next_commands(sys.argv[0], str(runner.record["task"]), Path(folder), self._unfinished)
        _print("\n".join(["", *_returns(runner), *commands]))


def episode_means(extras: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the means of what environments logged about their episodes, a number or tensor per step and name."""
    values: dict[str, list[float]] = {}
    for entry in extras:
        for name, value in entry.items():
            number = value.float().mean().item() if isinstance(value, torch.Tensor) else value
            values.setdefault(name, []).append(float(number))
    return {name: statistics.fmean(numbers) for name, numbers in values.items()}


# -- rows -------------------------------------------------------------------------------------------------------------


def _chosen(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    return [(title, name) for title, name in COLUMNS if name in metrics][:MOST_COLUMNS]


def _header(metrics: Mapping[str, float]) -> str:
    titles = "".join(f"{title:>9}" for title, _ in _chosen(metrics))
    return f"{'iteration':>11}{'steps':>11}{'steps/s':>8}{'return':>8}{'length':>7}{titles}{'left':>8}"


def _row(runner: Any, iteration: Iteration, left: str) -> str:
    log, steps_per_second = runner.logger, _steps_per_second(runner, iteration)
    returns, lengths = (number(statistics.fmean(b)) if b else "-" for b in (log.rewbuffer, log.lenbuffer))
    values = "".join(f"{number(iteration.metrics[name]):>9}" for _, name in _chosen(iteration.metrics))
    count = f"{iteration.number}/{iteration.total}"
    return f"{count:>11}{log.tot_timesteps:>11,}{steps_per_second:>8,.0f}{returns:>8}{lengths:>7}{values}{left:>8}"


def _block(runner: Any, iteration: Iteration, left: str) -> str:
    log = runner.logger
    title = (
        f"Iteration {iteration.number}/{iteration.total}, {log.tot_timesteps:,} steps, "
        f"{_steps_per_second(runner, iteration):,.0f} steps/s, collecting {iteration.collect_seconds:.2f} s, learning "
        f"{iteration.learn_seconds:.2f} s, left {left}"
    )
    sections: dict[str, dict[str, float]] = {"Train": {}, **{heading: {} for heading in (*HEADINGS, OTHER)}}
    if log.rewbuffer:
        sections["Train"] = {
            "mean_reward": statistics.fmean(log.rewbuffer),
            "mean_episode_length": statistics.fmean(log.lenbuffer),
        }
    for name, value in iteration.metrics.items():
        sections[tag_of(name).partition("/")[0]][name] = value
    sections[LOSS]["learning_rate"] = runner.alg.learning_rate
    for name, value in iteration.episode.items():
        heading, _, rest = name.rpartition("/")
        sections.setdefault(heading or "Episode", {})[rest] = value
    lines = [title]
    for heading, values in sections.items():
        if values:
            text = "  ".join(f"{name} {number(value)}" for name, value in values.items())
            indent = " " * 16
            wrapped = textwrap.wrap(text, 100, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
            wrapped[0] = f"  {heading:<13} {wrapped[0][16:]}"
            lines += wrapped
    return "\n".join(lines)


def _steps_per_second(runner: Any, iteration: Iteration) -> float:
    steps = runner.cfg["num_steps_per_env"] * runner.env.num_envs * runner.gpu_world_size
    return steps / (iteration.collect_seconds + iteration.learn_seconds)


def number(value: float) -> str:
    """Return a number in at most eight characters, with three significant digits or more."""
    if abs(value) >= 1e6 or 0.0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.0f}" if abs(value) >= 1e4 else f"{value:.1f}" if abs(value) >= 100 else f"{value:.3g}"


# -- the end ----------------------------------------------------------------------------------------------------------


def _returns(runner: Any) -> list[str]:
    """Return a table of the run's returns, each with its meaning."""
    rating, log = runner.rating, runner.logger
    rows = []
    if log.rewbuffer:
        meaning = f"the last {len(log.rewbuffer)} episodes of training, with its exploration noise"
        rows.append(("training", statistics.fmean(log.rewbuffer), meaning))
    if rating.last is not None:
        path, mean_return = rating.last
        meaning = f"{runner.cfg['evaluation_episodes']} episodes of {path.name}, acting as its export, without noise"
        rows.append(("evaluation", mean_return, meaning))
    if (best := rating.best) is not None:
        path, mean_return = best
        kind = "evaluation" if rating.last is not None else "training return at a checkpoint"
        rows.append(("best", mean_return, f"the highest {kind} in this run folder: {path.name}, linked as best.pt"))
    return (
        ["Returns:", *(f"  {name:<11}{number(value):>9}  {meaning}" for name, value, meaning in rows)] if rows else []
    )


def _next_commands(program: str, task: str, folder: Path, unfinished: bool) -> list[str]:
    """Return commands that use the run, in the way this program was started; none if it is not this package's."""
    path = Path(program)
    if path.name == "train.py":
        command = f"python {path.parent / '{}.py'}"
    elif path.stem == "trudi" or path.parts[-2:] == ("trudi_rsl", "__main__.py"):
        command = "trudi {}"
    else:
        return []
    best = folder / "best.pt" if (folder / "best.pt").exists() else folder
    best, run, task = (shlex.quote(str(word)) for word in (best, folder, task))
    resumed = [f"  {command.format('train')} --task {task} --checkpoint {run} --resume"] if unfinished else []
    return [
        "Next:",
        *resumed,
        f"  {command.format('play')} --task {task} --checkpoint {best}",
        f"  {command.format('export')} {best}",
        f"  {command.format('plot')} {run}",
        f"  {command.format('doctor')} {run}",
    ]


def _print(text: str) -> None:
    """Print; a full disk costs the text, not the training."""
    with contextlib.suppress(OSError):
        print(text, flush=True)
