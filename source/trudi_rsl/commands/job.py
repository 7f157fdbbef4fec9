# SPDX-License-Identifier: BSD-3-Clause
"""The process of one run of a sweep: ``python -m trudi_rsl.commands.job FOLDER`` trains and evaluates it.

``trudi sweep`` starts it; ``FOLDER/job.json`` describes the run.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from trudi_rsl.commands import program
from trudi_rsl.errors import CheckpointError, ConfigError, NonFiniteError
from trudi_rsl.experiments.job import Job, carry_out


def main(argv: Sequence[str]) -> int:
    """Carry out the run in a folder and return its exit status, as :func:`~trudi_rsl.experiments.job.carry_out`."""
    (folder,) = argv
    # shells start background jobs with SIGINT ignored, which child processes inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return carry_out(Job.read(Path(folder)), train)
    except (CheckpointError, ConfigError, NonFiniteError) as error:
        print(f"Error: {error}")
        return 1
    except KeyboardInterrupt:
        return program.INTERRUPTED


def train(arguments: Sequence[str]) -> int:
    """Run ``trudi train`` in this process and return its exit code."""
    return program.run("train", arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
