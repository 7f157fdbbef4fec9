# SPDX-License-Identifier: BSD-3-Clause
"""Report problems of training runs and which setting to change, from their logs and checkpoints.

Runs may still be training. Rules with too little data to judge are listed with the data that they need. The exit code
is 0 if nothing is wrong, 1 if a rule is violated, 2 if a folder is not a run. `trudi docs health` explains findings.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from trudi_rsl import packages
from trudi_rsl.command_line import Parser
from trudi_rsl.errors import CheckpointError


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(__doc__, "doctor")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, checkpoints in them, experiment folders")
    return parser.parse_all(argv)


def main(argv: Sequence[str]) -> int:
    """Print a report on each run.

    Returns:
        0; 1 if a rule is violated in one of them; 2 if one is not a run.
    """
    args = parse(argv)
    packages.require("Examining a run", packages.CORE)
    worst, separator = 0, ""
    for run, problem in named_runs(args.runs):
        if problem:
            print(f"Error: {problem}", file=sys.stderr)
            worst = 2
            continue
        from trudi_rsl.config.event_file import RunError
        from trudi_rsl.health.checkup import examine_run

        try:
            checkup = examine_run(run)
        except (RunError, OSError) as error:
            print(f"Error: {error}", file=sys.stderr)
            worst = 2
            continue
        print(f"{separator}{checkup}", flush=True)
        worst, separator = max(worst, int(bool(checkup.findings))), "\n"
    return worst


def named_runs(named: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Yield each run that the arguments name, or the argument and what is wrong with it."""
    from trudi_rsl.config.run_folder import EVENTS, find_runs

    for text in named:
        try:
            yield from ((run, "") for run in find_runs(text, EVENTS))
        except CheckpointError as error:
            yield Path(text), str(error)
