# SPDX-License-Identifier: BSD-3-Clause
"""Policies of checkpoints, ready to act in a simulator."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms import TruDi
from trudi_rsl.checkpoints.format import Algorithm, PolicySpec, check_images, image_specs
from trudi_rsl.checkpoints.rebuild import load_actor_critic, with_known_classes
from trudi_rsl.config.schema import HostSettings
from trudi_rsl.environments.progress import close_envs
from trudi_rsl.errors import CheckpointError, as_checkpoint_error
from trudi_rsl.evaluation.episodes import NO_TIME_LIMIT, Policy
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.policies import ActorCritic, GenerativeModel
from trudi_rsl.policies.base import WHOLE_CHAIN, ChainOptions
from trudi_rsl.policies.deployable import ChainInferencePolicy, LatentInputPolicy
from trudi_rsl.policies.observations import ObservationEncoder
from trudi_rsl.rsl_rl_compat.models import policy_of
from trudi_rsl.settings import SETTINGS

logger = logging.getLogger(__name__)

STEP_LIMIT = 1000
"""Steps of an episode in evaluations of a task without a time limit."""


@dataclass(frozen=True)
class Simulation:
    """What a simulator contributes to evaluations: the functions that the rooms above this one provide."""

    make_env: Callable[..., VecEnv]
    """``make_env(task, env_cfg, device, seed, render_mode)`` returns ``env_cfg["num_envs"]`` environments."""
    make_runner: Callable[..., Any]
    """``make_runner(env, agent_cfg, log_dir, device)`` returns an RSL-RL runner, such as this package's."""
    require: Callable[[str, str], None]
    """``require(task, device)`` raises ConfigError or ImportError if the task or device cannot be used here."""
    find_host: Callable[[str], HostSettings]
    """Returns the schema and presets of a task."""

    def make_ending(
        self, task: str, env_cfg: Mapping[str, Any], device: str, seed: int, render_mode: str | None = None
    ) -> VecEnv:
        """Make environments whose episodes end: without a time limit of the task, after :data:`STEP_LIMIT` steps.

        Arguments and errors are those of :attr:`make_env`; a limit that the task does not have is logged.
        """
        env: Any = self.make_env(task, env_cfg, device, seed, render_mode)
        if env.max_episode_length < NO_TIME_LIMIT or "max_episode_steps" not in env_cfg:
            return env
        close_envs(env)
        logger.info(
            "Task %s has no time limit: episodes are cut after %d steps. env.max_episode_steps=N sets another limit.",
            task,
            STEP_LIMIT,
        )
        limited: Any = copy.deepcopy(env_cfg)
        limited["max_episode_steps"] = STEP_LIMIT
        return self.make_env(task, limited, device, seed, render_mode)


def load_policy(
    path: Path,
    algorithm: Algorithm,
    env: VecEnv,
    agent_cfg: Mapping[str, Any],
    sampler: SamplerCfg,
    device: str,
    make_runner: Callable[..., Any],
) -> Policy:
    """Return the policy of a checkpoint of the algorithm, to act in ``env``.

    Policies of TruDi's learner are rebuilt from the checkpoint alone, those of PPO and its relatives by a runner with
    ``agent_cfg``, the configuration they were trained with.

    Raises:
        CheckpointError: If the checkpoint does not fit the environment.
        ConfigError: If the algorithm does not have the sampler.
    """
    sampler.require_for(algorithm)
    if algorithm in SETTINGS:
        actor_critic, spec = load_actor_critic(path)
        require_fit(spec, env)
        return _bind(actor_critic.to(device), sampler)
    cfg: Any = OmegaConf.to_container(agent_cfg) if isinstance(agent_cfg, DictConfig) else copy.deepcopy(agent_cfg)
    cfg = {**cfg, "logger": "tensorboard"}
    for name in {"rnd_cfg", "symmetry_cfg"} & set(cfg.get("algorithm") or ()):  # only training uses them
        cfg["algorithm"][name] = None
    # RSL-RL prints the networks; the settings may be as untrusted as the checkpoint
    with contextlib.redirect_stdout(io.StringIO()), as_checkpoint_error():
        runner = make_runner(env, with_known_classes(cfg), log_dir=None, device=device)
    runner.load(str(path), load_cfg={"actor": True}, map_location=device)
    return policy_for(runner.alg, sampler)


def load_into(runner: Any, path: Path, sampler: SamplerCfg) -> Policy:
    """Load a checkpoint into a runner, but not its simulator's or random state, and return :func:`policy_for`.

    Policies that the runner returned earlier may change, too. Raises CheckpointError if the checkpoint does not fit.
    """
    runner.load(str(path), load_cfg={"actor": True, "critic": True})  # best_of_k needs the critic
    return policy_for(runner.alg, sampler)


def policy_for(algorithm: Any, sampler: SamplerCfg) -> Policy:
    """Return the policy of a runner's algorithm, with frozen observation normalization.

    The sampler must have passed :meth:`SamplerCfg.require_for`.
    """
    model: Any = policy_of(algorithm)
    model.eval()
    if isinstance(algorithm, TruDi) or isinstance(model, GenerativeModel):
        return _bind(algorithm.actor_critic if isinstance(algorithm, TruDi) else model, sampler)
    if hasattr(model, "act_inference"):  # RSL-RL 3
        return model.act if sampler.sampler == "sde" else model.act_inference
    return _GaussianSample(model) if sampler.sampler == "sde" else model


def require_fit(spec: PolicySpec, env: VecEnv) -> None:
    """Raise CheckpointError if a policy's observation groups and actions do not have the sizes of the environment's."""
    obs, num_actions = env.get_observations(), spec["num_actions"]
    for group, size in spec["obs_dims"].items():
        available = obs[group].shape[-1] if group in obs else 0
        if available != size:
            raise CheckpointError(
                f"The policy reads {size} numbers of observation group {group!r}, the task has "
                f"{available}. Use the env settings it was trained with."
            )
    check_images(spec, image_specs(obs, spec.get("images") or {}))
    if num_actions != env.num_actions:
        raise CheckpointError(f"The policy has {num_actions} actions, the task {env.num_actions}.")


def as_exported(runner: Any) -> Policy:
    """Return the policy that a runner would export now; models of RSL-RL's, and those with a memory, are not frozen."""
    policy, model = runner.get_inference_policy(), policy_of(runner.alg)
    if not isinstance(model, ActorCritic | GenerativeModel) or not _can_freeze(model):
        return policy
    return FrozenPolicy(model, SamplerCfg("ode", initial_latent="zeros"))


def _can_freeze(model: ActorCritic[Any] | GenerativeModel[Any]) -> bool:
    # on a GPU, TorchScript would compile kernels first
    return type(model.actor_obs) is ObservationEncoder and next(model.parameters()).device.type == "cpu"


def _bind(model: ActorCritic[Any] | GenerativeModel[Any], sampler: SamplerCfg) -> Policy:
    if sampler.sampler == "ode" and _can_freeze(model):
        return FrozenPolicy(model, sampler)
    act = functools.partial(model.act, sampler=sampler.sampler, **sampler.options())
    act.reset = model.reset  # pyright: ignore[reportAttributeAccessIssue]  recurrent encoders forget ended episodes
    return act


class FrozenPolicy:
    """A deterministic policy without learned encoders, with its present weights, in TorchScript.

    An evaluation takes thousands of steps of few states, in which Python would take most of the time.
    """

    def __init__(self, model: ActorCritic[Any] | GenerativeModel[Any], sampler: SamplerCfg) -> None:
        policy = model.deployable(ChainOptions(sampler.score_scale or WHOLE_CHAIN.score_scale))
        start = sampler.initial_latent or ("random" if isinstance(model, ActorCritic) else "zeros")
        self._num_latents = 0
        if start == "random" and isinstance(policy, ChainInferencePolicy):
            self._num_latents = model.num_actions
            policy = LatentInputPolicy(policy)
        self._encoder = model.actor_obs
        with warnings.catch_warnings():
            # what is to replace TorchScript compiles for longer than an evaluation takes
            warnings.simplefilter("ignore", DeprecationWarning)
            self._act = torch.jit.freeze(torch.jit.script(policy.eval()))

    def __call__(self, obs: TensorDict) -> Tensor:
        """Return simulator actions ``[B, A]`` for observation groups of batch ``[B]``."""
        raw = self._encoder.concatenate(obs)
        # as ChainPolicy.draw_prior draws it
        latents = [raw.new_empty(len(raw), self._num_latents).normal_()] if self._num_latents else []
        return self._act(raw, *latents)

    def reset(self, dones: Tensor | None = None) -> None:
        """Do nothing: the policy has no memory."""


class _GaussianSample:
    """A PPO policy that acts by a sample of its Gaussian; the model itself returns the mean."""

    def __init__(self, model: Any) -> None:
        self._model, self.reset = model, model.reset

    def __call__(self, obs: TensorDict) -> Tensor:
        return self._model(obs, stochastic_output=True)
