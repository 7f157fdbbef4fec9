# SPDX-License-Identifier: BSD-3-Clause
"""The section of docs/results.md about faults, long training and several processes."""

from __future__ import annotations

import collections
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import figures
import soak
import soak_worker

TEMPLATE = Path(__file__).with_name("robustness.md.in")
TableWriter = Callable[[list[str], list[list[str]]], str]
WINDOW = 100
"""Iterations at the ends of a long training whose returns are averaged."""
KINDS = {
    "SIGKILL": "process killed",
    "SIGTERM": "process asked to end",
    "nan observation": "NaN from the simulator, in one environment",
    "nan minibatch": "NaN in a minibatch",
    "full disk": "no file can be written",
}


def section(results: Path, undisturbed: Sequence[dict[str, Any]], docs: Path, table: TableWriter) -> str:
    """Return the section and draw its figure; an empty text where nothing has been measured.

    Args:
        results: Folder of results.
        undisturbed: Records of the same training without faults, as ``learning.py`` writes them.
        docs: Folder of the figure.
        table: Makes a Markdown table of a header and rows.
    """
    records = _load(results / "soak")
    if not records:
        return ""
    segments = [segment for record in records for segment in record["segments"]]
    counts = collections.Counter(segment["end"] for segment in segments)
    for record in records:
        counts.update(record["faults"])
    lost = [max(segment["lost"], 0) for segment in segments]
    return TEMPLATE.read_text().format(
        task=records[0]["task"],
        end_every=f"{soak.END_EVERY:g}",
        full_for=f"{soak_worker.FULL_FOR:g}",
        save_interval=records[0]["save_interval"],
        faults=table(["fault", "times"], [[text, str(counts[kind])] for kind, text in KINDS.items()]),
        lost=sum(lost),
        made=sum(segment["made"] for segment in segments),
        most_lost=max(lost),
        iterations=records[0]["iterations"],
        minutes=f"{sum(record['wall_clock_s'] for record in records) / 60.0:.0f}",
        disturbed=", ".join(f"{record['return']:.0f}" for record in records),
        seeds=_seeds(records),
        undisturbed=", ".join(f"{record['returns'][-1]:.0f}" for record in undisturbed),
        undisturbed_seeds=_seeds(undisturbed),
        memory=_memory(records),
        resume=_resume(_stored(results / "resume.json")),
        long_run=_long_run(_load(results / "long_run"), docs, table),
        evaluation_cost=_evaluation_cost(_stored(results / "evaluation_cost.json"), table),
        scaling=_scaling(_stored(results / "scaling.json")),
    )


def _memory(records: Sequence[dict[str, Any]]) -> str:
    growth = {record["seed"]: values for record in records if (values := soak.memory_growth(record))}
    if not growth:
        return ""
    every = [value for values in growth.values() for value in values]
    per_1000 = f"{statistics.median(every):.1f} MB per 1000 iterations"
    return f" Memory in use grew by {per_1000} (median of {len(every)} processes, seeds {', '.join(map(str, growth))})."


def _resume(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    differences = [f"{algo} {value:g}" for algo, value in result["differences"].items()]
    return (
        f"\n{result['task']} killed after {result['killed_after']} of {result['iterations']} iterations and resumed: "
        "the largest absolute difference of all parameters and statistics from a training that was not "
        f"(`benchmarks/resume.py`) is {', '.join(differences)}.\n"
    )


def _evaluation_cost(result: dict[str, Any] | None, table: TableWriter) -> str:
    if result is None:
        return ""
    rows = []
    for algo, run in result["runs"].items():
        share = run["evaluation_s"] / (run["save_interval"] * run["iteration_s"])
        rows.append([algo, f"{run['evaluation_s']:.2f} s", f"{run['iteration_s']:.2f} s", f"{100 * share:.1f} %"])
    run = next(iter(result["runs"].values()))
    return (
        f"\nEvaluations beside training ({result['task']}, one thread, {run['episodes']} episodes at every "
        f"{run['save_interval']}th iteration; `benchmarks/evaluation_cost.py`):\n\n"
        + table(["algorithm", "evaluation", "iteration", "share of training"], rows)
        + "\n"
    )


def _long_run(records: Sequence[dict[str, Any]], docs: Path, table: TableWriter) -> str:
    if not records:
        return ""
    figures.long_runs(records, docs / "long_run.png")
    rows = []
    for record in records:
        returns = record["returns"]
        best = max(statistics.mean(returns[i : i + WINDOW]) for i in range(0, len(returns) - WINDOW + 1, WINDOW))
        entropy = record["behaviour"]["behaviour_entropy_bits"]
        rows.append(
            [
                str(record["seed"]),
                f"{best:.2f}",
                f"{statistics.mean(returns[-WINDOW:]):.2f}",
                "-" if entropy is None else f"{entropy:.2f}",
                f"{record['growth_mb_per_1000_iterations']:.1f}",
            ]
        )
    header = ["seed", f"best {WINDOW} iterations", f"last {WINDOW} iterations", "behaviour entropy, bits"]
    return (
        f"\n{records[0]['task']} for {records[0]['iterations']} iterations, thirty times its preset's, since policies "
        "of flows are known to collapse late (`benchmarks/long_run.py`). Training return, the entropy of the modes "
        "that are left at the end, and what memory grew by after the first fifth:\n\n"
        + table([*header, "MB per 1000 iterations"], rows)
        + "\n\n![Return and memory over a long training](long_run.png)\n"
    )


def _scaling(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    shares = [f"{100.0 * share:.0f} % {name}" for name, share in result["efficiency"].items()]
    return (
        f"\n{result['processes']} processes on as many cores ({result['processor']}), {result['task']}, of the "
        f"rate that one process has alone each keeps (`benchmarks/scaling.py`): {'; '.join(shares)}.\n"
    )


def _stored(file: Path) -> dict[str, Any] | None:
    """Return a record, None where nothing has been measured."""
    return json.loads(file.read_text()) if file.exists() else None


def _load(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(file.read_text()) for file in folder.glob("seed*.json")]
    return sorted(records, key=lambda record: record["seed"])


def _seeds(records: Sequence[dict[str, Any]]) -> str:
    return ", ".join(str(record["seed"]) for record in records)
