# SPDX-License-Identifier: BSD-3-Clause
"""The sections of RSL-RL's extensions in an ``algorithm`` section, checked before a simulator starts.

RSL-RL checks neither: a wrong name in them is a TypeError of a constructor, after the simulator has started.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.plain_values import is_finite, with_lists

RND_REQUIRED = ("num_outputs", "predictor_hidden_dims", "target_hidden_dims")
"""Keys of ``rnd_cfg`` that RSL-RL's ``RandomNetworkDistillation`` has no default for."""

RND_OPTIONAL = (
    *("weight", "weight_schedule", "learning_rate", "activation", "state_normalization", "reward_normalization"),
)
"""Its other keys."""

RND_RESOLVED = ("num_states", "obs_groups")
"""Keys that older versions of RSL-RL add to a section when they build PPO from it."""

WEIGHT_SCHEDULES = {
    "constant": (),
    "step": ("final_step", "final_value"),
    "linear": ("initial_step", "final_step", "final_value"),
}
"""Modes of ``rnd_cfg.weight_schedule`` and the keys that each needs; steps count from the start of training."""

SYMMETRY_USES = ("use_data_augmentation", "use_mirror_loss")
"""Keys of ``symmetry_cfg`` that change what is learned; with neither, the mirror error is only logged."""

SYMMETRY_DEFAULTS: dict[str, Any] = {**dict.fromkeys(SYMMETRY_USES, False), "mirror_loss_coeff": 0.0}
"""Keys of ``symmetry_cfg`` with a default, which is RSL-RL's; ``data_augmentation_func`` has none."""

SYMMETRY_RESOLVED = ("env", "_env")
"""Keys that RSL-RL adds to a section when it builds PPO from it."""


def checked_rnd(section: object) -> dict[str, Any] | None:
    """Return a copy of an ``rnd_cfg`` section as plain values, None for one that is empty.

    Raises:
        ConfigError: If a key is missing or unknown, a value impossible, or RSL-RL has built a PPO from the section.
    """
    if section in (None, {}):
        return None
    if not isinstance(section, Mapping):
        raise ConfigError(f"algorithm.rnd_cfg must be a section of settings, or none; got {section!r}.")
    if resolved := [name for name in RND_RESOLVED if name in section]:
        raise ConfigError(
            f"algorithm.rnd_cfg.{resolved[0]} is there because RSL-RL has built a PPO from this very section, and has "
            "multiplied its weight by the control period; pass a copy from before."
        )
    values: dict[str, Any] = with_lists(section)
    _check_names("rnd_cfg", values, RND_REQUIRED, RND_OPTIONAL)
    for name in RND_REQUIRED[1:]:
        _require(f"rnd_cfg.{name}", values[name], _are_widths, "a list of widths, -1 for that of the input")
    _require("rnd_cfg.num_outputs", values["num_outputs"], lambda n: type(n) is int and n > 0, "an integer above 0")
    _require("rnd_cfg.weight", values.get("weight", 0.0), is_finite, "a finite number")
    rate = values.get("learning_rate", 1e-3)
    _require("rnd_cfg.learning_rate", rate, lambda value: is_finite(value) and value > 0, "above 0")
    if (schedule := values.get("weight_schedule")) is not None:
        _check_schedule(schedule)
    return values


def _check_schedule(schedule: object) -> None:
    mode = schedule.get("mode") if isinstance(schedule, Mapping) else schedule
    if not isinstance(schedule, Mapping) or mode not in WEIGHT_SCHEDULES:
        known = ", ".join(WEIGHT_SCHEDULES)
        raise ConfigError(f"algorithm.rnd_cfg.weight_schedule.mode must be one of {known}; got {mode!r}.")
    needed = WEIGHT_SCHEDULES[str(mode)]
    _check_names("rnd_cfg.weight_schedule", schedule, ("mode", *needed), ())
    for name in needed:
        _require(f"rnd_cfg.weight_schedule.{name}", schedule[name], is_finite, "a finite number")
    if mode == "linear" and schedule["initial_step"] >= schedule["final_step"]:
        steps = f"initial_step {schedule['initial_step']} and final_step {schedule['final_step']}"
        raise ConfigError(f"algorithm.rnd_cfg.weight_schedule must have initial_step < final_step; got {steps}.")


def checked_symmetry(section: object) -> dict[str, Any] | None:
    """Return a copy of a ``symmetry_cfg`` section with all its keys, None for one that is empty.

    A function that can be imported is written as ``module:name``, so that the section can be saved; another one stays
    as it is. The environment, which older versions of RSL-RL add to a section, is left out.

    Raises:
        ConfigError: If a key is missing or unknown, or a value impossible.
    """
    if section in (None, {}):
        return None
    if not isinstance(section, Mapping):
        section = getattr(section, "__dict__", section)
    if not isinstance(section, Mapping):
        raise ConfigError(f"algorithm.symmetry_cfg must be a section of settings, or none; got {section!r}.")
    given = {name: value for name, value in section.items() if name not in SYMMETRY_RESOLVED}
    _check_names("symmetry_cfg", given, ("data_augmentation_func",), tuple(SYMMETRY_DEFAULTS))
    values = SYMMETRY_DEFAULTS | {name: value for name, value in given.items() if value is not None}
    for name in SYMMETRY_USES:
        _require(f"symmetry_cfg.{name}", values[name], lambda value: isinstance(value, bool), "true or false")
    _require("symmetry_cfg.mirror_loss_coeff", values["mirror_loss_coeff"], _is_weight, "a finite number of at least 0")
    values["data_augmentation_func"] = function = _importable(values.get("data_augmentation_func"))
    is_named = isinstance(function, str) and (":" in function or "." in function)
    if not (callable(function) or is_named):
        raise ConfigError(
            "algorithm.symmetry_cfg.data_augmentation_func must be a function, or its name as 'package.module:name'; "
            f"got {function!r}."
        )
    return values


def _importable(function: Any) -> Any:
    """Return ``module:name`` of a function that can be imported by that name, anything else unchanged."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", "<unnamed>")
    if not callable(function) or module in (None, "__main__") or "<" in name:
        return function
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return f"{module}:{name}" if found is function else function


def _check_names(section: str, given: Mapping[str, Any], required: Sequence[str], optional: Sequence[str]) -> None:
    known = (*required, *optional)
    for name in given:
        if name not in known:
            raise ConfigError(f"algorithm.{section} has no setting {name!r}. {nearest(str(name), known)}")
    if missing := [name for name in required if name not in given]:
        raise ConfigError(f"algorithm.{section} has no {missing[0]!r}, which RSL-RL needs and has no default for.")


def _require(name: str, value: Any, is_allowed: Callable[[Any], bool], allowed: str) -> None:
    if not is_allowed(value):
        raise ConfigError(f"algorithm.{name} must be {allowed}; got {value!r}.")


def _are_widths(value: object) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(type(v) is int and (v > 0 or v == -1) for v in value)


def _is_weight(value: object) -> bool:
    return is_finite(value) and value >= 0
