# SPDX-License-Identifier: BSD-3-Clause
"""Time exported policies: one action, batch size 1, one CPU thread, in ONNX Runtime or TorchScript.

Prints median, 99th percentile and longest call of each file, and warns about files slower than their control period.
A folder stands for its ONNX files. A TorchScript file is a program that runs when it is loaded: name only those that
you exported or trust.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def parse() -> argparse.Namespace:
    """Return the flags."""
    from trudi_rsl.command_line import Parser
    from trudi_rsl.deploy.latency import NUM_CALLS

    parser = Parser(__doc__)
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="policy.onnx, policy.pt, or a folder with ONNX files"
    )
    parser.add_argument("--calls", type=int, default=NUM_CALLS, help=f"calls to time (default: {NUM_CALLS})")
    parser.add_argument("--period_ms", type=float, help="control period in milliseconds (default: from the ONNX file)")
    parser.add_argument("--output", type=Path, help="picture to write, png, pdf or svg, which must not exist")
    return parser.parse_all()


def report(args: argparse.Namespace) -> None:
    """Time the files, print the table and draw the picture."""
    from rich.console import Console
    from rich.table import Table

    from trudi_rsl.command_line import require_new
    from trudi_rsl.deploy.latency import exported_files, latency_figure, measure

    if args.output is not None:
        require_new(args.output)
    timings = measure(exported_files(args.paths), args.calls, args.period_ms, progress=True)
    table = Table("file", "runtime", title=f"Milliseconds per action, {args.calls} calls")
    for name in ("p50", "p99", "longest"):
        table.add_column(name, justify="right")
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


def main() -> None:
    """Report the latencies, or a user's mistake in one line."""
    try:
        args = parse()
        from trudi_rsl.deploy import ExportError
        from trudi_rsl.errors import ConfigError
    except ImportError as error:
        raise SystemExit(f"Error: {error}") from None
    try:
        report(args)
    except (ConfigError, ExportError, ImportError, OSError, ValueError) as error:
        raise SystemExit(f"Error: {error}") from None


if __name__ == "__main__":
    main()
