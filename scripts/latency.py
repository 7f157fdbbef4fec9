# SPDX-License-Identifier: BSD-3-Clause
"""Time exported policies: one action, batch 1, one CPU thread, by ONNX Runtime and by TorchScript.

Prints median, 99th percentile and longest call of each file, and says which are too slow for their control period.
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
        "paths", nargs="+", type=Path, metavar="PATH", help="policy.onnx, policy.pt, or a folder with them"
    )
    parser.add_argument("--calls", type=int, default=NUM_CALLS, help=f"calls to time (default: {NUM_CALLS})")
    parser.add_argument("--period_ms", type=float, help="control period in milliseconds (default: the file's, if told)")
    parser.add_argument("--output", type=Path, help="picture to write, png, pdf or svg, which must not exist")
    return parser.parse_all()


def main() -> None:
    """Measure, and tell a user's mistake in one line."""
    try:
        args = parse()
        from rich.console import Console
        from rich.progress import track
        from rich.table import Table

        from trudi_rsl.deploy.latency import exported_files, measure
        from trudi_rsl.deploy.parity import ExportError
    except ImportError as error:
        raise SystemExit(f"Error: {error}") from None
    if args.output is not None and args.output.exists():
        raise SystemExit(f"Error: {args.output} exists and was kept. Choose another --output, or delete it first.")
    try:
        files = exported_files(args.paths)
        timings = [measure(file, args.calls, args.period_ms) for file in track(files, "Timing", transient=True)]
    except (ExportError, ValueError) as error:
        raise SystemExit(f"Error: {error}") from None
    table = Table("file", "runtime", title=f"Milliseconds per action, {args.calls} calls")
    for name in ("p50", "p99", "longest"):
        table.add_column(name, justify="right")
    for timing in timings:
        times = (f"{value:.3f}" for value in (timing.p50, timing.p99, timing.worst))
        table.add_row(str(timing.file), timing.runtime, *times)
    Console().print(table)
    if args.output is not None:
        from trudi_rsl.deploy.latency_plot import latency_figure

        args.output.parent.mkdir(parents=True, exist_ok=True)
        latency_figure(timings).savefig(args.output, dpi=150)
        print(f"Picture: {args.output}")
    for warning in filter(None, (timing.warning for timing in timings)):
        print(f"Warning: {warning}", file=sys.stderr)


if __name__ == "__main__":
    main()
