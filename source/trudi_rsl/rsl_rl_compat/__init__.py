# SPDX-License-Identifier: BSD-3-Clause
"""The only place that knows RSL-RL's versions; importing it refuses unsupported ones.

Rooms that import RSL-RL at run time import this first, in their ``__init__``: other versions lack what they import.
"""

from trudi_rsl.rsl_rl_compat.version import check_version

check_version()
