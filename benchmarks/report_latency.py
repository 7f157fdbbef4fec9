# SPDX-License-Identifier: BSD-3-Clause
"""The section of docs/results.md about what ``latency.py`` measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import figures

TEMPLATE = Path(__file__).with_name("latency.md.in")
RUNTIMES = ("ONNX Runtime", "TorchScript")
TableWriter = Callable[[list[str], list[list[str]]], str]


def section(file: Path, docs: Path, table: TableWriter) -> str:
    """Return the section and draw its figure; an empty text where nothing has been measured.

    Args:
        file: The JSON file.
        docs: Folder of the figure.
        table: Makes a Markdown table of a header and rows.
    """
    if not file.exists():
        return ""
    result: dict[str, Any] = json.loads(file.read_text())
    figures.latency(result["runs"], RUNTIMES, docs / "latency.png")
    rows = [
        [
            name,
            *(_milliseconds(run, runtime, part) for runtime in RUNTIMES for part in ("p50", "p99", "worst")),
            f"{run['parity_error']:.1e}",
        ]
        for name, run in result["runs"].items()
    ]
    header = ["policy", *(f"{runtime}, {part}" for runtime in RUNTIMES for part in ("median", "99 %", "longest"))]
    return TEMPLATE.read_text().format(
        processor=result["processor"],
        versions=", ".join(f"{package} {number}" for package, number in result["versions"].items()),
        num_calls=result["num_calls"],
        latency=table([*header, "difference"], rows),
        **result["shape"],
    )


def _milliseconds(run: dict[str, Any], runtime: str, part: str) -> str:
    """Return a cell; files in fewer bits exist for one runtime only."""
    return f"{run[runtime][part]:.3f}" if runtime in run else "-"
