# SPDX-License-Identifier: BSD-3-Clause
"""TruDi in the place of PPO in a configuration of plain RSL-RL, for an environment of any host or of none."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

from trudi_rsl.config.ppo_conversion import trudi_settings
from trudi_rsl.config.presets import task_preset
from trudi_rsl.config.unsupported import (
    MODEL_SECTIONS,
    encoder_settings,
    refuse_foreign_algorithm,
    refuse_unsupported,
)
from trudi_rsl.environments.description import task_name
from trudi_rsl.errors import ConfigError, naming_settings, nearest
from trudi_rsl.model_sections import is_recurrent
from trudi_rsl.plain_values import copied, is_count
from trudi_rsl.ppo_fields import PPO_ONLY_FIELDS, describe_ignored, refuse_unknown, without_effect
from trudi_rsl.rsl_rl_compat.version import ALGORITHM_CLASS_NAME
from trudi_rsl.settings import SELECTORS, SETTINGS, UNUSED, LearnerAlgorithm, TruDiCfg, fields_from_trudi

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

logger = logging.getLogger(__name__)

MANY_ENVS = 512
"""Environments from which on a VecEnv of no known host gets the preset of simulators on a GPU, not that of CPUs."""
SMALLEST_BATCH, LARGEST_BATCH = 64, 8192
"""Rows of a minibatch: twice the number of environments, within these bounds, as in the presets of both hosts."""
_SHARED = ("num_learning_epochs", "num_mini_batches", "learning_rate", "max_grad_norm", "lam")
"""Settings that both algorithms have, at values that suit one of them."""


def trudi_cfg(ppo_cfg: Mapping[str, Any], env: VecEnv, **algorithm: Any) -> dict[str, Any]:
    """Return the configuration for RSL-RL's runner that trains TruDi where ``ppo_cfg`` trains PPO.

    The same happens, in the runner's own configuration, where only the class name of a PPO configuration is replaced by
    ``trudi_rsl.algorithms:TruDi``. Kept are gamma, the observation groups, everything outside of the ``algorithm``
    section, and, as ``max_iterations``, the number of environment steps. The widths of the networks are those of the
    ``actor`` and ``critic`` sections, and so are models that encode images or remember. The rest is the preset of the
    environment's host or, for one that no host has made, of its size: rollout length, rows of a minibatch, epochs,
    learning rate.

    Args:
        ppo_cfg: RSL-RL's runner configuration; not changed.
        env: The environment to train in.
        **algorithm: Settings of TruDi (:class:`~trudi_rsl.settings.TruDiCfg`) that take precedence.

    Raises:
        ConfigError: A setting does not exist or is impossible, or TruDi cannot serve a part of ``ppo_cfg``, such as
            several critics, see :func:`~trudi_rsl.config.unsupported.refuse_unsupported`.
    """
    cfg: dict[str, Any] = copied(ppo_cfg)
    refuse_foreign_algorithm(cfg.get("algorithm") or {}, "TruDi")
    if unknown := sorted(algorithm.keys() - TruDiCfg().to_dict().keys()):
        raise ConfigError(f"trudi_cfg() has no argument {unknown[0]!r}. {nearest(unknown[0], TruDiCfg().to_dict())}")
    section = {name: value for name, value in cfg.get("algorithm", {}).items() if name not in _SHARED} | algorithm
    _swap(cfg, cfg | {"algorithm": section}, env, "trudi")
    cfg["algorithm"]["class_name"] = ALGORITHM_CLASS_NAME
    for name in (*MODEL_SECTIONS, "torch_compile_mode"):
        cfg.pop(name, None)
    own = TruDiCfg().to_dict()
    section = cfg["algorithm"]
    with naming_settings():
        refuse_unknown(section, {"class_name", *SELECTORS, *UNUSED, *own})
    ignored = {name for name in section if name not in own and without_effect(name)}
    if listed := describe_ignored(name for name in ignored if section[name] is not None):
        logger.info("TruDi has no use for these PPO settings and ignores them: %s.", listed)
    cfg["algorithm"] = {name: value for name, value in section.items() if name not in ignored}
    with naming_settings():
        TruDiCfg.from_dict(cfg["algorithm"])
    return cfg


def replace_ppo_settings(cfg: dict[str, Any], env: VecEnv, algo: LearnerAlgorithm) -> None:
    """Change a runner's configuration in place as :func:`trudi_cfg` does, if it was written for PPO.

    It was if it has networks' sections or settings that only PPO has, unless its ``algorithm`` section has all settings
    of the algorithm. Settings of the algorithm that the section has, and PPO has not, are kept.

    Raises:
        ConfigError: See :func:`~trudi_rsl.config.unsupported.refuse_unsupported`.
    """
    section = cfg["algorithm"]
    complete = SETTINGS[algo]().to_dict().keys() <= section.keys()
    has_models = any(isinstance(cfg.get(name), Mapping) and cfg[name] for name in MODEL_SECTIONS)
    if complete or not (has_models or any(section.get(name) is not None for name in PPO_ONLY_FIELDS)):
        return
    own = {name: value for name, value in section.items() if name not in _SHARED}
    _swap(cfg, cfg | {"algorithm": own}, env, algo)


def _swap(cfg: dict[str, Any], source: Mapping[str, Any], env: VecEnv, algo: LearnerAlgorithm) -> None:
    """Replace rollout length, iterations and the ``algorithm`` section of ``cfg``, which was written for PPO.

    ``source`` is ``cfg`` with those settings in ``algorithm`` alone that take precedence over the preset.
    """
    refuse_unsupported(cfg)
    host = _host_of(env)
    if host is None:
        steps, preset = _size_preset(env, cfg)
        preset |= _widths(cfg) | encoder_settings(cfg)
        name = f"{env.num_envs} environments"
    else:
        converted = trudi_settings(task_name(env) or "", cfg, host)
        steps, preset = converted["num_steps_per_env"], converted["algorithm"]
        name = host
    if any(is_recurrent(preset.get(f"{model}_encoder")) for model in ("actor", "critic")):
        # minibatches of whole sequences, of which each environment has one
        preset["num_mini_batches"] = min(preset["num_mini_batches"], env.num_envs)
    before = {name: cfg["algorithm"][name] for name in _SHARED if name in cfg["algorithm"]}
    before["num_steps_per_env"] = cfg["num_steps_per_env"]
    if cfg.get("max_iterations") is not None:
        before["max_iterations"] = cfg["max_iterations"]
        cfg["max_iterations"] = math.ceil(cfg["max_iterations"] * cfg["num_steps_per_env"] / steps)
    preset = {key: preset[key] for key in fields_from_trudi(algo) if key in preset}
    defaults, given = SETTINGS[algo]().to_dict(), dict(source["algorithm"])
    if host is not None:
        # the conversion has listed what has no effect
        given = {name: value for name, value in given.items() if name in defaults or not without_effect(name)}
    section = defaults | preset | given
    cfg["num_steps_per_env"], cfg["algorithm"] = steps, section
    now = {"num_steps_per_env": steps, "max_iterations": cfg.get("max_iterations"), **section}
    changes = ", ".join(f"{key} {now[key]} (PPO: {value})" for key, value in before.items() if now[key] != value)
    advice = ""
    if before["num_steps_per_env"] != steps and "max_iterations" not in before:
        share = before["num_steps_per_env"] / steps
        advice = f" learn() collects as many environment steps as before in {share:.3g} times the iterations."
    logger.info(
        "The settings for PPO are replaced by the preset for %s: %s.%s To choose others, edit the result of "
        "trudi_rsl.trudi_cfg(train_cfg, env).", name, changes or "no changes", advice,
    )  # fmt: skip


def _size_preset(env: VecEnv, cfg: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return rollout length and ``algorithm`` settings for an environment that no host has made."""
    host = "isaaclab" if env.num_envs >= MANY_ENVS else "gymnasium"
    agent = task_preset("", host)["agent"]
    steps = max(cfg["num_steps_per_env"], agent["num_steps_per_env"])
    rows = env.num_envs * steps
    batch = min(max(2 * env.num_envs, SMALLEST_BATCH), LARGEST_BATCH)
    return steps, agent["algorithm"] | {"num_mini_batches": max(1, round(rows / batch))}


def _widths(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the widths of actor and critic that a configuration has for PPO's networks."""
    policy = cfg.get("policy") or {}
    actor = (cfg.get("actor") or {}).get("hidden_dims") or policy.get("actor_hidden_dims")
    critic = (cfg.get("critic") or {}).get("hidden_dims") or policy.get("critic_hidden_dims")
    widths: dict[str, Any] = {}
    if _are_widths(actor):
        widths["actor_hidden_dims"] = list(actor)
    if _are_widths(critic):
        widths["critic_hidden_dim"] = max(critic)
    return widths


def _are_widths(value: Any) -> TypeGuard[Sequence[int]]:
    return isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0 and all(map(is_count, value))


def _host_of(env: VecEnv) -> str | None:
    """Return the host with task configurations of its own that an environment is from, None for all others."""
    packages = {
        cls.__module__.partition(".")[0]
        for holder in (env, getattr(env, "unwrapped", env))
        for cls in type(holder).__mro__
    }
    return next((host for host in ("isaaclab", "mjlab") if host in packages), None)
