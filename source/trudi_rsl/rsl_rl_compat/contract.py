# SPDX-License-Identifier: BSD-3-Clause
"""Settings of RSL-RL's runner: observation sets and log writers, checked before RSL-RL uses them."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import rsl_rl.utils
from tensordict import TensorDict, TensorDictBase

from trudi_rsl.choices import LOGGERS
from trudi_rsl.errors import ConfigError, nearest, setting
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


def resolve_groups(
    obs: TensorDict, cfg: dict[str, Any], sets_with_images: Collection[str] = ()
) -> dict[str, list[str]]:
    """Return the runner configuration's ``obs_groups``, checked and, in place, completed by RSL-RL.

    Args:
        obs: Observations of the environment.
        cfg: The runner configuration.
        sets_with_images: Those of ``actor`` and ``critic`` that may have groups of images ``[E, C, H, W]``, and must.

    Raises:
        ConfigError: If the environment lacks a group, or one is neither a vector nor, where allowed, an image.
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
    for name in used:
        _check_shapes(obs, name, cfg["obs_groups"].get(name, ()), name in sets_with_images)
    return cfg["obs_groups"]


def _check_shapes(obs: TensorDict, name: str, groups: Sequence[str], with_images: bool) -> None:
    images = [group for group in groups if obs[group].ndim == 4]
    for group in groups:
        if obs[group].ndim == 2 or (with_images and group in images):
            continue
        remedy = "Choose other groups in obs_groups."
        if group in images and name in ("actor", "critic"):
            encoder = setting(f"algorithm.{name}_encoder", "{'class_name': 'CNNModel', 'cnn_cfg': {...}}")
            remedy = f"Let RSL-RL's CNNModel encode it, {encoder}, or choose other groups in obs_groups."
        raise ConfigError(
            f"Observation group {group!r} of the set {name!r} has shape {tuple(obs[group].shape[1:])}; "
            f"{'vectors and images (C, H, W)' if with_images else 'vectors'} can be read. {remedy}"
        )
    if with_images and not images:
        raise ConfigError(
            f"algorithm.{name}_encoder is a CNNModel, and none of the groups {', '.join(groups)} of obs_groups.{name} "
            "is an image (C, H, W). Leave it out."
        )


def policy_sets(obs_groups: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return observation sets with the actor's also under ``policy``, the name that RSL-RL 3 reads."""
    sets = {name: list(groups) for name, groups in obs_groups.items()}
    return {"policy": sets["actor"], **sets} if "actor" in sets else sets
