# SPDX-License-Identifier: BSD-3-Clause
"""Runs from one start as a picture, coloured by mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trudi_rsl.evaluation.behaviour import FAILURE, Behaviour
from trudi_rsl.tasks import BehaviourModes

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Polygon
except ImportError as error:
    raise ImportError('Plots need matplotlib: pip install "trudi_rsl[eval]"') from error

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg")
FAILURE_COLOR = "0.55"
OUTLINE_COLORS = ("0.85", "0.7")


def behaviour_figure(behaviour: Behaviour, modes: BehaviourModes, title: str) -> Figure:
    """Draw every run in the plane, and over time the number that the modes differ in.

    Args:
        behaviour: The runs.
        modes: Those of the task.
        title: Above the picture.
    """
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    plane, over_time = figure.subplots(1, 2)
    figure.suptitle(title, fontsize="medium")
    for i, (name, corners) in enumerate(modes.outlines.items()):
        color = OUTLINE_COLORS[i % len(OUTLINE_COLORS)]
        plane.add_patch(Polygon(corners, closed=True, facecolor=color, edgecolor="none", alpha=0.6, label=name))
    colors = {name: f"C{i}" for i, name in enumerate(behaviour.names)}
    width, alpha = 0.8, max(0.15, min(0.8, 20.0 / len(behaviour.modes)))
    for run, mode in zip(behaviour.trajectories, behaviour.modes, strict=True):
        style = {"color": FAILURE_COLOR if mode is None else colors[mode], "linewidth": width, "alpha": alpha}
        path = modes.path(run.observations)
        plane.plot(path[:, 0], path[:, 1], **style)
        plane.plot(*path[-1], marker=".", markersize=3, **style)
        over_time.plot(np.arange(len(run.observations)), modes.coordinate(run.observations), **style)
    _legend(plane, behaviour, colors)
    plane.set_aspect("equal", adjustable="datalim")
    plane.autoscale_view()
    plane.set_xlabel("x (m)", fontsize="small")
    plane.set_ylabel("y (m)", fontsize="small")
    over_time.set_xlabel("Environment step", fontsize="small")
    over_time.set_ylabel(modes.coordinate_name, fontsize="small")
    over_time.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
    for axes in (plane, over_time):
        axes.tick_params(labelsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _legend(axes: Axes, behaviour: Behaviour, colors: dict[str, str]) -> None:
    """Name the modes with their runs, failures and the outlines."""
    for name, count in behaviour.counts.items():
        axes.plot([], [], color=colors[name], label=f"{name}: {count} runs")
    if behaviour.failures:
        axes.plot([], [], color=FAILURE_COLOR, label=f"{FAILURE}: {behaviour.failures} runs")
    axes.legend(frameon=False, fontsize="x-small", loc="best")
