# SPDX-License-Identifier: BSD-3-Clause
"""Learning curves as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trudi_rsl.config.event_file import Run, RunError
from trudi_rsl.evaluation.episodes import MEAN_RETURN
from trudi_rsl.evaluation.files import save_picture

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, PercentFormatter
except ImportError as error:
    raise ImportError('Plots need matplotlib: pip install "trudi_rsl[eval]"') from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RETURN_TAG = "Train/mean_reward"
SUFFIXES = (".png", ".pdf", ".svg")
TARGET_COLOR = "0.45"
SMALLEST_SHARE_AXIS = 0.01
"""Top of the axis of shares, at least: below 1 % there is nothing to see."""


@dataclass(frozen=True)
class Panel:
    """One small plot below the learning curve."""

    tag: str
    title: str
    target_tag: str | None = None
    is_share: bool = False
    bounded_by_kl: bool = False


PANELS = (
    Panel("Loss/path_kl", "Path KL (nats per state)", bounded_by_kl=True),
    Panel("Loss/entropy_per_dim", "Entropy bound (nats per dim)", target_tag="Loss/entropy_target_per_dim"),
    Panel("Loss/clipped_targets", "Share of critic targets clipped", is_share=True),
)
TAGS = (RETURN_TAG, MEAN_RETURN, *(tag for panel in PANELS for tag in (panel.tag, panel.target_tag) if tag))


def draw_learning_curves(runs: Sequence[Run], output: Path) -> Path:
    """Write :func:`learning_curve_figure` to a file.

    Args:
        runs: As there.
        output: A ``.png``, ``.pdf`` or ``.svg`` file; replaced if it exists.

    Returns:
        ``output``.

    Raises:
        RunError: If no run has finished an episode, or ``output`` has another suffix.
    """
    if output.suffix not in SUFFIXES:
        raise RunError(f"The picture's name must end in .png, .pdf or .svg, not {output.name!r}.")
    figure = learning_curve_figure(runs)
    save_picture(figure, output)
    return output


def learning_curve_figure(runs: Sequence[Run]) -> Figure:
    """Draw the training return of one or more runs, evaluations as points, and below what TruDi keeps in bounds.

    The x axis counts environment steps, or iterations if a run does not tell its steps.

    Args:
        runs: Read with :data:`TAGS`.

    Raises:
        RunError: If no run has finished an episode.
    """
    if not any(RETURN_TAG in run.scalars for run in runs):
        raise RunError(
            f"{', '.join(run.name for run in runs)}: no {RETURN_TAG} logged; it starts when the first episode ends."
        )
    panels = [panel for panel in PANELS if any(panel.tag in run.scalars for run in runs)]
    in_steps = all(run.steps_per_iteration is not None for run in runs)

    figure = Figure(figsize=(8.0, 6.2 if panels else 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2 if panels else 1, max(len(panels), 1), height_ratios=[2, 1] if panels else None)
    top = figure.add_subplot(grid[0, :])
    _curves(top, runs, RETURN_TAG, in_steps)
    evaluated = any(MEAN_RETURN in run.scalars for run in runs)
    if evaluated:
        _evaluations(top, runs, in_steps)
    top.set_ylabel("Training return (mean of last 100 episodes)", fontsize="small")
    if len(runs) > 1 or evaluated:
        top.legend(frameon=False, fontsize="small")
    if len(runs) == 1:
        top.set_title(runs[0].name, fontsize="medium", loc="left")
    for column, panel in enumerate(panels):
        axes = figure.add_subplot(grid[1, column])
        _curves(axes, runs, panel.tag, in_steps)
        _targets(axes, runs, panel)
        axes.set_title(panel.title, fontsize="small", loc="left")
        axes.tick_params(labelsize="small")
        if panel.is_share:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_ylim(0.0, max(SMALLEST_SHARE_AXIS, axes.get_ylim()[1]))
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_xlabel("Environment steps" if in_steps else "Iteration", fontsize="small")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlim(left=0.0)
    return figure


def _curves(axes: Axes, runs: Sequence[Run], tag: str, in_steps: bool) -> None:
    width = 1.6 if tag == RETURN_TAG else 1.0
    for index, run in enumerate(runs):
        if tag in run.scalars:
            x, values = _points(run, tag, in_steps)
            axes.plot(x, values, color=f"C{index}", linewidth=width, label=run.name, marker="." if len(x) == 1 else "")


def _evaluations(axes: Axes, runs: Sequence[Run], in_steps: bool) -> None:
    for index, run in enumerate(runs):
        if MEAN_RETURN in run.scalars:
            axes.plot(*_points(run, MEAN_RETURN, in_steps), "o", color=f"C{index}", markersize=4.0, fillstyle="none")
    axes.plot([], [], "o", color=TARGET_COLOR, markersize=4.0, fillstyle="none", label="without exploration")


def _points(run: Run, tag: str, in_steps: bool) -> tuple[Any, Any]:
    iterations, values = run.scalars[tag]
    return (run.env_steps(iterations) if in_steps else iterations), values


def _targets(axes: Axes, runs: Sequence[Run], panel: Panel) -> None:
    """Draw, dashed, the levels that the runs' curves are driven to; equal ones once."""
    levels = {run.kl_bound for run in runs if panel.bounded_by_kl and panel.tag in run.scalars and run.kl_bound}
    levels |= {float(run.scalars[panel.target_tag][1][-1]) for run in runs if panel.target_tag in run.scalars}
    for level in levels:
        axes.axhline(level, color=TARGET_COLOR, linewidth=1.0, linestyle="--")
    if levels:
        axes.plot([], [], color=TARGET_COLOR, linewidth=1.0, linestyle="--", label="target")
        axes.legend(handles=axes.get_lines()[-1:], frameon=False, fontsize="x-small")
