# SPDX-License-Identifier: BSD-3-Clause
"""What TruDi is made of, for an environment and a runner configuration."""

from __future__ import annotations

import math
from typing import Any

from rsl_rl.env import VecEnv
from tensordict import TensorDict

from trudi_rsl.acceleration import set_matmul_precision
from trudi_rsl.checkpoints.rebuild import FORMAT, build_actor_critic
from trudi_rsl.rsl_rl_compat import action_bounds, describe_environment, request_final_obs, resolve_groups, task_name
from trudi_rsl.settings import settings_from_dict
from trudi_rsl.storage import RolloutBuffer


def components(obs: TensorDict, env: VecEnv, cfg: dict[str, Any], device: str) -> dict[str, Any]:
    """Return the arguments of :class:`~trudi_rsl.algorithms.TruDi`.

    Args:
        obs: Observations of the environment.
        env: The environment; asked to give final observations if the settings want them.
        cfg: The runner configuration, see :meth:`TruDi.construct_algorithm`.
        device: Training device.

    Raises:
        ConfigError: If a setting is unknown or impossible, or the environment tells no action bounds.
    """
    settings = settings_from_dict(cfg["algorithm"])
    # runners up to 5.4 index this key
    cfg["algorithm"].setdefault("rnd_cfg", None)
    groups = resolve_groups(obs, cfg)
    set_matmul_precision(settings.precision, device)
    low, high = action_bounds(env, settings.action_bounds)
    if settings.final_observations:
        request_final_obs(env)
    actor_critic = build_actor_critic(settings, obs, groups, low, high).to(device)
    storage = RolloutBuffer(
        cfg["num_steps_per_env"],
        env.num_envs,
        actor_critic.actor_obs.num_obs,
        actor_critic.critic_obs.num_obs if actor_critic.asymmetric else None,
        actor_critic.num_actions,
        settings.critic_hidden_dim,
        actor_critic.actor.trace_length if settings.stores_chains else 0,
        device,
    )
    spec = {
        "format": FORMAT,
        "task": task_name(env),
        "environment": describe_environment(env, groups["actor"]),
        "cfg": settings.to_dict(),
        "obs_groups": {name: list(groups[name]) for name in ("actor", "critic")},
        "obs_dims": {g: obs[g].shape[-1] for g in {*groups["actor"], *groups["critic"]}},
        "action_low": low.cpu(),
        "action_high": high.cpu(),
    }
    return {
        "actor_critic": actor_critic,
        "storage": storage,
        "cfg": settings,
        "spec": spec,
        "env": env,
        "device": device,
        "multi_gpu_cfg": cfg.get("multi_gpu"),
        "num_updates": settings.num_learning_epochs * settings.num_mini_batches * cfg.get("max_iterations", math.inf),
    }
