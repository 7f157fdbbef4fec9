# SPDX-License-Identifier: BSD-3-Clause
"""Finding what this package knows of the host that an environment is of."""

from __future__ import annotations

import importlib
from typing import Any

HOSTS = ("isaaclab", "mjlab")
"""Packages whose environments have managers."""


def host_module(manager: Any, name: str) -> Any:
    """Return ``trudi_rsl.hosts.<host>.<name>`` for a manager of a host's environment, None for another's.

    Args:
        manager: The manager; projects derive managers of their own.
        name: Name of the module.
    """
    packages = [cls.__module__.partition(".")[0] for cls in type(manager).__mro__]
    host = next((package for package in packages if package in HOSTS), None)
    return None if host is None else importlib.import_module(f"trudi_rsl.hosts.{host}.{name}")
