# SPDX-License-Identifier: BSD-3-Clause
"""Small policy-gradient algorithms on random observations, built as RSL-RL's runner builds them."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from rsl_rl.algorithms import PPO
from tensordict import TensorDict
from torch import Tensor

NUM_ENVS, NUM_STEPS, NUM_OBS, NUM_ACTIONS = 6, 8, 3, 2

AlgorithmT = TypeVar("AlgorithmT", bound=PPO)


class RandomTask:
    """What RSL-RL asks of an environment to build an algorithm."""

    num_envs, num_actions, task = NUM_ENVS, NUM_ACTIONS, "Random-v0"
    step_dt = 0.5

    @property
    def unwrapped(self) -> RandomTask:
        return self


def observations(num_envs: int = NUM_ENVS) -> TensorDict:
    """Return random observations of all environments."""
    return TensorDict({"policy": 3.0 + torch.randn(num_envs, NUM_OBS)}, batch_size=[num_envs])


def runner_cfg(algorithm: type[PPO], actor: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """Return a runner configuration of PPO, whose algorithm's class is another."""
    own = algorithm is not PPO
    model = {"class_name": "MLPModel", "hidden_dims": [16, 16], "obs_normalization": True}
    gaussian = {"distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 0.7}}
    name = f"trudi_rsl.algorithms.policy_gradient:{algorithm.__name__}" if own else "PPO"
    return {
        "num_steps_per_env": NUM_STEPS,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "multi_gpu": None,
        "algorithm": {"class_name": name, "rnd_cfg": None, "num_mini_batches": 3} | settings,
        "actor": model | (gaussian if actor is None else actor),
        "critic": copy.deepcopy(model),
    }


def built(
    algorithm: type[AlgorithmT], actor: dict[str, Any] | None = None, env: Any = None, **settings: Any
) -> AlgorithmT:
    """Return an algorithm with the same initial parameters at each call."""
    torch.manual_seed(1)
    cfg, env = runner_cfg(algorithm, actor, **settings), env or RandomTask()
    return algorithm.construct_algorithm(observations(env.num_envs), env, cfg, "cpu")  # type: ignore[arg-type, return-value]


def collect(algorithm: PPO) -> None:
    """Fill the storage with random observations, rewards and ends of episodes."""
    torch.manual_seed(2)
    obs = observations()
    with torch.inference_mode():
        for _ in range(NUM_STEPS):
            algorithm.act(obs)
            obs = observations()
            dones = torch.rand(NUM_ENVS) < 0.2
            algorithm.process_env_step(obs, torch.randn(NUM_ENVS), dones, {"time_outs": dones & (dones.cumsum(0) > 1)})
        algorithm.compute_returns(obs)


def state(algorithm: PPO) -> dict[str, Tensor]:
    """Return copies of parameters, normalisers and the optimiser's moments."""
    named = {f"actor.{k}": v for k, v in algorithm.actor.state_dict().items()}
    named |= {f"critic.{k}": v for k, v in algorithm.critic.state_dict().items()}
    moments = algorithm.optimizer.state_dict()["state"]
    named |= {f"{i}.{k}": v for i, values in moments.items() for k, v in values.items()}
    if algorithm.rnd:
        named |= {f"rnd.{k}": v for k, v in algorithm.rnd.state_dict().items()}
    return {name: value.clone() for name, value in named.items()}
