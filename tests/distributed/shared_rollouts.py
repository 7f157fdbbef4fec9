# SPDX-License-Identifier: BSD-3-Clause
"""Rollouts that several ranks share, with recorded noise for every decision.

All in float64: the ranks then differ only by the order of sums. In float32, Adam would turn the rounding error of a
gradient near zero into a step, since it divides a gradient by its own size.
"""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms import TruDi

NUM_ENVS, NUM_STEPS, NUM_OBS, NUM_ACTIONS, NUM_ROLLOUTS, NUM_EPOCHS = 8, 6, 3, 2, 2, 2
DRAWS = 4
"""Rows of noise per decision: a chain of three steps uses all, a Gaussian the first."""

# KL bounds that some states exceed
ALGORITHMS: dict[str, dict[str, Any]] = {
    "trudi": {"actor_gradient": "pathwise", "kl_bound": 2e-4},
    "trudi, adjoint": {"actor_gradient": "adjoint", "kl_bound": 2e-4},
    "reppo": {"actor": "gaussian", "kl_bound": 0.01},
    "dime": {"constraint": "none"},
}


class Task:
    """The attributes of an environment from which TruDi is built."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs, self.num_actions, self.task = num_envs, NUM_ACTIONS, "Shared-v0"


class Rollouts:
    """Rollouts of the environments ``first .. first + num_envs - 1``; all ranks slice the same numbers.

    Only environments of the first half are truncated, and only some steps have last observations, so that ranks differ
    in the number of usable targets.
    """

    def __init__(self, first: int, num_envs: int) -> None:
        torch.manual_seed(0)
        mine = slice(first, first + num_envs)
        shape = (NUM_ROLLOUTS, NUM_STEPS, NUM_ENVS)
        self.obs = (3.0 * torch.randn(NUM_ROLLOUTS, NUM_STEPS + 1, NUM_ENVS, NUM_OBS) + 1.0)[:, :, mine]
        self.final_obs = torch.randn(*shape, NUM_OBS)[:, :, mine]
        self.rewards = (4.0 * torch.randn(shape))[:, :, mine]
        ends = torch.rand(shape)
        self.terminated = (ends < 0.1)[:, :, mine]
        truncated = (ends > 0.6) & (torch.arange(NUM_ENVS) < NUM_ENVS // 2)
        self.truncated = truncated[:, :, mine]
        self.acting = torch.randn(NUM_ROLLOUTS, NUM_STEPS + 1, DRAWS, NUM_ENVS, NUM_ACTIONS)[..., mine, :]
        self.at_ends = torch.randn(*shape, DRAWS, NUM_ACTIONS)[:, :, mine]
        self.learning = torch.randn(NUM_ROLLOUTS, NUM_EPOCHS, DRAWS, NUM_STEPS, NUM_ENVS, NUM_ACTIONS)[..., mine, :]


class Script:
    """Replaces a policy's random numbers by a queue."""

    def __init__(self, num_draws: int) -> None:
        self._num_draws, self._queue = num_draws, list[Tensor]()

    def put(self, noise: Tensor) -> None:
        """Enqueue ``[DRAWS, B, A]``."""
        self._queue.append(noise[: self._num_draws])

    def __call__(self, batch: int) -> Tensor:
        """Return the next noise, ``[num_draws, B, A]``."""
        noise = self._queue.pop(0)
        assert noise.shape[1] == batch
        return noise


def learn(name: str, rank: int, world_size: int) -> dict[str, Tensor]:
    """Take all updates with one rank's share of the environments, and return all parameters and optimiser states.

    Args:
        name: One of ``ALGORITHMS``.
        rank: Rank of this process.
        world_size: Number of ranks.
    """
    share = NUM_ENVS // world_size
    data, task = Rollouts(rank * share, share), Task(share)
    cfg = {
        "num_steps_per_env": NUM_STEPS,
        "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
        "multi_gpu": {"global_rank": rank, "local_rank": rank, "world_size": world_size} if world_size > 1 else None,
        "algorithm": {
            "action_bounds": [-1.0, 2.0], "value_range": "auto", "num_bins": 21, "num_denoise_steps": 3,
            "actor_hidden_dims": [8, 8], "critic_hidden_dim": 8, "num_learning_epochs": NUM_EPOCHS,
            "num_mini_batches": 1, "learning_rate": 1e-2, "max_grad_norm": 0.02, "compile": "off", **ALGORITHMS[name],
        },
    }  # fmt: skip
    torch.manual_seed(7)
    obs = TensorDict({"policy": data.obs[0, 0]}, batch_size=[share])
    algorithm = TruDi.construct_algorithm(obs, task, cfg, "cpu")  # type: ignore[arg-type]
    script = Script(algorithm.actor_critic.actor.num_draws)
    algorithm.actor_critic.actor.draw_noise = script  # type: ignore[assignment]
    for rollout in range(NUM_ROLLOUTS):
        _collect(algorithm, data, rollout, script)
        for noise in data.learning[rollout]:
            script.put(noise.flatten(1, 2))
        algorithm.update()
    learner = algorithm.learner
    moments = {
        f"{part}.{i}.{key}": value
        for part, optimizer in learner.optimizers.items()
        for i, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }
    duals = {"log_alpha": learner.log_alpha.detach(), "log_lambda": learner.log_lambda.detach()}
    entropy = {"entropy_per_dim": algorithm.actor_critic.entropy_per_dim}
    return {k: v.clone() for k, v in (algorithm.actor_critic.state_dict() | duals | entropy | moments).items()}


def _collect(algorithm: TruDi, data: Rollouts, rollout: int, script: Script) -> None:
    def observed(values: Tensor) -> TensorDict:
        return TensorDict({"policy": values}, batch_size=[len(values)])

    algorithm.train_mode()
    for t in range(NUM_STEPS):
        script.put(data.acting[rollout, t])
        algorithm.act(observed(data.obs[rollout, t]))
        terminated, truncated = data.terminated[rollout, t], data.truncated[rollout, t]
        extras: dict[str, Any] = {"time_outs": truncated}
        # a simulator with last observations at every other step only
        if t % 2 == 0:
            extras["final_obs"] = observed(data.final_obs[rollout, t])
        done = terminated | truncated
        algorithm.process_env_step(observed(data.obs[rollout, t + 1]), data.rewards[rollout, t], done, extras)
    script.put(data.acting[rollout, NUM_STEPS])
    ended = data.terminated[rollout] | data.truncated[rollout]
    ended[1::2] = False
    script.put(data.at_ends[rollout][ended].transpose(0, 1))
    algorithm.compute_returns(observed(data.obs[rollout, NUM_STEPS]))
