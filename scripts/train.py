# SPDX-License-Identifier: BSD-3-Clause
"""``trudi train`` from a checkout, which need not be installed."""

import sys
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "source"))

from trudi_rsl.commands.program import run

main = partial(run, "train")

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
