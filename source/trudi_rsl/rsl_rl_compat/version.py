# SPDX-License-Identifier: BSD-3-Clause
"""Which versions of RSL-RL work. Imports nothing of RSL-RL, since other versions lack what this package imports."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version

SUPPORTED = (Version("5.0.1"), Version("6"))
"""Lowest version, and the first that is too new."""


def check_version() -> None:
    """Refuse versions of RSL-RL whose contract with algorithms is another.

    Raises:
        ImportError: Naming the installed version and the supported range.
    """
    installed = Version(version("rsl-rl-lib"))
    low, high = SUPPORTED
    if not low <= installed < high:
        raise ImportError(
            f"trudi_rsl works with rsl-rl-lib >={low},<{high}; installed is {installed}. "
            f'Run: pip install "rsl-rl-lib>={low},<{high}"'
        )
