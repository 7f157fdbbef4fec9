# SPDX-License-Identifier: BSD-3-Clause
"""A comparison as files: JSON with all numbers, CSV with a row per run, Markdown with tables to read."""

from __future__ import annotations

import csv
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from trudi_rsl.evaluation.comparison import ALL_TASKS, Comparison
from trudi_rsl.evaluation.measurement import Measurement
from trudi_rsl.evaluation.pictures import draw_comparison
from trudi_rsl.evaluation.statistics import Estimate, summarize

FILES = ("results.json", "results.csv", "results.md", "intervals.png", "profiles.png", "improvement.png")
"""What :func:`write_comparison` writes."""


def write_comparison(
    comparison: Comparison, measurements: Sequence[Measurement], folder: Path, about: Mapping[str, Any]
) -> None:
    """Write ``results.json``, ``results.csv``, ``results.md`` and the pictures into a folder, replacing them.

    ``about``, options and versions, is stored with the numbers.
    """
    numbers = {**about, **_numbers(comparison), "runs": [asdict(measurement) for measurement in measurements]}
    (folder / "results.json").write_text(json.dumps(numbers, indent=1, default=np.ndarray.tolist) + "\n")
    with (folder / "results.csv").open("w", newline="") as file:
        rows = [_csv_row(measurement) for measurement in measurements]
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    pictures = [path for path in draw_comparison(comparison, folder) if path.suffix == ".png"]
    shown = "\n\n".join(f"![{path.stem}]({path.name})" for path in pictures)
    (folder / "results.md").write_text(f"# Evaluation\n\n{as_markdown(comparison)}\n\n{shown}\n")


def _numbers(comparison: Comparison) -> dict[str, Any]:
    """Return all numbers of a comparison by name, NaN as None."""
    return {
        "metric": comparison.metric,
        "notes": comparison.notes,
        "groups": [
            {
                **asdict(row.group),
                **{name: value for name, value in vars(row).items() if name != "group"},
                "iqm": _plain(row.iqm),
                "std": None if math.isnan(row.std) else row.std,
            }
            for row in comparison.rows
        ],
        "panels": [
            {
                "title": panel.title,
                "scale": panel.scale,
                "iqm": [{**asdict(group), **_plain(estimate)} for group, estimate in panel.iqm.items()],
                "improvements": [
                    {"first": asdict(first), "second": asdict(second), **_plain(estimate)}
                    for (first, second), estimate in panel.improvements.items()
                ],
                "thresholds": panel.thresholds,
                "profiles": [{**asdict(group), **vars(profile)} for group, profile in panel.profiles.items()],
            }
            for panel in comparison.panels
        ],
    }


def as_markdown(comparison: Comparison, improvements: bool = True) -> str:
    """Return the tables, each group on each task and over all tasks, pairs of groups if wanted, and the notes."""
    what = "success" if comparison.metric == "success" else "return"
    with_success = any(row.success is not None for row in comparison.rows)
    header = ["task", "policy", "sampler", f"IQM of {what} [95 %]", "mean ± std over seeds"]
    header += ["success"] * with_success + ["length", "seeds", "by seed"]
    rows = []
    for row in comparison.rows:
        mean = number(row.mean) if math.isnan(row.std) else f"{number(row.mean)} ± {number(row.std)}"
        cells = [row.task, row.group.label, row.group.sampler, estimate_text(row.iqm), mean]
        if with_success:
            cells.append("-" if row.success is None else f"{100 * row.success:.0f} %")
        cells += [f"{row.length:.0f}", ", ".join(row.by_seed), ", ".join(map(number, row.by_seed.values()))]
        rows.append(cells)
    parts = [markdown_table(header, rows)]
    for panel in comparison.panels:
        if panel.title == ALL_TASKS:
            listed = [[g.label, g.sampler, estimate_text(e), str(e.seeds)] for g, e in panel.iqm.items()]
            table = markdown_table(["policy", "sampler", f"IQM of {panel.scale} [95 %]", "seeds per task"], listed)
            parts.append(f"Over all tasks:\n\n{table}")
    pairs = [
        [panel.title, str(first), str(second), estimate_text(estimate)]
        for panel in comparison.panels
        for (first, second), estimate in panel.improvements.items()
    ]
    if pairs and improvements:
        table = markdown_table(["task", "first", "second", "P(first > second) [95 %]"], pairs)
        parts.append(f"Probability that a run of the first is better than one of the second:\n\n{table}")
    parts.append("\n".join(f"- {note}" for note in comparison.notes))
    return "\n\n".join(filter(None, parts))


def printed_tables(comparison: Comparison) -> list[Table]:
    """Return tables to print that fit 80 columns: those of :func:`as_markdown` without the results of single seeds."""
    what = "success" if comparison.metric == "success" else "return"
    names = list(dict.fromkeys(row.task for row in comparison.rows))
    title = f"IQM of {what} [95 %], and mean ± std over seeds"
    tasks = Table(title=f"{names[0]}: {title}" if len(names) == 1 else title)
    if len(names) > 1:
        tasks.add_column("task", overflow="fold", min_width=min(24, max(map(len, names))))
    for name in ("policy", "sampler"):
        tasks.add_column(name, overflow="fold")
    for name in ("IQM", "mean ± std", "seeds"):
        tasks.add_column(name, justify="right")
    for row in comparison.rows:
        mean = number(row.mean) if math.isnan(row.std) else f"{number(row.mean)} ± {number(row.std)}"
        cells = [row.group.label, row.group.sampler, estimate_text(row.iqm), mean, str(len(row.by_seed))]
        tasks.add_row(*([row.task] if len(names) > 1 else []), *cells)
    tables = [tasks]
    for panel in comparison.panels:
        if panel.title == ALL_TASKS:
            together = Table("policy", "sampler", title=f"Over all tasks: IQM of {panel.scale} [95 %]")
            together.add_column("IQM", justify="right")
            for group, estimate in panel.iqm.items():
                together.add_row(group.label, group.sampler, estimate_text(estimate))
            tables.append(together)
    return tables


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; ``|`` in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def estimate_text(estimate: Estimate) -> str:
    """Return ``value [low, high]``, or the value and how many seeds an interval needs."""
    if estimate.interval is None:
        return f"{number(estimate.value)} [needs {estimate.needed} seeds]"
    low, high = estimate.interval
    return f"{number(estimate.value)} [{number(low)}, {number(high)}]"


def number(value: float) -> str:
    """Return a number with at least three digits: 2854, 45.2, 0.934."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _plain(estimate: Estimate) -> dict[str, Any]:
    return {"value": estimate.value, "interval": estimate.interval, "seeds": estimate.seeds, "lack": estimate.lack}


def _csv_row(run: Measurement) -> dict[str, Any]:
    summary = summarize(run.returns)
    return {
        **{name: getattr(run, name) for name in ("label", "algorithm", "sampler", "task", "seed")},
        "episodes": summary.count,
        "return_mean": summary.mean,
        "return_std": None if math.isnan(summary.std) else summary.std,
        "return_iqm": summary.iqm,
        "success": None if run.success is None else statistics.fmean(run.success),
        "length_mean": statistics.fmean(run.lengths),
        "checkpoint": run.checkpoint,
    }
