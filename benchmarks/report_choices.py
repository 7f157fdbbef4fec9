# SPDX-License-Identifier: BSD-3-Clause
"""The sections of docs/results.md on choices that cost or save time, where they have been measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import figures
import wallclock

Runs = list[dict[str, Any]]
Records = dict[tuple[str, str, str], Runs]
TableWriter = Callable[[list[str], list[list[str]]], str]

TEMPLATE = Path(__file__).with_name("choices.md.in")
PAPER_TEMPLATE = Path(__file__).with_name("paper_ablations.md.in")
WALL_CLOCK_TEMPLATE = Path(__file__).with_name("wallclock.md.in")
BASELINE, PRESET = "stored", "adjoint, 4 steps"
"""The variant that every other one is compared with, and the preset's."""


def variants(
    records: Records,
    score: Callable[[dict[str, Any]], float],
    table: TableWriter,
    baseline: str = BASELINE,
    preset: str = PRESET,
) -> str:
    """Return the table of variants by task, each beside the baseline's runs of the same seeds.

    Args:
        records: Runs by task, algorithm and variant.
        score: Training return of a run.
        table: Makes a Markdown table of a header and rows.
        baseline: The variant that every other one is compared with.
        preset: The variant to print in bold.
    """
    rows = []
    for (task, algo, variant), runs in sorted(records.items(), key=lambda item: item[0][0]):
        seeds = {run["seed"] for run in runs}
        same = [score(run) for run in records[task, algo, baseline] if run["seed"] in seeds]
        values = [score(run) for run in runs]
        rows.append(
            [
                task,
                f"**{variant}**" if variant == preset else variant,
                f"{statistics.median(values):.0f}",
                f"{statistics.median(same):.0f}",
                ", ".join(f"{v:.0f}" for v in values),
                ", ".join(f"{statistics.mean(run['evaluation']['ode']):.0f}" for run in runs),
                f"{statistics.median(run['mean']['Loss/path_kl'] for run in runs):.3f}",
                f"{100 * statistics.median(run['mean']['Loss/gated_share'] for run in runs):.0f} %",
                ", ".join(str(run["seed"]) for run in runs),
            ]
        )
    header = ["task", "variant", "median", f"{baseline}, same seeds", "by seed", "ODE afterwards, by seed"]
    return table([*header, "mean KL [nats]", "beyond eps", "seeds"], rows)


def choices(
    records: Records, before: Records, score: Callable[[dict[str, Any]], float], docs: Path, table: TableWriter
) -> str:
    """Return the section on chains, actor gradients and the state encoder, and draw its figures.

    Args:
        records: Runs of the tables ``chains``, ``gradients`` and ``amortised``; an empty text without any.
        before: Runs of the same tasks by the code before it was made fast.
        score: Training return of a run.
        docs: Folder of the figures.
        table: Makes a Markdown table of a header and rows.
    """
    if not records:
        return ""
    tasks = sorted({task for task, _, _ in records})
    figures.variants(records, docs / "choices.png")
    compared = {
        (task, "trudi", label): runs[task, "trudi", variant]
        for task in tasks
        for label, runs, variant in (
            ("before", before, "preset"),
            ("now, pathwise", records, BASELINE),
            ("now, the preset", records, PRESET),
        )
    }
    figures.variants(compared, docs / "before_and_now.png")
    return TEMPLATE.read_text().format(variants=variants(records, score, table))


def paper_ablations(
    steps: Records,
    bounds: Records,
    baseline: Runs,
    score: Callable[[dict[str, Any]], float],
    docs: Path,
    table: TableWriter,
) -> str:
    """Return the section on denoising steps and the trust region, and draw its figures; an empty text without runs.

    Args:
        steps: Runs of other numbers of denoising steps than 8.
        bounds: Runs of other trust regions than 0.1 nats.
        baseline: Runs with 8 steps and 0.1 nats.
        score: Training return of a run.
        docs: Folder of the figures.
        table: Makes a Markdown table of a header and rows.
    """
    if not steps or not bounds:
        return ""
    tables = {}
    for name, changed, unchanged in (("steps", steps, "N = 8"), ("eps", bounds, "eps = 0.1")):
        (task, algo, _), *_ = changed
        records = changed | {(task, algo, unchanged): baseline}
        # "N = 16" after "N = 8"
        records = dict(sorted(records.items(), key=lambda item: float(item[0][2].rpartition(" ")[2])))
        figures.variants(records, docs / f"ablation_{name}.png")
        tables[name] = variants(records, score, table, unchanged, unchanged)
    return PAPER_TEMPLATE.read_text().format(**tables)


def wall_clock(runs: Runs, docs: Path, names: dict[str, str], table: TableWriter) -> str:
    """Return the section on wall-clock time, and draw its figure; an empty text without runs.

    Args:
        runs: Of ``wallclock.py``.
        docs: Folder of the figure.
        names: Of the algorithms.
        table: Makes a Markdown table of a header and rows.
    """
    if not runs:
        return ""
    figures.wall_clock(runs, docs / "wallclock.png")
    rows = []
    for task, group in wallclock.by_task(runs).items():
        for algo, result in wallclock.summary(group).items():
            rows.append(
                [
                    task,
                    names[algo],
                    f"{result['level']:.0f}",
                    f"**{_seconds(statistics.median(result['seconds']))}**",
                    ", ".join(_seconds(s) for s in result["seconds"]),
                    f"{statistics.median(result['total_seconds']):.0f}",
                    f"{statistics.median(result['final_returns']):.0f}",
                    ", ".join(map(str, result["seeds"])),
                ]
            )
    header = ["task", "algorithm", "return to reach", "median seconds", "by seed", "seconds of the whole run"]
    return WALL_CLOCK_TEMPLATE.read_text().format(table=table([*header, "median return at its end", "seeds"], rows))


def _seconds(value: float) -> str:
    return f"{value:.0f}" if value < float("inf") else "not reached"
