# SPDX-License-Identifier: BSD-3-Clause
"""What TruDi, REPPO and DIME are built from: networks, storage and extensions for settings and an environment."""

from __future__ import annotations

import math
from typing import Any

from rsl_rl.env import VecEnv
from tensordict import TensorDict

from trudi_rsl.acceleration import set_matmul_precision
from trudi_rsl.algorithms.curiosity import curiosity
from trudi_rsl.algorithms.symmetry import symmetry
from trudi_rsl.checkpoints.format import policy_spec
from trudi_rsl.checkpoints.rebuild import build_actor_critic
from trudi_rsl.environments.action_bounds import action_bounds
from trudi_rsl.environments.progress import request_final_obs
from trudi_rsl.model_sections import kind_of
from trudi_rsl.plain_values import as_plain
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.rsl_rl_compat.contract import resolve_groups
from trudi_rsl.rsl_rl_compat.extensions import check_rnd
from trudi_rsl.setting_ranges import sequence_length
from trudi_rsl.settings import SELECTORS, AnyCfg, TruDiCfg, algorithm_of_settings
from trudi_rsl.storage import RolloutBuffer, SequenceStorage

MIN_HALF_BOUND = 1e-2
"""Smallest ``kl_bound``, nats, with which chains are stored in half precision. Where a chain is 150 nats from the
uncontrolled one, rounding costs 1e-5 (``tests/storage/test_rollout_buffer.py``)."""


def constructor_arguments(
    settings: AnyCfg, obs: TensorDict, env: VecEnv, cfg: dict[str, Any], device: str
) -> dict[str, Any]:
    """Return the constructor's arguments of :class:`~trudi_rsl.algorithms.TruDi`.

    Args:
        settings: Those of the ``algorithm`` section.
        obs: Observations, which size the networks.
        env: The environment.
        cfg: The runner configuration, whose ``obs_groups`` are completed in place.
        device: Device of training.

    Raises:
        ConfigError: If the environment lacks an observation group, RSL-RL is too old for an extension, or the function
            of ``symmetry_cfg`` mirrors in a way that chains cannot be mirrored in.
    """
    if settings.rnd_cfg:
        check_rnd()
    # RSL-RL's runner reads RND's weight and rewards exactly if this is set
    cfg["algorithm"]["rnd_cfg"] = settings.rnd_cfg
    encoders = {"actor": settings.actor_encoder, "critic": settings.critic_encoder}
    with_images = [
        name for name, section in encoders.items() if section and kind_of(section["class_name"]) == "CNNModel"
    ]
    groups = resolve_groups(obs, cfg, with_images)
    set_matmul_precision(settings.precision, device)
    low, high = action_bounds(env, settings.action_bounds)
    if settings.final_observations:
        request_final_obs(env)
    actor_critic = build_actor_critic(settings, obs, groups, low, high).to(device)
    actor = actor_critic.actor
    bound = settings.kl_bound if isinstance(settings, TruDiCfg) and settings.stores_chains else 0.0
    if bound >= MIN_HALF_BOUND and isinstance(actor, DiffusionPolicy) and actor.contracts:
        actor.store_in_half()
    num_steps = cfg["num_steps_per_env"]
    sequences = None
    if actor_critic.is_recurrent:
        length = sequence_length(settings.sequence_length, settings.num_mini_batches, num_steps, env.num_envs)
        sequences = SequenceStorage(num_steps, env.num_envs, length, actor_critic.recurrent_encoders, device)
    storage = RolloutBuffer(
        num_steps,
        env.num_envs,
        actor_critic.actor_obs.num_stored,
        actor_critic.critic_obs.num_stored if actor_critic.asymmetric else None,
        actor_critic.num_actions,
        settings.critic_hidden_dim,
        actor_critic.actor.trace_length if settings.stores_chains else 0,
        device,
        actor_critic.actor.trace_dtype,
        actor_critic.images(obs),
        sequences,
    )
    values = settings.to_dict()
    algorithm = algorithm_of_settings(values)
    # the algorithm implies the selectors
    values = {name: value for name, value in values.items() if name not in SELECTORS}
    if settings.symmetry_cfg is not None:
        # a function without a name to import is part of no checkpoint
        values["symmetry_cfg"] = as_plain(settings.symmetry_cfg)
    used_groups = {name: groups[name] for name in ("actor", "critic")}
    return {
        "actor_critic": actor_critic,
        "storage": storage,
        "cfg": settings,
        "spec": policy_spec(algorithm, settings.actor, values, obs, used_groups, env, (low, high)),
        "env": env,
        "device": device,
        "multi_gpu_cfg": cfg.get("multi_gpu"),
        "num_updates": settings.num_learning_epochs * settings.num_mini_batches * cfg.get("max_iterations", math.inf),
        "curiosity": curiosity(settings.rnd_cfg, obs, groups, env, num_steps, device),
        "symmetry": symmetry(
            settings.symmetry_cfg, obs.to(device), env, actor_critic, num_steps, settings.critic_hidden_dim, device
        ),
    }
