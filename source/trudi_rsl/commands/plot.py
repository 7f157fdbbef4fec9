# SPDX-License-Identifier: BSD-3-Clause
"""Draw the learning curves of training runs from their TensorBoard events, labelled by algorithm and seed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from trudi_rsl import packages
from trudi_rsl.command_line import Parser, require_new


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(__doc__, "plot")
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="run folders, checkpoints in them, experiment folders; several runs are overlaid",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="picture to write, png, pdf or svg, which must not exist (default: learning_curve.png in the first folder "
        "named, replaced if it exists)",
    )
    return parser.parse_all(argv)


def main(argv: Sequence[str]) -> None:
    """Draw, and print the picture's path."""
    args = parse(argv)
    if args.output is not None:
        require_new(args.output)
    packages.require("Drawing a picture", packages.CORE, packages.PICTURES)
    from trudi_rsl.config.run_folder import EVENTS, find_runs

    folders = list(dict.fromkeys(run for named in args.runs for run in find_runs(named, EVENTS)))
    from trudi_rsl.config.event_file import read_run
    from trudi_rsl.evaluation.learning_curves import TAGS, draw_learning_curves

    first = Path(args.runs[0])
    output = args.output or (first if first.is_dir() else folders[0]) / "learning_curve.png"
    print(f"Learning curve: {draw_learning_curves([read_run(folder, TAGS) for folder in folders], output)}")
