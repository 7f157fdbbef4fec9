# SPDX-License-Identifier: BSD-3-Clause
"""Which settings of a PPO configuration have no effect on the algorithms that take PPO's place.

One rule holds for every way of swapping: a setting of RSL-RL's PPO that has no meaning is listed, one that a project's
own subclass of a PPO configuration (or of PPO) defines is listed as the project's, and any other name is a mistake.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Any

from trudi_rsl.errors import ConfigError, nearest

PPO_ONLY_FIELDS = frozenset({
    "clip_param", "desired_kl", "entropy_coef", "grad_reduce_bucket_mb", "normalize_advantage_per_mini_batch",
    "optimizer", "schedule", "share_cnn_encoders", "use_clipped_value_loss", "use_mixed_precision", "value_loss_coef",
})  # fmt: skip
"""Settings of RSL-RL's PPO that have no meaning for TruDi, REPPO and DIME."""

PPO_CLASSES = (
    ("rsl_rl.algorithms", "PPO"),
    ("isaaclab_rl.rsl_rl", "RslRlPpoAlgorithmCfg"),
    ("mjlab.rl", "RslRlPpoAlgorithmCfg"),
)
"""RSL-RL's PPO and the classes in which hosts describe it: module and name. Projects subclass them."""

OWN_PACKAGE = __name__.partition(".")[0]


def project_fields() -> dict[str, str]:
    """Return the settings that projects have added to PPO's, by name, and the class that defines each.

    They are the fields of all loaded subclasses of a host's configuration of PPO, and the constructor's arguments of
    those of PPO itself, as far as their bases do not have them.
    """
    found: dict[str, str] = {}
    for module, name in PPO_CLASSES:
        if (base := getattr(sys.modules.get(module), name, None)) is None:
            continue
        known = _fields(base)
        for cls in _subclasses(base):
            if cls.__module__.partition(".")[0] not in (OWN_PACKAGE, "rsl_rl"):
                found |= dict.fromkeys(_fields(cls) - known - found.keys(), cls.__name__)
    return found


def without_effect(name: str) -> bool:
    """Return whether a setting is PPO's or a project's own, and has no meaning for TruDi, REPPO and DIME."""
    return name in PPO_ONLY_FIELDS or name in project_fields()


def refuse_unknown(names: Iterable[str], known: Collection[str]) -> None:
    """Refuse names that are neither known nor without effect.

    Raises:
        ConfigError: With the nearest known names.
    """
    for name in names:
        if name not in known and not without_effect(name):
            raise ConfigError(f"There is no setting 'algorithm.{name}'. {nearest(name, {*known, *PPO_ONLY_FIELDS})}")


def describe_ignored(names: Iterable[str]) -> str:
    """Return a list of settings without effect, sorted, each of a project's own with the class that defines it."""
    own = project_fields()
    return ", ".join(f"{name} ({own[name]})" if name in own else name for name in sorted(names))


def _subclasses(cls: type) -> Iterator[type]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


def _fields(cls: Any) -> set[str]:
    if dataclasses.is_dataclass(cls):
        return {field.name for field in dataclasses.fields(cls)}
    return {name for name in inspect.signature(cls.__init__).parameters if name not in ("self", "args", "kwargs")}
