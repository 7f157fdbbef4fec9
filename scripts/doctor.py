# SPDX-License-Identifier: BSD-3-Clause
"""Report problems of training runs and which setting to change, from their logs and checkpoints.

Runs may still be training. Rules with too little data to judge are listed with the data that they need. The exit code
is 0 if nothing is wrong, 1 if a rule is violated, 2 if a folder is not a run. docs/health.md explains each finding.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Return the flags."""
    from trudi_rsl.command_line import Parser

    parser = Parser(__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="run folders")
    return parser.parse_all(argv)


def main(argv: list[str] | None = None) -> int:
    """Print a report on each run.

    Returns:
        0; 1 if a rule is violated in one of them; 2 if one is not a run.
    """
    try:
        args = parse(argv)
        from trudi_rsl.config.event_file import RunError
        from trudi_rsl.health.checkup import examine_run
    except ImportError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    worst = 0
    for index, run in enumerate(args.runs):
        try:
            checkup = examine_run(run)
        except (RunError, OSError) as error:
            print(f"Error: {error}", file=sys.stderr)
            worst = 2
            continue
        if index:
            print()
        print(checkup, flush=True)
        worst = max(worst, int(bool(checkup.findings)))
    return worst


if __name__ == "__main__":
    sys.exit(main())
