# SPDX-License-Identifier: BSD-3-Clause
"""What differs between RSL-RL versions and between the environments written for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from rsl_rl.env import VecEnv
from tensordict import TensorDict

from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.rsl_rl_compat.moved import resolve_callable, resolve_obs_groups

LOGGERS = ("tensorboard", "wandb", "neptune")
"""Names of RSL-RL's log writers."""


def check_logger(logger: object) -> None:
    """Refuse a log writer that the installed RSL-RL cannot make, before it makes a run folder.

    Args:
        logger: One of :data:`LOGGERS`, or, where RSL-RL takes it as 5.5 does, a mapping with ``class_name`` and
            constructor arguments.

    Raises:
        ConfigError: Saying which there are.
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


def check_groups(obs: TensorDict, groups: Mapping[str, Sequence[str]]) -> None:
    """Refuse observation sets that are empty or name groups that the environment does not give.

    Args:
        obs: Observations of the environment, groups ``[E, n]``.
        groups: Names of observation sets to names of groups.

    Raises:
        ConfigError: Naming the set and the groups there are.
    """
    for name, members in groups.items():
        unknown = [group for group in members if group not in obs]
        if not members or unknown:
            what = f"names {unknown[0]!r}" if unknown else "is empty"
            known = ", ".join(map(str, obs.keys()))
            raise ConfigError(f"obs_groups.{name} {what}; the environment gives the observation groups {known}.")


def resolve_groups(obs: TensorDict, cfg: dict[str, Any]) -> dict[str, list[str]]:
    """Return the groups of the ``actor`` and ``critic`` observation sets, checked and completed by RSL-RL.

    Raises:
        ConfigError: If the environment does not give a group, or one holds anything but vectors.
    """
    configured = cfg.get("obs_groups") or {}
    check_groups(obs, configured)
    try:
        cfg["obs_groups"] = resolve_obs_groups(obs, configured, ["actor", "critic"])
    except ValueError as error:
        raise ConfigError(f"obs_groups: {error}") from error
    for name in {*cfg["obs_groups"]["actor"], *cfg["obs_groups"]["critic"]}:
        if obs[name].ndim != 2:
            raise ConfigError(
                f"Observation group {name!r} has shape {tuple(obs[name].shape[1:])}; TruDi takes vectors. Choose other "
                "groups in obs_groups."
            )
    return cfg["obs_groups"]


def request_final_obs(env: VecEnv) -> None:
    """Have the environment tell the true last observations of episodes, if it can but does not by default.

    Isaac Lab 3.0 does so where ``cfg.compute_final_obs`` is set, which it looks at in every step. It computes them
    without moving histories on, so that for observations with a history they would be those of the step before;
    there, nothing is asked for.
    """
    base = getattr(env, "unwrapped", env)
    cfg = getattr(base, "cfg", None)
    terms = getattr(getattr(base, "observation_manager", None), "_group_obs_term_cfgs", {})
    if any(getattr(term, "history_length", 0) for group in terms.values() for term in group):
        return
    if getattr(cfg, "compute_final_obs", None) is False:
        cfg.compute_final_obs = True  # pyright: ignore[reportOptionalMemberAccess]


def task_name(env: VecEnv) -> str | None:
    """Return the name of the environment's task, None if it tells none."""
    for holder in (env, getattr(env, "unwrapped", env)):
        name = getattr(holder, "task", None) or getattr(getattr(holder, "spec", None), "id", None)
        if isinstance(name, str):
            return name
    return None
