# SPDX-License-Identifier: BSD-3-Clause
"""``trudi evaluate`` from a checkout, which need not be installed."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "source"))

from trudi_rsl.commands.program import main

if __name__ == "__main__":
    sys.exit(main(["evaluate", *sys.argv[1:]]))
