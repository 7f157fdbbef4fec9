# SPDX-License-Identifier: BSD-3-Clause
"""The sections of docs/results.md about what ``speed.py`` and ``profile_iteration.py`` measured, where they have."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import speed_figures

TEMPLATE = Path(__file__).with_name("speed.md.in")
PARTS = ("critic step", "actor step", "path KL", "optimizers")
TableWriter = Callable[[list[str], list[list[str]]], str]


def sections(results: Path, docs: Path, table: TableWriter) -> str:
    """Return the sections and draw their figures; an empty text where nothing has been measured.

    Args:
        results: Folder of the JSON files.
        docs: Folder of the figures.
        table: Makes a Markdown table of a header and rows.
    """
    texts = [_device_section(path, docs, table) for path in sorted(results.glob("speed_*.json"))]
    profiles = [
        json.loads(p.read_text()) for label in ("before", "after") if (p := results / f"profile_{label}.json").exists()
    ]
    if profiles:
        texts.append(profile_section(profiles, table))
    return "".join(texts)


def _device_section(path: Path, docs: Path, table: TableWriter) -> str:
    result = json.loads(path.read_text())
    name, runs = path.stem.removeprefix("speed_"), result["runs"]
    having = {s: {label: run for label, run in runs.items() if run.get(s)} for s in ("sampling", "update", "sweeps")}
    if not all(having.values()):
        raise ValueError(f"{path.name} lacks a section; run benchmarks/speed.py without --only, or with what is left.")
    speed_figures.sampling(having["sampling"], docs / f"speed_sampling_{name}.png")
    speed_figures.growth(having["sweeps"], docs / f"speed_growth_{name}.png")
    acting = next(iter(next(iter(having["sampling"].values()))["sampling"].values()))["shape"]
    return TEMPLATE.read_text().format(
        name=name,
        device="a CPU" if result["device"] == "cpu" else result["device"],
        processor=result["processor"],
        versions=", ".join(f"{package} {number}" for package, number in result["versions"].items()),
        acting_width=acting["width"],
        acting_obs=acting["num_obs"],
        acting_actions=acting["num_actions"],
        **next(iter(having["sweeps"].values()))["sweeps"]["base"]["shape"],
        sampling=sampling(runs, table),
        update=update(runs, table),
        parts=parts(runs, table),
        memory=memory(runs),
        skipped=skipped(runs),
    )


def _cells(runs: dict[str, Any], section: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield run, name and record of every cell that was measured."""
    for label, run in runs.items():
        yield from ((label, name, cell) for name, cell in run.get(section, {}).items() if "skipped" not in cell)


def milliseconds(timing: dict[str, float], scale: float = 1.0) -> str:
    """Return a median with its quartiles."""
    median, low, high = (_digits(scale * timing[key]) for key in ("median", "q25", "q75"))
    return f"{median} [{low}, {high}]"


def _digits(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def sampling(runs: dict[str, Any], table: TableWriter) -> str:
    """Return the table of action batches, one row per number of environments."""
    columns: dict[str, None] = {}
    rows: dict[tuple[str, str, int], dict[str, str]] = {}
    for label, _, cell in _cells(runs, "sampling"):
        shape = cell["shape"]
        column = f"N = {shape['num_denoise_steps']}" if cell["actor"] == "diffusion" else cell["actor"]
        columns[column] = None
        rows.setdefault((label, cell["mode"], shape["num_envs"]), {})[column] = milliseconds(cell["ms"])
    header = ["run", "code", "environments", *columns]
    return table(header, [[*map(str, key), *(cells.get(c, "-") for c in columns)] for key, cells in rows.items()])


def update(runs: dict[str, Any], table: TableWriter) -> str:
    """Return the table of updates, one row per variant."""
    rows = []
    for label, name, cell in _cells(runs, "update"):
        twin = None if cell["actor"] == "ppo preset" else _gaussian_twin(cell, runs[label]["update"])
        ratio = f"{cell['ms']['median'] / twin['ms']['median']:.2f}" if twin else "-"
        row = [label, name, milliseconds(cell["ms"]), milliseconds(cell["update_ms"]), ratio]
        if "flops" in cell:
            shares = (cell["share_of_big_gemm"], cell["share_of_own_gemm"])
            row += [_digits(1e-9 * cell["flops"]), *(f"{100 * share:.0f} %" for share in shares)]
        else:
            row += ["-"] * 3
        rows.append(row)
    header = ["run", "variant", "ms per minibatch", "ms per update", "of Gaussian", "GFLOP per minibatch"]
    return table([*header, "of a large product", "of its own"], rows)


def _gaussian_twin(cell: dict[str, Any], cells: dict[str, Any]) -> dict[str, Any] | None:
    """Return the record of the same update with a Gaussian actor, if there is one."""
    same = ("mode", "precision", "shape")
    twins = (c for c in cells.values() if c["actor"] == "gaussian" and "ms" in c)
    return next((c for c in twins if all(c[key] == cell[key] for key in same)), None)


def parts(runs: dict[str, Any], table: TableWriter) -> str:
    """Return the table of an update's parts."""
    rows = []
    for label, name, cell in _cells(runs, "update"):
        measured = cell.get("parts", {})
        if measured:
            rows.append([label, name, *(milliseconds(measured[p]["ms"]) if p in measured else "-" for p in PARTS)])
    return table(["run", "variant", *PARTS], rows)


def memory(runs: dict[str, Any]) -> str:
    """Return a sentence on memory, empty where none was measured."""
    told = [(cell["peak_mib"], growth) for _, _, cell in _cells(runs, "update") for growth in _growth(cell)]
    if not told:
        peak = max(run["peak_rss_mib_of_the_process"] for run in runs.values())
        return f"The process of the whole benchmark held at most {peak:.0f} MiB of the machine's memory.\n"
    peaks, growths = zip(*told, strict=True)
    return (
        f"GPU memory at most: {min(peaks):.0f} to {max(peaks):.0f} MiB by variant, the rollout included. "
        f"Over 200 further updates it grew by at most {max(growths)} bytes.\n"
    )


def _growth(cell: dict[str, Any]) -> Iterator[int]:
    yield from (value for key, value in cell.items() if key.startswith("growth_bytes"))


def skipped(runs: dict[str, Any]) -> str:
    """Return what was not measured and why, empty if all was."""
    lines = [
        f"- {label}, {section}: {name}: {cell['skipped']}"
        for label, run in runs.items()
        for section in ("sampling", "update", "sweeps")
        for name, cell in run.get(section, {}).items()
        if "skipped" in cell
    ]
    return "\n".join(["", "Not measured:", "", *lines, ""]) if lines else ""


def profile_section(profiles: list[dict[str, Any]], table: TableWriter) -> str:
    """Return the section on where one training iteration's time goes, a column per label."""
    header = [f"{p['label']} ({p['commit']})" for p in profiles]

    def rows(of: Callable[[dict[str, Any]], dict[str, float]]) -> list[list[str]]:
        names = dict.fromkeys(name for p in profiles for name in of(p))
        return [[n, *(f"{1e3 * of(p)[n]:.1f}" if n in of(p) else "-" for p in profiles)] for n in names]

    first = profiles[0]
    settings = "; ".join(f"{p['label']}: {' '.join(p['overrides']) or 'the preset'}" for p in profiles)
    threads = f"{first['threads']} thread{'s' * (first['threads'] > 1)}"
    return "\n".join(
        [
            "\n## Where an iteration's time goes\n",
            f"`benchmarks/profile_iteration.py`: {first['algo']} on {first['task']}, {first['device']}, {threads}; "
            f"{settings}.",
            f"Milliseconds per iteration, medians of {first['iterations']}:\n",
            table(["part", *header], rows(lambda p: p["parts"])),
            "\nBy class of operator, of one iteration under torch's profiler, which slows it down:\n",
            table(["operators", *header], rows(lambda p: p["operators"]["classes"])),
            "",
        ]
    )
