# SPDX-License-Identifier: BSD-3-Clause
"""Learning curves of training runs as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trudi_rsl.config.event_file import Run, RunError
from trudi_rsl.evaluation.episodes import MEAN_RETURN
from trudi_rsl.evaluation.pictures import Axes, Figure, PercentFormatter, new_figure, save_picture, style_axes
from trudi_rsl.metric_names import tag_of

RETURN_TAG = "Train/mean_reward"
FORMATS = (".png", ".pdf", ".svg")
TARGET_COLOR = "0.45"


@dataclass(frozen=True)
class Diagnostic:
    """A scalar drawn in a small panel below the learning curve."""

    tag: str
    title: str
    target_tag: str | None = None
    is_share: bool = False
    bounded_by_kl: bool = False


DIAGNOSTICS = (
    Diagnostic(tag_of("path_kl"), "Path KL (nats per state)", bounded_by_kl=True),
    Diagnostic(tag_of("entropy_per_dim"), "Entropy bound (nats per dim)", tag_of("entropy_target_per_dim")),
    Diagnostic(tag_of("clipped_targets"), "Share of critic targets clipped", is_share=True),
)
TAGS = (RETURN_TAG, MEAN_RETURN, *(tag for shown in DIAGNOSTICS for tag in (shown.tag, shown.target_tag) if tag))


def draw_learning_curves(runs: Sequence[Run], output: Path) -> Path:
    """Write :func:`learning_curve_figure` to a ``.png``, ``.pdf`` or ``.svg`` file, replacing it, and return that."""
    if output.suffix not in FORMATS:
        raise RunError(f"The picture must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, not {output.name!r}.")
    save_picture(learning_curve_figure(runs), output)
    return output


def learning_curve_figure(runs: Sequence[Run]) -> Figure:
    """Draw the training return of runs read with :data:`TAGS`, evaluations as points, and TruDi's constraints below.

    The x axis counts environment steps, or iterations if a run's steps are unknown. Raises RunError if no run has
    finished an episode.
    """
    if not any(RETURN_TAG in run.scalars for run in runs):
        raise RunError(
            f"{', '.join(run.name for run in runs)}: no {RETURN_TAG} logged; it starts when the first episode ends."
        )
    diagnostics = [shown for shown in DIAGNOSTICS if any(shown.tag in run.scalars for run in runs)]
    in_steps = all(run.steps_per_iteration is not None for run in runs)
    figure = new_figure(8.0, 6.2 if diagnostics else 4.2)
    heights = [2, 1] if diagnostics else [1]
    grid = figure.add_gridspec(len(heights), max(len(diagnostics), 1), height_ratios=heights)
    top = figure.add_subplot(grid[0, :])
    _draw_curves(top, runs, RETURN_TAG, in_steps)
    if evaluated := any(MEAN_RETURN in run.scalars for run in runs):
        _draw_evaluations(top, runs, in_steps)
    if len(runs) > 1 or evaluated:
        top.legend(frameon=False, fontsize="small")
    if len(runs) == 1:
        (label,) = labels(runs)
        title = label if label == runs[0].name else f"{label}: {runs[0].name}"
        top.set_title(title, fontsize="medium", loc="left")
    for column, shown in enumerate(diagnostics):
        axes = figure.add_subplot(grid[1, column])
        _draw_curves(axes, runs, shown.tag, in_steps)
        _draw_targets(axes, runs, shown)
        axes.set_title(shown.title, fontsize="small", loc="left")
        if shown.is_share:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_ylim(0.0, max(0.01, axes.get_ylim()[1]))  # less than 1 % is not worth a close look
    for axes in figure.axes:
        style_axes(axes, "Environment steps" if in_steps else "Iteration", x_counts=True)
    top.set_ylabel("Training return (mean of last 100 episodes)", fontsize="small")
    return figure


def labels(runs: Sequence[Run]) -> list[str]:
    """Return algorithm and seed of each run, with its name if others have the same; the name alone if unknown."""
    named = [run.name if run.algorithm is None else f"{run.algorithm}, seed {run.seed}" for run in runs]
    return [
        f"{label} ({run.name})" if named.count(label) > 1 and label != run.name else label
        for label, run in zip(named, runs, strict=True)
    ]


def _draw_curves(axes: Axes, runs: Sequence[Run], tag: str, in_steps: bool) -> None:
    width = 1.6 if tag == RETURN_TAG else 1.0
    for index, (run, label) in enumerate(zip(runs, labels(runs), strict=True)):
        if tag in run.scalars:
            x, values = _points(run, tag, in_steps)
            axes.plot(x, values, color=f"C{index}", linewidth=width, label=label, marker="." if len(x) == 1 else "")


def _draw_evaluations(axes: Axes, runs: Sequence[Run], in_steps: bool) -> None:
    style = {"marker": "o", "linestyle": "", "markersize": 4.0, "fillstyle": "none"}
    for index, run in enumerate(runs):
        if MEAN_RETURN in run.scalars:
            axes.plot(*_points(run, MEAN_RETURN, in_steps), color=f"C{index}", **style)
    axes.plot([], [], color=TARGET_COLOR, label="without exploration", **style)


def _points(run: Run, tag: str, in_steps: bool) -> tuple[np.ndarray, np.ndarray]:
    iterations, values = run.scalars[tag]
    return (run.env_steps(iterations) if in_steps else iterations), values


def _draw_targets(axes: Axes, runs: Sequence[Run], shown: Diagnostic) -> None:
    """Draw the levels that the runs' curves are driven to as dashed lines, equal levels once."""
    levels = {run.kl_bound for run in runs if shown.bounded_by_kl and shown.tag in run.scalars and run.kl_bound}
    levels |= {float(run.scalars[shown.target_tag][1][-1]) for run in runs if shown.target_tag in run.scalars}
    for level in levels:
        axes.axhline(level, color=TARGET_COLOR, linewidth=1.0, linestyle="--")
    if levels:
        axes.plot([], [], color=TARGET_COLOR, linewidth=1.0, linestyle="--", label="target")
        axes.legend(handles=axes.get_lines()[-1:], frameon=False, fontsize="x-small")
