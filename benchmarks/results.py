# SPDX-License-Identifier: BSD-3-Clause
"""The stored results: one JSON file per table in ``benchmarks/results``."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trudi_rsl.evaluation.statistics import Estimate

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / "results"
ALGORITHMS = {"trudi": "TruDi", "reppo": "Gaussian sibling (REPPO)", "dime": "DIME", "ppo": "PPO"}
ALGORITHMS |= {algo: algo.upper() for algo in ("spo", "dppo", "fpo")}
"""Algorithms and their names, in the order of rows."""
PACKAGES = ("torch", "rsl-rl-lib", "gymnasium", "mujoco")
EXPORTED = "ode_from_zeros"
"""The sampler that exported policies use."""

Record = dict[str, Any]
Rows = list[dict[str, str]]
"""The rows of a table, each by column; a missing cell is shown as a dash."""


def run_key(record: Record) -> tuple[str, str, str, int]:
    """Return what identifies a training run within its table."""
    return record["task"], record["algo"], record["variant"], record["seed"]


class Results:
    """A folder of result files.

    A file holds one JSON object. If its ``runs`` is a list, it is written with one run per line, sorted by
    :func:`run_key`.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    def read(self, name: str) -> Record:
        """Return the content of ``<name>.json``; empty if there is no such file."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def runs(self, name: str) -> list[Record]:
        """Return the training runs of ``<name>.json``, sorted by :func:`run_key`."""
        return self.read(name).get("runs", [])

    def write(self, name: str, result: Record) -> None:
        """Replace ``<name>.json``; an interrupted write leaves the previous file."""
        path = self.folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(_to_text(result))
        os.replace(temporary, path)

    def add(self, name: str, record: Record) -> None:
        """Add a training run, in place of an earlier one with the same key."""
        kept = [run for run in self.runs(name) if run_key(run) != run_key(record)]
        self.write(name, {"runs": sorted([*kept, record], key=run_key)})


def _to_text(result: Record) -> str:
    if not isinstance(result.get("runs"), list):
        return json.dumps(result, indent=1) + "\n"
    lines = ",\n".join("  " + json.dumps(run) for run in result["runs"])
    return f'{{\n "runs": [\n{lines}\n ]\n}}\n'


def versions(*packages: str) -> dict[str, str]:
    """Return the installed versions of packages, :data:`PACKAGES` by default."""
    return {package: version(package) for package in packages or PACKAGES}


def with_interval(found: Estimate, digits: int) -> str:
    """Return an estimate and its interval, or why there is none."""
    if found.interval is None:
        return f"{found.value:.{digits}f} ({found.lack})"
    return f"{found.value:.{digits}f} [{found.interval[0]:.{digits}f}, {found.interval[1]:.{digits}f}]"


def argument_parser(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with the flags that all benchmarks share; pass its namespace to :func:`chosen_results`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help=f"folder of the JSON files (default: {FOLDER.relative_to(ROOT)})")
    parser.add_argument("--quick", action="store_true", help="smallest sizes, stored elsewhere: check that all runs")
    return parser


def chosen_results(args: argparse.Namespace) -> Results:
    """Return the folder to write to; quick runs without ``--output`` get a temporary one."""
    if args.quick and not args.output:
        args.output = Path(tempfile.mkdtemp(prefix="benchmarks_"))
        print(f"Results of this quick run: {args.output}")
    return Results(args.output or FOLDER)
