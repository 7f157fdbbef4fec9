# SPDX-License-Identifier: BSD-3-Clause
"""The only place that knows RSL-RL's versions; importing it refuses unsupported ones.

Rooms that import RSL-RL at run time import this first, in their ``__init__``: other versions lack what they import.
"""

import os
import shutil

from trudi_rsl.rsl_rl_compat.version import check_version

check_version()

# RSL-RL's logger imports GitPython, which by default refuses to be imported without a git executable
if shutil.which("git") is None:
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
