# SPDX-License-Identifier: BSD-3-Clause
"""One set of rollouts that several processes divide among them, with the noise of every decision written down.

All in float64. Sums of other orders are then all that the processes may differ by; in float32 Adam, which divides a
gradient by its own size, would turn the rounding of a gradient near zero into a step.
"""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms import TruDi

NUM_ENVS, NUM_STEPS, NUM_OBS, NUM_ACTIONS, NUM_ROLLOUTS, NUM_EPOCHS = 8, 6, 3, 2, 2, 2
DRAWS = 4
"""Rows of noise for one decision: a chain of three steps has as many, a Gaussian reads the first."""

# bounds that some states are beyond
ALGORITHMS: dict[str, dict[str, Any]] = {
    "trudi": {"actor_gradient": "pathwise", "kl_bound": 2e-4},
    "trudi, adjoint": {"actor_gradient": "adjoint", "kl_bound": 2e-4},
    "reppo": {"actor": "gaussian", "kl_bound": 0.01},
    "dime": {"constraint": "none"},
}


class Task:
    """What TruDi asks of an environment to be built."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs, self.num_actions, self.task = num_envs, NUM_ACTIONS, "Shared-v0"


class Rollouts:
    """What the environments ``first .. first + num_envs - 1`` of all gave, in rollouts without end.

    The numbers are the same in every process. Environments of the first half alone are truncated, and only some of
    these tell their last observation, so that processes have other numbers of usable targets.
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
    """Stands in for a policy's random numbers: gives those that were put in line."""

    def __init__(self, num_draws: int) -> None:
        self._num_draws, self._line = num_draws, list[Tensor]()

    def put(self, noise: Tensor) -> None:
        """Put ``[DRAWS, B, A]`` in line."""
        self._line.append(noise[: self._num_draws])

    def __call__(self, batch: int) -> Tensor:
        """Return the next in line, ``[num_draws, B, A]``."""
        noise = self._line.pop(0)
        assert noise.shape[1] == batch
        return noise


def learn(name: str, rank: int, world_size: int) -> dict[str, Tensor]:
    """Take all updates with this process's share of the environments, and return everything that was learned.

    Args:
        name: One of ``ALGORITHMS``.
        rank: Of this process.
        world_size: Number of processes.
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
        # a simulator that tells last observations at every other step alone
        if t % 2 == 0:
            extras["final_obs"] = observed(data.final_obs[rollout, t])
        done = terminated | truncated
        algorithm.process_env_step(observed(data.obs[rollout, t + 1]), data.rewards[rollout, t], done, extras)
    script.put(data.acting[rollout, NUM_STEPS])
    ended = data.terminated[rollout] | data.truncated[rollout]
    ended[1::2] = False
    script.put(data.at_ends[rollout][ended].transpose(0, 1))
    algorithm.compute_returns(observed(data.obs[rollout, NUM_STEPS]))
