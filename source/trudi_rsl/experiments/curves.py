# SPDX-License-Identifier: BSD-3-Clause
"""Learning curves of an experiment: every run, and the interquartile mean over the seeds of each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from trudi_rsl.config.event_file import SECONDS_TAGS, Run
from trudi_rsl.evaluation.learning_curves import RETURN_TAG
from trudi_rsl.evaluation.statistics import iqm

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter
except ImportError as error:
    raise ImportError('Plots need matplotlib: pip install "trudi_rsl[eval]"') from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Axis = Literal["steps", "seconds"]
TAGS = (RETURN_TAG, *SECONDS_TAGS)
LABELS: dict[Axis, str] = {"steps": "Environment steps", "seconds": "Seconds of training"}
NUM_POINTS = 200
MOST_COLUMNS = 3


def curves_figure(runs: Mapping[str, Mapping[str, Sequence[Run]]], axis: Axis = "steps") -> Figure:
    """Draw training returns, one panel per task.

    Args:
        runs: Task to group to its runs, read with :data:`TAGS`.
        axis: What the return is drawn against.
    """
    columns = min(len(runs), MOST_COLUMNS)
    lines = -(-len(runs) // columns)
    figure = Figure(figsize=(max(4.6 * columns, 6.0), 3.4 * lines + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    groups = list(dict.fromkeys(group for by_group in runs.values() for group in by_group))
    for position, (task, by_group) in enumerate(runs.items(), 1):
        axes = figure.add_subplot(lines, columns, position)
        for group, members in by_group.items():
            _group(axes, members, axis, f"C{groups.index(group)}", group)
        axes.set_title(task, fontsize="medium", loc="left")
        axes.set_xlabel(LABELS[axis], fontsize="small")
        axes.set_ylabel("Training return", fontsize="small")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlim(left=0.0)
        axes.tick_params(labelsize="small")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
    handles = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
    shown = {label: line for label, line in handles.items() if not label.startswith("_")}
    figure.legend(
        list(shown.values()), list(shown), loc="outside lower center", ncols=4, frameon=False, fontsize="small"
    )
    return figure


def curve_of(run: Run, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Return a run's training returns ``[n]`` and what they are drawn against ``[n]``, first that."""
    iterations, returns = run.scalars[RETURN_TAG]
    return (run.env_steps if axis == "steps" else run.elapsed_seconds)(iterations), returns


def mean_curve(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the interquartile mean over runs, where all of them have a return.

    Args:
        curves: As :func:`curve_of` gives them.
    """
    start, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    grid = np.linspace(start, end, NUM_POINTS) if end > start else np.array([start])
    values = np.array([np.interp(grid, x, y) for x, y in curves])
    return grid, iqm(values.T)


def _group(axes: Axes, runs: Sequence[Run], axis: Axis, color: str, label: str) -> None:
    curves = [curve_of(run, axis) for run in runs if RETURN_TAG in run.scalars]
    for x, y in curves:
        axes.plot(x, y, color=color, linewidth=0.6, alpha=0.4)
    if curves:
        x, y = mean_curve(curves)
        axes.plot(x, y, color=color, linewidth=2.0, label=label, marker="." if len(x) == 1 else "")
