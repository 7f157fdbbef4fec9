# SPDX-License-Identifier: BSD-3-Clause
"""What TruDi is made of, for an environment and a runner configuration."""

from __future__ import annotations

import math
from typing import Any

from rsl_rl.env import VecEnv
from tensordict import TensorDict

from trudi_rsl.acceleration import set_matmul_precision
from trudi_rsl.checkpoints.format import policy_spec
from trudi_rsl.checkpoints.rebuild import build_actor_critic
from trudi_rsl.environments.action_bounds import action_bounds
from trudi_rsl.environments.progress import request_final_obs
from trudi_rsl.rsl_rl_compat.contract import resolve_groups
from trudi_rsl.settings import algorithm_of_settings, settings_from_dict
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
    actor_critic = build_actor_critic(settings.actor, settings, obs, groups, low, high).to(device)
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
    spec = policy_spec(
        algorithm_of_settings(settings.to_dict()),
        settings.actor,
        # the algorithm implies these two
        {name: value for name, value in settings.to_dict().items() if name not in ("actor", "constraint")},
        obs,
        {name: groups[name] for name in ("actor", "critic")},
        env,
        (low, high),
    )
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
