# SPDX-License-Identifier: BSD-3-Clause
"""Which versions of RSL-RL work. Imports nothing of RSL-RL, since other versions lack what this package imports."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version

SUPPORTED = (Version("3.0"), Version("6"))
"""Lowest version, and the first that is too new."""

INSTALLED = Version(version("rsl-rl-lib"))
"""Version of the installed rsl-rl-lib."""

POLICY_STYLE = Version("4") > INSTALLED
"""Whether the runner builds a policy from a section of its own and hands it to the algorithm, as RSL-RL 3 does; from 4
on the algorithm builds itself."""

PPO_MODELS = Version("5") <= INSTALLED
"""Whether PPO has the ``actor`` and ``critic`` sections, with distributions, that its settings here are written for."""

NORMALIZES_IN_UPDATE = Version("5.5") <= INSTALLED
"""Whether PPO's ``update`` feeds the observation normalisers, once per rollout; before, every environment step did."""

SHARES_NORMALIZATION = Version("5.5") <= INSTALLED
"""Whether an observation normaliser, of several processes, folds in what all of them have seen."""


def check_version() -> None:
    """Refuse versions of RSL-RL that this package does not know.

    Raises:
        ImportError: Naming the installed version and the supported range.
    """
    low, high = SUPPORTED
    if low <= INSTALLED < high:
        return
    hosts = " Isaac Lab 2.2 and older, which need an older rsl-rl-lib, are not supported; 2.3 is."
    raise ImportError(
        f"trudi_rsl works with rsl-rl-lib >={low},<{high}; installed is {INSTALLED}."
        f"{hosts if low > INSTALLED else ''} "
        f'Run: pip install "rsl-rl-lib>={low},<{high}"'
    )
