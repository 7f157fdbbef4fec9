# SPDX-License-Identifier: BSD-3-Clause
"""Draw the learning curve of one or more training runs from their TensorBoard events."""

from __future__ import annotations

import argparse
from pathlib import Path


def parse() -> argparse.Namespace:
    """Return the flags."""
    from trudi_rsl.command_line import Parser

    parser = Parser(__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN_DIR", help="run folders; several are overlaid")
    parser.add_argument(
        "--output",
        type=Path,
        help="picture to write, png, pdf or svg, which must not exist (default: learning_curve.png in the first run, "
        "replaced if it exists)",
    )
    return parser.parse_all()


def main() -> None:
    """Draw, and print the picture's path."""
    try:
        args = parse()
        from trudi_rsl.command_line import require_new
        from trudi_rsl.config.event_file import RunError, read_run
        from trudi_rsl.errors import ConfigError
        from trudi_rsl.evaluation.learning_curves import TAGS, draw_learning_curves
    except ImportError as error:
        raise SystemExit(f"Error: {error}") from None
    try:
        if args.output is not None:
            require_new(args.output)
        runs = [read_run(folder, TAGS) for folder in args.runs]
        output = draw_learning_curves(runs, args.output or args.runs[0] / "learning_curve.png")
    except (ConfigError, RunError, OSError) as error:
        raise SystemExit(f"Error: {error}") from None
    print(f"Learning curve: {output}")


if __name__ == "__main__":
    main()
