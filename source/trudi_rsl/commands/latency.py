# SPDX-License-Identifier: BSD-3-Clause
"""Time exported policies: one action, batch size 1, one CPU thread, in ONNX Runtime or TorchScript.

Prints median, 99th percentile and longest call of each file, and warns about files slower than their control period.
A folder stands for its ONNX files, a run or experiment folder for those exported from it. A TorchScript file is a
program that runs when it is loaded: name only those that you exported or trust.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from trudi_rsl import packages
from trudi_rsl.choices import TIMED_CALLS
from trudi_rsl.command_line import Parser, require_new
from trudi_rsl.errors import ConfigError


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(__doc__, "latency")
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="policy.onnx, policy.pt, a folder with ONNX files, or a run"
    )
    parser.add_argument("--calls", type=int, default=TIMED_CALLS, help=f"calls to time (default: {TIMED_CALLS})")
    parser.add_argument("--period_ms", type=float, help="control period in milliseconds (default: from the ONNX file)")
    parser.add_argument("--output", type=Path, help="picture to write, png, pdf or svg, which must not exist")
    return parser.parse_all(argv)


def main(argv: Sequence[str]) -> None:
    """Time the files, print the table and draw the picture."""
    args = parse(argv)
    drawing: packages.Packages = {}
    if args.output is not None:
        require_new(args.output)
        drawing = packages.PICTURES
    packages.require("Timing a policy", packages.CORE, {"onnxruntime": "onnxruntime"}, drawing)
    from trudi_rsl.config.run_folder import require_exists

    for path in args.paths:
        require_exists(path)
    from rich.console import Console
    from rich.table import Table

    from trudi_rsl.deploy.latency import exported_files, latency_figure, measure

    try:
        timings = measure(exported_files(args.paths), args.calls, args.period_ms, progress=True)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    table = Table(title=f"Milliseconds per action, {args.calls} calls")
    table.add_column("file", overflow="fold")
    table.add_column("runtime")
    for name in ("p50", "p99", "longest"):
        table.add_column(name, justify="right", no_wrap=True)
    for timing in timings:
        times = (f"{value:.3f}" for value in timing.latency)
        table.add_row(str(timing.file), timing.runtime, *times)
    Console().print(table)
    for warning in filter(None, (timing.warning for timing in timings)):
        print(f"Warning: {warning}", file=sys.stderr)
    if args.output is not None:
        args.output.parent.mkdir(parents=True, exist_ok=True)
        latency_figure(timings).savefig(args.output, dpi=150)
        print(f"Picture: {args.output}")
