# SPDX-License-Identifier: BSD-3-Clause
"""Pictures: what all of them share, and those of a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from trudi_rsl import packages
from trudi_rsl.evaluation.comparison import Comparison, Group, Panel
from trudi_rsl.evaluation.statistics import Estimate
from trudi_rsl.files import atomic_write

try:
    from matplotlib import colormaps
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter, PercentFormatter
except ImportError as error:
    raise packages.missing("Drawing a picture", packages.PICTURES) from error

__all__ = ["Axes", "Figure", "Normalize", "PercentFormatter", "colormaps"]  # for modules that draw
SUFFIXES = (".png", ".svg")
MAX_COLUMNS = 3
GREY = "0.4"


def new_figure(width: float, height: float, title: str = "") -> Figure:
    """Return an empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title, fontsize="medium")
    return figure


def panel_grid(figure: Figure, titles: Sequence[str]) -> Iterable[Axes]:
    """Yield one styled panel per title, in rows of at most :data:`MAX_COLUMNS`."""
    columns = min(len(titles), MAX_COLUMNS)
    for position, title in enumerate(titles, 1):
        axes = figure.add_subplot(-(-len(titles) // columns), columns, position)
        axes.set_title(title, fontsize="medium", loc="left")
        style_axes(axes)
        yield axes


def style_axes(axes: Axes, x_label: str = "", y_label: str = "", grid: bool = True, x_counts: bool = False) -> None:
    """Set labels that are not empty, and the look that all pictures share.

    With ``x_counts``, the x axis starts at 0 and shows thousands as k and millions as M.
    """
    if x_label:
        axes.set_xlabel(x_label, fontsize="small")
    if y_label:
        axes.set_ylabel(y_label, fontsize="small")
    if x_counts:
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlim(left=0.0)
    axes.tick_params(labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(alpha=0.25, linewidth=0.6)


def shared_legend(figure: Figure) -> None:
    """Draw one legend below all panels, each label once."""
    lines = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
    shown = {label: line for label, line in lines.items() if not label.startswith("_")}
    where = "outside lower center"
    figure.legend(list(shown.values()), list(shown), loc=where, ncols=3, frameon=False, fontsize="small")


def save_picture(figure: Figure, path: Path) -> None:
    """Write a picture in the format of its suffix; a link of that name is replaced, not followed."""
    with atomic_write(path) as file:
        figure.savefig(file, dpi=150, format=path.suffix.removeprefix("."))


def save_pictures(figure: Figure, stem: Path) -> list[Path]:
    """Write ``stem.png`` and ``stem.svg``, replacing them, and return both."""
    files = [stem.with_name(stem.name + suffix) for suffix in SUFFIXES]
    for file in files:
        save_picture(figure, file)
    return files


def draw_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write the pictures of a comparison into a folder, as PNG and as SVG, replacing earlier ones; return the files."""
    figures = {"intervals": interval_figure(comparison), "profiles": profile_figure(comparison)}
    if any(panel.improvements for panel in comparison.panels):
        figures["improvement"] = improvement_figure(comparison)
    return [file for name, figure in figures.items() for file in save_pictures(figure, folder / name)]


def interval_figure(comparison: Comparison) -> Figure:
    """Draw each group's IQM with its interval, one panel per task and one over all tasks."""
    colors, rows = _colors(comparison), max(len(panel.iqm) for panel in comparison.panels)
    figure, panels = _panels(comparison, rows, "95 % bootstrap intervals")
    for axes, panel in panels:
        names = display_names(list(panel.iqm))
        _draw_bars(axes, [(names[group], colors[group], found) for group, found in panel.iqm.items()])
        axes.set_xlabel(f"IQM of {panel.scale}", fontsize="small")
    return figure


def improvement_figure(comparison: Comparison) -> Figure:
    """Draw P(first > second) of each pair of groups with its interval, one panel per task and one over all tasks."""
    colors, rows = _colors(comparison), max(len(panel.improvements) for panel in comparison.panels)
    figure, panels = _panels(comparison, rows, "Probability of improvement with 95 % bootstrap intervals")
    for axes, panel in panels:
        names, pairs = display_names(list(panel.iqm)), panel.improvements.items()
        axes.set_xlim(-0.03, 1.03)
        axes.axvline(0.5, color=GREY, linewidth=1.0, linestyle="--")
        _draw_bars(axes, [(f"{names[a]} > {names[b]}", colors[a], found) for (a, b), found in pairs])
        axes.set_xlabel("P(first > second)", fontsize="small")
    return figure


def profile_figure(comparison: Comparison) -> Figure:
    """Draw each group's share of runs above each threshold, one panel per task and one over all tasks."""
    colors = _colors(comparison)
    names = display_names(list(colors))
    figure, panels = _panels(comparison, 7, "Performance profiles with pointwise 95 % bootstrap intervals")
    for axes, panel in panels:
        for group, profile in panel.profiles.items():
            x, color = panel.thresholds, colors[group]
            axes.step(x, profile.share, where="post", color=color, linewidth=1.6, label=names[group])
            if profile.interval is not None:
                axes.fill_between(x, *profile.interval, step="post", color=color, alpha=0.18, lw=0)
        lacking = [f"{names[group]}: {estimate.lack}" for group, estimate in panel.iqm.items() if estimate.lack]
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("runs above", fontsize="small")
        axes.set_xlabel("\n".join([panel.scale, *lacking]), fontsize="small")
    shared_legend(figure)
    return figure


def display_names(groups: Sequence[Group]) -> dict[Group, str]:
    """Return the groups' names without the part that all of them share."""
    one_sampler = len({group.sampler for group in groups}) == 1
    one_label = len({group.label for group in groups}) == 1
    return {group: group.label if one_sampler else group.sampler if one_label else str(group) for group in groups}


def _panels(comparison: Comparison, rows: int, title: str) -> tuple[Figure, list[tuple[Axes, Panel]]]:
    """Return a figure with the axes of each panel, high enough for a number of rows."""
    panels = comparison.panels
    columns = min(len(panels), MAX_COLUMNS)
    height = -(-len(panels) // columns) * (1.3 + 0.42 * max(rows, 3))
    figure = new_figure(max(4.2 * columns, 5.5), height, title)
    return figure, list(zip(panel_grid(figure, [panel.title for panel in panels]), panels, strict=True))


def _draw_bars(axes: Axes, rows: Sequence[tuple[str, str, Estimate]]) -> None:
    """Draw a row per name and color: the value with its interval, or with why there is none."""
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
        shift, side = (4, "right") if estimate.value > middle else (-4, "left")
        at, unit, size = (estimate.value, row), "offset points", "x-small"
        axes.annotate(estimate.lack, at, (shift, 5), textcoords=unit, ha=side, color=GREY, fontsize=size)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _colors(comparison: Comparison) -> dict[Group, str]:
    groups = dict.fromkeys(group for panel in comparison.panels for group in panel.iqm)
    return {group: f"C{i}" for i, group in enumerate(groups)}
