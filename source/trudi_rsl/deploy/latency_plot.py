# SPDX-License-Identifier: BSD-3-Clause
"""Times of exported policies as a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trudi_rsl.deploy.latency import Timing

try:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError('Plots need matplotlib: pip install "trudi_rsl[eval]"') from error


def latency_figure(timings: Sequence[Timing]) -> Figure:
    """Draw the share of calls that take longer than so many milliseconds, a curve for each file.

    Args:
        timings: What was measured; the control periods known are drawn too.
    """
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for timing in timings:
        ordered = np.sort(timing.milliseconds)
        longer = 1.0 - np.arange(len(ordered)) / len(ordered)
        label = f"{timing.file.parent.name}/{timing.file.name}, {timing.runtime}"
        axes.step(ordered, longer, where="post", label=label)
    for period in sorted({t.control_period_ms for t in timings if t.control_period_ms is not None}):
        axes.axvline(period, color="0.4", linestyle="--", linewidth=1.0, label=f"control period {period:g} ms")
    axes.axhline(0.01, color="0.8", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="Milliseconds per action", ylabel="Share of calls that take as long")
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure
