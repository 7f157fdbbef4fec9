# SPDX-License-Identifier: BSD-3-Clause
"""Supported versions of RSL-RL and the differences between them. Imports nothing of RSL-RL."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version

SUPPORTED = (Version("3.0"), Version("6"))
"""Lowest version, and the first that is too new."""

INSTALLED = Version(version("rsl-rl-lib"))
"""Version of the installed rsl-rl-lib."""

POLICY_STYLE = Version("4") > INSTALLED
"""Whether the runner builds the policy and passes it to the algorithm, as RSL-RL 3 does; from 4 on the algorithm builds
its own."""

ALGORITHM_CLASS_NAME = "TruDi" if POLICY_STYLE else "trudi_rsl.algorithms:TruDi"
"""TruDi's ``algorithm.class_name`` in a configuration for the installed RSL-RL's runner."""

POLICY_CLASS_NAME = "DiffusionActorCritic.for_env(self.env)"
"""TruDi's ``policy.class_name``: RSL-RL 3 evaluates it in its runner, whose ``self.env`` has the action bounds."""

PPO_MODELS = Version("5") <= INSTALLED
"""Whether PPO has the ``actor`` and ``critic`` sections, with distributions, that its settings here are written for."""

NORMALIZES_IN_UPDATE = Version("5.5") <= INSTALLED
"""Whether PPO updates the observation normalisers once per rollout, in ``update``; earlier, in every step."""


def check_version() -> None:
    """Refuse versions of RSL-RL that this package does not know.

    Raises:
        ImportError: Naming the installed version and the supported range.
    """
    low, high = SUPPORTED
    if low <= INSTALLED < high:
        return
    hosts = "Isaac Lab 2.2 and older, which need an older rsl-rl-lib, are not supported; 2.3 is. "
    raise ImportError(
        f"trudi_rsl works with rsl-rl-lib >={low},<{high}; installed is {INSTALLED}. {hosts if low > INSTALLED else ''}"
        f'Run: pip install "rsl-rl-lib>={low},<{high}"'
    )
