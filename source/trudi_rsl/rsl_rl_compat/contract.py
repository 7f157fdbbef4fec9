# SPDX-License-Identifier: BSD-3-Clause
"""Settings of RSL-RL's runner: observation sets and log writers, checked before RSL-RL uses them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

import rsl_rl.utils
from tensordict import TensorDict, TensorDictBase

from trudi_rsl.choices import LOGGERS
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.rsl_rl_compat.models import resolve_callable
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE


def check_logger(logger: object) -> None:
    """Refuse a log writer that the installed RSL-RL cannot make, before it makes a run folder.

    Known are :data:`~trudi_rsl.choices.LOGGERS` and, from RSL-RL 5.5 on, mappings with ``class_name`` and arguments.

    Raises:
        ConfigError: Listing the known ones.
    """
    if logger in LOGGERS:
        return
    if not isinstance(logger, Mapping) or "class_name" not in logger:
        hint = nearest(str(logger), LOGGERS) if isinstance(logger, str) else f"Known: {', '.join(LOGGERS)}."
        raise ConfigError(f"No log writer {logger!r}. {hint} Others are given as a section with class_name.")
    if importlib.util.find_spec("rsl_rl.utils.log_writer") is None:
        raise ConfigError(
            "A log writer given as a section needs a newer rsl-rl-lib, for example 5.5; with this one choose among "
            f"{', '.join(LOGGERS)}."
        )
    try:
        resolve_callable(logger["class_name"])
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"No log writer {logger['class_name']!r}: {error}") from error


def require_groups(obs: object) -> None:
    """Refuse observations that are not a TensorDict of groups, as environments for RSL-RL 2 have them.

    Raises:
        ConfigError: Naming the type and how to write it.
    """
    if not isinstance(obs, TensorDictBase):
        raise ConfigError(
            f"env.get_observations() returned a {type(obs).__name__}; RSL-RL since 3.0 takes groups in a TensorDict: "
            'return TensorDict({"policy": obs}, batch_size=[num_envs]), from step() as well.'
        )


def check_groups(obs: TensorDict, groups: Mapping[str, Sequence[str]]) -> None:
    """Refuse observation sets that are empty or name groups that the environment, with ``obs``, does not have.

    Raises:
        ConfigError: Naming the set and the environment's groups.
    """
    for name, members in groups.items():
        unknown = [group for group in members if group not in obs]
        if not members or unknown:
            problem = f"names {unknown[0]!r}" if unknown else "is empty"
            known = ", ".join(map(str, obs.keys()))
            raise ConfigError(f"obs_groups.{name} {problem}; the environment has the observation groups {known}.")


def resolve_groups(obs: TensorDict, cfg: dict[str, Any]) -> dict[str, list[str]]:
    """Return the runner configuration's ``obs_groups``, checked and, in place, completed by RSL-RL.

    Raises:
        ConfigError: If the environment lacks a group, or one holds anything but vectors.
    """
    require_groups(obs)
    configured = cfg.get("obs_groups") or {}
    check_groups(obs, configured)
    sets = {name: list(groups) for name, groups in configured.items()}
    used = ["actor", "critic", *(["rnd_state"] if cfg.get("algorithm", {}).get("rnd_cfg") else [])]
    try:
        if POLICY_STYLE:
            resolved = rsl_rl.utils.resolve_obs_groups(obs, policy_sets(sets), ["critic"])
            cfg["obs_groups"] = {"actor": resolved["policy"], **resolved}
        else:
            cfg["obs_groups"] = rsl_rl.utils.resolve_obs_groups(obs, sets, used)
    except ValueError as error:
        raise ConfigError(f"obs_groups: {error}") from error
    for name in {group for members in used if members in cfg["obs_groups"] for group in cfg["obs_groups"][members]}:
        if obs[name].ndim != 2:
            raise ConfigError(
                f"Observation group {name!r} has shape {tuple(obs[name].shape[1:])}; TruDi takes vectors. Choose other "
                "groups in obs_groups."
            )
    return cfg["obs_groups"]


def policy_sets(obs_groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return observation sets with the actor's also under ``policy``, the name that RSL-RL 3 reads."""
    sets = {name: list(groups) for name, groups in obs_groups.items()}
    return {"policy": sets["actor"], **sets} if "actor" in sets else sets
