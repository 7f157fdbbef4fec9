# SPDX-License-Identifier: BSD-3-Clause
"""Classes that a file may name: RSL-RL's and this package's, and no others'."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping
from typing import Any

import rsl_rl

from trudi_rsl.errors import CheckpointError
from trudi_rsl.plain_values import distinct_values

OWN_PACKAGES = ("rsl_rl", "trudi_rsl")
OWN_CLASS = re.compile(r"(?:((?:rsl_rl|trudi_rsl)(?:\.[a-z_0-9]+)*)[.:])?([A-Z]\w*)", re.ASCII)
"""Names that classes of RSL-RL and of this package have, the former also without their module."""


def require_own_classes(section: Any) -> None:
    """Check that a section of a configuration names classes of RSL-RL and of this package alone, at any depth.

    Args:
        section: From a file: mappings, lists and other plain values.

    Raises:
        CheckpointError: If it names another: importing what a file names would run that code.
    """
    for value in distinct_values(section):
        if isinstance(value, Mapping):
            for name in value:
                # RSL-RL imports functions by their names too
                if name == "class_name" or str(name).endswith("_func"):
                    own_class(value[name])


def own_class(name: Any) -> type:
    """Return the class of RSL-RL or of this package that a file names; nothing of others is imported.

    Raises:
        CheckpointError: If it is the name of anything else.
    """
    found = OWN_CLASS.fullmatch(name) if isinstance(name, str) else None
    resolved: Any = None
    if found is not None:
        try:
            resolved = getattr(_module(*found.groups()), found[2])
        except (ImportError, AttributeError) as error:
            raise CheckpointError(f"There is no class {name} here, of which the checkpoint tells.") from error
    # a module's attributes are also what it imported from others
    if not isinstance(resolved, type) or resolved.__module__.partition(".")[0] not in OWN_PACKAGES:
        raise CheckpointError(
            f"The checkpoint's settings name {name!r:.80} as a class, which is neither RSL-RL's nor trudi_rsl's, and "
            "was not imported. If you trust it, load the checkpoint into a runner made from settings of your own "
            "(runner.load), which also exports it (runner.export_policy_to_onnx)."
        )
    return resolved


def _module(module: str | None, name: str) -> Any:
    """Return the module itself that is to hold a class, for a name without one the package of RSL-RL that does."""
    if module is not None:
        return importlib.import_module(module)
    packages = (importlib.import_module(m.name) for m in pkgutil.iter_modules(rsl_rl.__path__, "rsl_rl."))
    return next((package for package in packages if hasattr(package, name)), rsl_rl)
