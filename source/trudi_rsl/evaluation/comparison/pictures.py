# SPDX-License-Identifier: BSD-3-Clause
"""Pictures of a comparison: intervals, performance profiles, probabilities of improvement."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trudi_rsl.evaluation.comparison.estimates import Estimate
from trudi_rsl.evaluation.comparison.groups import Comparison, Group, Panel

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter
except ImportError as error:
    raise ImportError('Plots need matplotlib: pip install "trudi_rsl[eval]"') from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_WIDTH, ROW_HEIGHT = 4.2, 0.42
"""Inches."""
MOST_COLUMNS = 3
LACK_COLOR = "0.4"
SUFFIXES = (".png", ".svg")


def draw_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the pictures of a comparison, each as PNG and as SVG.

    Args:
        comparison: What to draw.
        folder: Exists; pictures of the same names in it are replaced.

    Returns:
        The files.
    """
    figures = {"intervals": interval_figure(comparison), "profiles": profile_figure(comparison)}
    if any(panel.improvements for panel in comparison.panels):
        figures["improvement"] = improvement_figure(comparison)
    files = []
    for name, figure in figures.items():
        for suffix in SUFFIXES:
            figure.savefig(folder / (name + suffix), dpi=150)
            files.append(folder / (name + suffix))
    return files


def interval_figure(comparison: Comparison) -> Figure:
    """Draw each group's IQM with its interval, one panel per task and one over all tasks."""

    def draw(axes: Axes, panel: Panel) -> None:
        names = display_names(list(panel.iqm))
        rows = [(names[group], _color(group, comparison), estimate) for group, estimate in panel.iqm.items()]
        _bars(axes, rows)
        axes.set_xlabel(f"IQM of {panel.scale}", fontsize="small")

    return _figure(comparison, draw, max(len(panel.iqm) for panel in comparison.panels), "95 % bootstrap intervals")


def improvement_figure(comparison: Comparison) -> Figure:
    """Draw P(first > second) of each pair of groups with its interval, one panel per task and one over all tasks."""

    def draw(axes: Axes, panel: Panel) -> None:
        names = display_names(list(panel.iqm))
        pairs = [(f"{names[p.first]} > {names[p.second]}", p) for p in panel.improvements]
        axes.set_xlim(-0.03, 1.03)
        axes.axvline(0.5, color=LACK_COLOR, linewidth=1.0, linestyle="--")
        _bars(axes, [(name, _color(pair.first, comparison), pair.estimate) for name, pair in pairs])
        axes.set_xlabel("P(first > second)", fontsize="small")

    rows = max(len(panel.improvements) for panel in comparison.panels)
    return _figure(comparison, draw, rows, "Probability of improvement with 95 % bootstrap intervals")


def profile_figure(comparison: Comparison) -> Figure:
    """Draw each group's share of runs above each threshold, one panel per task and one over all tasks."""
    names = display_names(_groups(comparison))

    def draw(axes: Axes, panel: Panel) -> None:
        for group, profile in panel.profiles.items():
            color = _color(group, comparison)
            axes.step(panel.thresholds, profile.share, where="post", color=color, linewidth=1.6, label=names[group])
            if profile.interval is not None:
                axes.fill_between(panel.thresholds, *profile.interval, step="post", color=color, alpha=0.18, lw=0)
        lacking = [f"{names[group]}: {estimate.lack}" for group, estimate in panel.iqm.items() if estimate.lack]
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("runs above", fontsize="small")
        axes.set_xlabel("\n".join([panel.scale, *lacking]), fontsize="small")

    figure = _figure(comparison, draw, 7, "Performance profiles with pointwise 95 % bootstrap intervals")
    lines = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(
        list(lines.values()), list(lines), loc="outside lower center", ncols=3, frameon=False, fontsize="x-small"
    )
    return figure


def display_names(groups: Sequence[Group]) -> dict[Group, str]:
    """Return names without what all groups share."""
    if len({group.sampler for group in groups}) == 1:
        return {group: group.label for group in groups}
    if len({group.label for group in groups}) == 1:
        return {group: group.sampler for group in groups}
    return {group: str(group) for group in groups}


def _figure(comparison: Comparison, draw: Callable[[Axes, Panel], None], rows: int, title: str) -> Figure:
    panels = comparison.panels
    columns = min(len(panels), MOST_COLUMNS)
    lines = -(-len(panels) // columns)
    size = (max(PANEL_WIDTH * columns, 5.5), lines * (1.3 + ROW_HEIGHT * max(rows, 3)))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize="small")
    for position, panel in enumerate(panels, 1):
        axes = figure.add_subplot(lines, columns, position)
        draw(axes, panel)
        axes.set_title(panel.title, fontsize="medium", loc="left")
        axes.tick_params(labelsize="small")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
    return figure


def _bars(axes: Axes, rows: Sequence[tuple[str, str, Estimate]]) -> None:
    """Draw a row per name: its interval and point, or the point alone and why it has no interval."""
    axes.use_sticky_edges = False
    axes.margins(x=0.08)
    for row, (_, color, estimate) in enumerate(rows):
        if estimate.interval is not None:
            low, high = estimate.interval
            axes.barh(row, high - low, left=low, height=0.5, color=color, alpha=0.35, linewidth=0)
            axes.vlines(estimate.value, row - 0.25, row + 0.25, color=color, linewidth=2.0)
        else:
            axes.plot([estimate.value], [row], marker="o", color=color, markersize=5.0)
    middle = sum(axes.get_xlim()) / 2.0
    for row, (_, _, estimate) in enumerate(rows):
        right = estimate.value > middle
        axes.annotate(
            estimate.lack,
            (estimate.value, row),
            xytext=(4 if right else -4, 5),
            textcoords="offset points",
            ha="right" if right else "left",
            color=LACK_COLOR,
            fontsize="x-small",
        )
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _groups(comparison: Comparison) -> list[Group]:
    return list(dict.fromkeys(group for panel in comparison.panels for group in panel.iqm))


def _color(group: Group, comparison: Comparison) -> str:
    return f"C{_groups(comparison).index(group)}"
