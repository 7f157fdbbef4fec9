# SPDX-License-Identifier: BSD-3-Clause
"""Supported versions of RSL-RL and the differences between them. Imports nothing of RSL-RL."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distributions, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

SUPPORTED = (Version("3.0"), Version("6"))
"""Lowest version, and the first that is too new."""

FLOORS = {"torch": Version("2.6"), "tensordict": Version("0.7")}
"""Lowest versions of what RSL-RL builds on, in setup.py as well; a host may have installed lower ones since."""

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
    """Refuse versions of RSL-RL that this package does not know, and too old ones of torch and tensordict.

    Raises:
        ImportError: Naming the installed version, the supported range, and for torch and tensordict what pins them.
    """
    for package, floor in FLOORS.items():
        _check_floor(package, floor)
    low, high = SUPPORTED
    if low <= INSTALLED < high:
        return
    hosts = "Isaac Lab 2.2 and older, which need an older rsl-rl-lib, are not supported; 2.3 is. "
    raise ImportError(
        f"trudi_rsl works with rsl-rl-lib >={low},<{high}; installed is {INSTALLED}. {hosts if low > INSTALLED else ''}"
        f'Run: pip install "rsl-rl-lib>={low},<{high}"'
    )


def _check_floor(package: str, floor: Version) -> None:
    try:
        installed = version(package)
    except PackageNotFoundError:  # a build without metadata
        return
    # as a pre-release, a vendor's build 2.6.0a0 would be below 2.6
    if Version(Version(installed).base_version) >= floor:
        return
    pins = [f"{name} pins it ({requirement})" for name, requirement in _pins(package, installed, floor)]
    why = f" {' and '.join(pins)}: use a newer release of that, or another environment." if pins else ""
    raise ImportError(
        f"trudi_rsl works with {package} >={floor}; installed is {installed}.{why} "
        f'Run: pip install "{package}>={floor}"'
    )


def _pins(package: str, installed: str, floor: Version) -> list[tuple[str, Requirement]]:
    """Return the installed packages that allow this version of another, and exclude its floor."""
    found = {}
    for distribution in distributions():
        for text in distribution.requires or ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue
            allows = requirement.specifier.contains
            if canonicalize_name(requirement.name) == package and allows(installed, True) and not allows(floor, True):
                found[f"{distribution.metadata['Name']} {distribution.version}"] = requirement
    return sorted(found.items())
