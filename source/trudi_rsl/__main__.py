# SPDX-License-Identifier: BSD-3-Clause
"""``python -m trudi_rsl`` is the command ``trudi``."""

import sys

from trudi_rsl.commands.program import main

if __name__ == "__main__":
    sys.exit(main())
