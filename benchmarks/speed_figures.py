# SPDX-License-Identifier: BSD-3-Clause
"""Figures of what ``speed.py`` measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import figures  # chooses a backend without windows
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator
from speed_plan import SWEPT

EAGER, FAST = "--", "-"
QUANTITIES = {"update": figures.COLORS["trudi"], "sampling": figures.COLORS["ppo"]}
"""Colours of what a sweep times."""
SWEEP_LABELS = {"update": "minibatch update", "sampling": "action batch"}


def sampling(runs: dict[str, Any], path: Path) -> None:
    """Draw milliseconds per action batch against environments, one panel per run and one colour per ``N``."""
    fig, axes = plt.subplots(1, len(runs), figsize=(4.6 * len(runs), 3.6), squeeze=False, constrained_layout=True)
    for axis, (label, run) in zip(axes[0], runs.items(), strict=True):
        lines: dict[tuple[str, str], list[tuple[int, dict[str, float]]]] = {}
        for cell in run["sampling"].values():
            if "skipped" not in cell:
                of = f"N = {cell['shape']['num_denoise_steps']}" if cell["actor"] == "diffusion" else cell["actor"]
                lines.setdefault((of, cell["mode"]), []).append((cell["shape"]["num_envs"], cell["ms"]))
        colors = {of: f"C{i}" for i, of in enumerate(dict.fromkeys(of for of, _ in lines))}
        for (of, mode), points in lines.items():
            style = EAGER if mode == "eager" else FAST
            _line(axis, points, colors[of], style, of if mode != "eager" else None)
        axis.plot([], [], EAGER, color="#555555", label="eager")
        axis.set(title=label, xlabel="environments")
        _logarithmic(axis, {size for points in lines.values() for size, _ in points})
    axes[0][0].set_ylabel("milliseconds per action batch")
    axes[0][0].legend(frameon=False, fontsize=8)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def growth(runs: dict[str, Any], path: Path) -> None:
    """Draw times against one size at a time, one row per run and one panel per size."""
    size = (3.2 * len(SWEPT), 3.0 * len(runs))
    fig, axes = plt.subplots(len(runs), len(SWEPT), figsize=size, squeeze=False, sharey="row", constrained_layout=True)
    for row, (label, run) in zip(axes, runs.items(), strict=True):
        for axis, (field, title) in zip(row, SWEPT.items(), strict=True):
            cells = [c for c in run["sweeps"].values() if c["swept"] in ("", field) and "skipped" not in c]
            for quantity, color in QUANTITIES.items():
                points = sorted((c["shape"][field], c[quantity]["ms"]) for c in cells)
                _line(axis, points, color, FAST, SWEEP_LABELS[quantity])
            axis.set_xlabel(title)
            _logarithmic(axis, {c["shape"][field] for c in cells})
        row[0].set_ylabel(f"milliseconds, {label}")
    axes[0][0].legend(frameon=False, fontsize=8)
    fig.savefig(path, dpi=130)
    plt.close(fig)


def _logarithmic(axis: Axes, sizes: set[int]) -> None:
    """Scale both axes logarithmically, with ticks at the sizes that were measured."""
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(sorted(sizes), [str(size) for size in sorted(sizes)])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.spines[["top", "right"]].set_visible(False)


def _line(axis: Axes, points: list[tuple[int, dict[str, float]]], color: str, style: str, label: str | None) -> None:
    sizes, times = [size for size, _ in points], [timing for _, timing in points]
    axis.plot(sizes, [t["median"] for t in times], style, color=color, marker="o", ms=3.5, label=label)
    axis.fill_between(sizes, [t["q25"] for t in times], [t["q75"] for t in times], color=color, alpha=0.2, lw=0)
