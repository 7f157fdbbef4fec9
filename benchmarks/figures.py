# SPDX-License-Identifier: BSD-3-Clause
"""Figures of docs/results.md."""

from __future__ import annotations

import functools
import itertools
import statistics
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import tables
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from results import ALGORITHMS, Record, Results
from speed_plan import SWEPT
from tables import Groups, Runs

COLORS = dict(
    zip(ALGORITHMS, ("#1f5fbf", "#3f9b57", "#8a5cc2", "#d9822b", "#b5a21c", "#c2455e", "#6b6b6b"), strict=True)
)
LABELS = ALGORITHMS | {"ppo": "PPO (RSL-RL)", "ppo untuned": "PPO (RSL-RL), untuned"}
PARTS = {"simulate": "#8a8a8a", "sample": "#7fb3e6", "store": "#c9c9c9", "targets": "#a6d49f"}
PARTS |= {"critic step": "#d9822b", "actor step": "#1f5fbf", "update": "#d9b48f"}
"""Colours of an iteration's parts."""
QUARTILES = (0.25, 0.75)
POINTS = 60
"""Points of a curve."""
SMOOTHED = 25
"""Neighbours on either side in a running median."""
LEGEND_SIZES = {"fontsize": 9, "title_fontsize": 9}
Lines = dict[str, tuple[str, Runs]]
"""Label of a line to its colour and its runs."""


def draw_all(results: Results, docs: Path) -> None:
    """Draw all figures into a folder."""
    runs = functools.partial(tables.runs_of, results)
    curves(by_algorithm(runs("comparison")), docs / "learning_curves.png", QUARTILES, end=tables.BUDGET / 1e3)
    curves(by_algorithm(runs("humanoid")), docs / "humanoid_curves.png")
    curves(by_algorithm(runs("hosts")), docs / "host_curves.png")
    curves(by_algorithm(runs("wallclock")), docs / "wallclock.png", against=("seconds", "env_steps"))
    curves(by_variant(runs("choices")), docs / "choices.png", QUARTILES)
    for name in ("steps", "eps"):
        curves(by_variant(runs(name), ordered=True), docs / f"ablation_{name}.png", QUARTILES)
    ablation(runs("ablation"), docs / "ablation.png")
    time_shares(results.read("throughput")["runs"], docs / "throughput.png")
    latency(results.read("latency")["runs"], docs / "latency.png")
    return_against_latency(results, docs / "deployed.png")
    long_runs(results.runs("long_run"), docs / "long_run.png")
    for path in sorted(results.folder.glob("speed_*.json")):
        measured, device = results.read(path.stem)["runs"], path.stem.removeprefix("speed_")
        speed_sampling(measured, docs / f"speed_sampling_{device}.png")
        speed_growth(measured, docs / f"speed_growth_{device}.png")


def panels(rows: int, columns: int, width: float, height: float, **options: Any) -> tuple[Any, np.ndarray]:
    """Return a figure and its axes ``[rows, columns]``, each of a width and height in inches."""
    size = (width * columns, height * rows)
    return plt.subplots(rows, columns, figsize=size, squeeze=False, constrained_layout=True, **options)


def save(figure: Any, path: Path, columns: int = 4, note: str = "") -> None:
    """Write a figure with one legend below all its panels, if their parts have labels, and close it.

    ``columns`` are those of the legend, above which ``note`` stands.
    """
    labelled: dict[str, Any] = {}
    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
        handles, labels = axis.get_legend_handles_labels()
        labelled |= dict(zip(labels, handles, strict=True))
    if labelled:
        place = {"loc": "outside lower center", "ncols": min(columns, len(labelled))}
        figure.legend(list(labelled.values()), list(labelled), title=note, frameon=False, **place, **LEGEND_SIZES)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def by_algorithm(groups: Groups) -> dict[str, Lines]:
    """Return the runs of each task by algorithm."""
    return {
        task: {
            LABELS[a]: (color, runs)
            for a, color in COLORS.items()
            for key, runs in groups.items()
            if key[:2] == (task, a)
        }
        for task in dict.fromkeys(task for task, _, _ in groups)
    }


def by_variant(groups: Groups, ordered: bool = False) -> dict[str, Lines]:
    """Return the runs of each task by variant, with the same colours in all tasks, from dark to light if ordered."""
    names = list(dict.fromkeys(variant for _, _, variant in groups))
    colors = dict(zip(names, shades(len(names)) if ordered else map("C{}".format, range(len(names))), strict=True))
    return {
        task: {key[2]: (colors[key[2]], runs) for key, runs in groups.items() if key[0] == task}
        for task in dict.fromkeys(task for task, _, _ in groups)
    }


def shades(number: int) -> list[str]:
    """Return colours from dark to light."""
    return [to_hex(color) for color in mpl.colormaps["viridis"](np.linspace(0.0, 0.85, number))]


def curves(
    tasks: dict[str, Lines],
    path: Path,
    shade: tuple[float, float] = (0.0, 1.0),
    against: tuple[str, ...] = ("env_steps",),
    end: float | None = None,
) -> None:
    """Draw medians of training returns over seeds, one panel per task.

    The x axes show ``env_steps`` in thousands or ``seconds``; two of them make two columns. Seeds are shades from one
    quantile to another, by default from the lowest to the highest. Medians end at ``end`` or at each line's shortest
    run.
    """
    count = len(tasks) * len(against)
    columns = 2 if count % 2 == 0 else count
    figure, axes = panels(count // columns, columns, *((6.6, 4.0) if count == 1 else (4.4, 3.2)))
    for axis, (task, x) in zip(axes.flat, itertools.product(tasks, against), strict=True):
        medians: dict[str, np.ndarray] = {}
        for label, (color, runs) in tasks[task].items():
            places = [tables.steps_of(run) / 1e3 if x == "env_steps" else np.array(run[x]) for run in runs]
            grid = np.linspace(max(of[0] for of in places), end or min(of[-1] for of in places), POINTS)
            values = [np.interp(grid, of, run["returns"]) for of, run in zip(places, runs, strict=True)]
            medians[label] = np.median(values, axis=0)
            axis.plot(grid, medians[label], color=color, lw=2, label=label)
            axis.fill_between(grid, *np.quantile(values, shade, axis=0), color=color, alpha=0.13, lw=0)
        leave_out_dips(axis, medians)
        axis.set_title(task, fontsize=11, loc="left")
        axis.set_xlabel("environment steps [thousands]" if x == "env_steps" else "seconds of training")
        axis.set_xlim(left=0.0)
    for axis in axes[:, 0]:
        axis.set_ylabel("training return")
    seeds = "quartiles" if shade == QUARTILES else "lowest to highest"
    note = f"lines: medians over seeds of the mean of 100 episodes; shades: {seeds}"
    save(figure, path, columns=3 if count == 1 else 4, note=note)


def leave_out_dips(axis: Axes, medians: dict[str, np.ndarray]) -> None:
    """Let the y axis end above a line's dip if that would take more than half of it, and say how far it goes."""
    values = np.concatenate(list(medians.values()))
    usual, highest = np.quantile(values, 0.03), values.max()
    label = min(medians, key=lambda name: medians[name].min())
    if usual - (lowest := values.min()) > 0.5 * (highest - lowest):
        axis.set_ylim(usual - 0.15 * (highest - usual), highest + 0.1 * (highest - usual))
        text = f"{label} falls to {lowest:.0f}"
        axis.annotate(text, (0.97, 0.04), xycoords="axes fraction", ha="right", fontsize=8, color="#444444")


def ablation(groups: Groups, path: Path) -> None:
    """Draw the returns of every seed by variant, the best median on top and the unchanged settings in colour."""
    ranked = list(reversed(groups.items()))
    figure, axes = panels(1, 1, 7, 0.36 * len(ranked) + 1)
    axis = axes[0][0]
    for height, (key, runs) in enumerate(ranked):
        values, color = tables.scores(runs), COLORS["trudi"] if key[2] == "unchanged" else "#555555"
        axis.plot(values, [height] * len(values), "o", color=color, ms=4.5, alpha=0.7)
        axis.plot([statistics.median(values)], [height], "|", color=color, ms=16, mew=2.2)
    axis.set_yticks(range(len(ranked)), [key[2] for key, _ in ranked])
    axis.set_xlabel("training return of each seed; bar: median")
    axis.grid(axis="x", lw=0.4)
    axis.spines["left"].set_visible(False)
    save(figure, path)


def time_shares(runs: dict[str, Record], path: Path) -> None:
    """Draw where an iteration's time goes, one bar per run; one far longer than the others leaves the picture."""
    figure, axes = panels(1, 1, 7, 0.42 * len(runs) + 1.3)
    axis = axes[0][0]
    totals = []
    for height, run in enumerate(runs.values()):
        seconds, left = run["seconds_per_iteration"], 0.0
        for part, color in PARTS.items():
            if part not in seconds or (part == "update" and "actor step" in seconds):
                continue
            width = 1e6 * seconds[part] / run["env_steps_per_iteration"]
            axis.barh(height, width, left=left, color=color, label=part)
            left += width
        totals.append(left)
    *others, longest = sorted(totals)
    end = 1.2 * (longest if longest < 2.0 * others[-1] else others[-1])
    for height, total in enumerate(totals):
        inside = total < end
        text = f" {total:.0f}" if inside else f"{total:.0f} \N{RIGHTWARDS ARROW} "
        axis.text(min(total, end), height, text, va="center", ha="left" if inside else "right", fontsize=9)
    algorithms = (name.partition(", ") for name in runs)
    axis.set_yticks(range(len(runs)), [f"{LABELS[algo]}, {threads}" for algo, _, threads in algorithms])
    axis.invert_yaxis()
    axis.set(xlabel="microseconds per environment step", xlim=(0.0, end))
    save(figure, path)


def latency(runs: dict[str, Record], path: Path) -> None:
    """Draw median, 99th percentile and longest call of every policy and runtime."""
    figure, axes = panels(1, 1, 6.4, 3.6)
    axis = axes[0][0]
    for i, runtime in enumerate(("ONNX Runtime", "TorchScript")):
        timed = {place: run[runtime] for place, run in enumerate(runs.values()) if runtime in run}
        places = np.array(list(timed)) + 0.16 * (2 * i - 1)
        times = {part: [of[part] for of in timed.values()] for part in ("p50", "p99", "worst")}
        axis.vlines(places, times["p50"], times["worst"], color=f"C{i}", lw=1)
        axis.plot(places, times["p50"], "o", color=f"C{i}", ms=5, label=f"{runtime}, median")
        axis.plot(places, times["p99"], "_", color=f"C{i}", ms=12, mew=2, label=f"{runtime}, 99 %; line: longest")
    axis.set_xticks(range(len(runs)), [name.replace(", ", "\n") for name in runs])
    axis.set(yscale="log", ylabel="milliseconds per action")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(axis="y", lw=0.4)
    save(figure, path, columns=2)


def return_against_latency(results: Results, path: Path) -> None:
    """Draw the share of the return that exported variants keep against their 99th percentile of latency."""
    figure, axes = panels(1, 1, 6.4, 3.6)
    axis, milliseconds = axes[0][0], tables.latencies(results)
    order = sorted(milliseconds, key=lambda name: milliseconds[name])
    for i, (task, runs) in enumerate(tables.exported_runs(results).items()):
        shares = {name: tables.kept_share(runs, name) for name in order}
        # side by side, because overlapping intervals would hide each other
        places = np.array([milliseconds[name] for name in order]) * (1.0 + 0.02 * i)
        for place, name in zip(places, order, strict=True):
            bounds = shares[name].interval
            if bounds is not None:
                axis.vlines(place, *bounds, color=f"C{i}", lw=1)
        axis.plot(places, [shares[name].value for name in order], "o", color=f"C{i}", ms=5, label=task)
    axis.set_xscale("log")
    ticks = [f"{milliseconds[name]:.2f}\n" + name.replace(", ", "\n") for name in order]
    axis.set_xticks([milliseconds[name] for name in order], ticks, fontsize=8)
    axis.minorticks_off()
    axis.set(xlabel="milliseconds within which 99 % of the calls end", ylabel="share of the return kept")
    axis.grid(axis="y", lw=0.4)
    save(figure, path)


def long_runs(runs: Runs, path: Path) -> None:
    """Draw the training return and the memory of long trainings over iterations."""
    figure, axes = panels(2, 1, 7, 2.2, sharex=True)
    top, bottom = axes[:, 0]
    for i, run in enumerate(runs):
        returns, color, label = np.array(run["returns"]), f"C{i}", f"seed {run['seed']}" if len(runs) > 1 else None
        iterations = np.linspace(0, run["iterations"], len(returns))
        middle = [np.median(returns[max(0, at - SMOOTHED) : at + SMOOTHED + 1]) for at in range(len(returns))]
        top.plot(iterations, returns, color=color, lw=0.5, alpha=0.35)
        top.plot(iterations, middle, color=color, lw=1.6, label=label)
        seconds, megabytes = np.array([sample for sample in run["memory_s_mb"] if sample[1] > 0.0]).T
        bottom.plot(seconds / seconds[-1] * run["iterations"], megabytes, color=color, lw=1.6)
    top.set_ylabel("training return")
    bottom.set(ylabel="memory [MB]", xlabel=f"iteration of {runs[0]['task']} (bold: running median)")
    bottom.set_ylim(bottom=0.0)
    save(figure, path)


def speed_sampling(runs: dict[str, Record], path: Path) -> None:
    """Draw milliseconds per action batch against environments, one panel per run and one colour per ``N``."""
    runs = {label: run for label, run in runs.items() if run.get("sampling")}
    figure, axes = panels(1, len(runs), 6.6, 4.4)
    for axis, (label, run) in zip(axes[0], runs.items(), strict=True):
        lines: dict[tuple[str, str], list[tuple[int, Record]]] = {}
        for cell in run["sampling"].values():
            if "skipped" not in cell:
                of = f"N = {cell['shape']['num_denoise_steps']}" if cell["actor"] == "diffusion" else cell["actor"]
                lines.setdefault((of, cell["mode"]), []).append((cell["shape"]["num_envs"], cell["ms"]))
        names = list(dict.fromkeys(of for of, _ in lines))
        colors = [*shades(len(names) - 1), COLORS["ppo"]]
        for (of, mode), points in sorted(lines.items(), key=lambda line: names.index(line[0][0])):
            times(axis, points, colors[names.index(of)], f"{of}, {mode}", "--" if mode == "eager" else "-")
        axis.set_title(label, fontsize=11, loc="left")
        axis.set_xlabel("environments")
    axes[0][0].set_ylabel("milliseconds per action batch")
    save(figure, path, columns=3)


def speed_growth(runs: dict[str, Record], path: Path) -> None:
    """Draw times against one size at a time, one row per run and one panel per size."""
    runs = {label: run for label, run in runs.items() if run.get("sweeps")}
    figure, axes = panels(len(runs), len(SWEPT), 3.2, 3.0, sharey="row")
    for row, (label, run) in zip(axes, runs.items(), strict=True):
        for axis, (field, title) in zip(row, SWEPT.items(), strict=True):
            cells = [c for c in run["sweeps"].values() if c["swept"] in ("", field) and "skipped" not in c]
            for quantity, color, text in (("update", "trudi", "minibatch update"), ("sampling", "ppo", "action batch")):
                points = sorted((c["shape"][field], c[quantity]["ms"]) for c in cells)
                times(axis, points, COLORS[color], text)
            axis.set_xlabel(title)
        row[0].set_ylabel(f"milliseconds, {label}")
    save(figure, path)


def times(axis: Axes, points: list[tuple[int, Record]], color: str, label: str, style: str = "-") -> None:
    """Draw medians over a shade of the quartiles against sizes, with logarithmic axes and ticks at the sizes."""
    sizes, timings = [size for size, _ in points], [timing for _, timing in points]
    axis.plot(sizes, [t["median"] for t in timings], style, color=color, marker="o", ms=3.5, label=label)
    axis.fill_between(sizes, [t["q25"] for t in timings], [t["q75"] for t in timings], color=color, alpha=0.2, lw=0)
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(sizes, map(str, sizes))
    axis.minorticks_off()
    axis.yaxis.set_major_formatter("{x:g}")
