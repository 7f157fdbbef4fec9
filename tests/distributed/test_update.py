# SPDX-License-Identifier: BSD-3-Clause
"""Ranks that share the environments learn what a single process with all of them learns.

The ranks get recorded noise for every decision. All in float64: they then differ only by the order of sums. In float32,
Adam would turn the rounding error of a gradient near zero into a step, since it divides a gradient by its own size.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

from trudi_rsl.algorithms import TruDi
from trudi_rsl.config import compose
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE, PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner

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
if not POLICY_STYLE:
    networks = {"num_outputs": 2, "predictor_hidden_dims": [4], "target_hidden_dims": [4], "learning_rate": 1e-2}
    ALGORITHMS["trudi, RND"] = {"rnd_cfg": {"weight": 0.5, **networks}}
WORLD_SIZES = (2, 4)
RELATIVES = ("ppo", "spo") if PPO_MODELS else ()
"""Algorithms that normalise advantages per rank, as RSL-RL does; ranks agree with each other only."""

TASK = "PlanarObstacle-v0"
TOLERANCE = 1e-9
"""Relative and absolute. The same float64 numbers are summed in another order; the error of 1e-16 grows over two
rollouts of two epochs."""

Learned = dict[str, dict[str, Tensor]]


@pytest.fixture(scope="module", autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        # one full batch per epoch, in the order of the recorded noise
        patch.setattr(torch, "randperm", torch.arange)
        yield
    torch.set_default_dtype(torch.float32)


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
        self.truncated = ((ends > 0.6) & (torch.arange(NUM_ENVS) < NUM_ENVS // 2))[:, :, mine]
        self.acting = torch.randn(NUM_ROLLOUTS, NUM_STEPS + 1, DRAWS, NUM_ENVS, NUM_ACTIONS)[..., mine, :]
        self.at_ends = torch.randn(*shape, DRAWS, NUM_ACTIONS)[:, :, mine]
        self.learning = torch.randn(NUM_ROLLOUTS, NUM_EPOCHS, DRAWS, NUM_STEPS, NUM_ENVS, NUM_ACTIONS)[..., mine, :]


def learn(name: str, rank: int, world_size: int) -> dict[str, Tensor]:
    """Take all updates with one rank's share of the environments, and return all parameters and optimiser states."""
    share = NUM_ENVS // world_size
    data = Rollouts(rank * share, share)
    task: Any = SimpleNamespace(num_envs=share, num_actions=NUM_ACTIONS, task="Shared-v0")
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
    algorithm = TruDi.construct_algorithm(obs, task, cfg, "cpu")
    actor, script = algorithm.actor_critic.actor, deque[Tensor]()

    def draw_noise(batch: int) -> Tensor:
        noise = script.popleft()
        assert noise.shape[1] == batch
        return noise[: actor.num_draws]

    actor.draw_noise = draw_noise  # type: ignore[assignment]
    for rollout in range(NUM_ROLLOUTS):
        _collect(algorithm, data, rollout, script)
        script.extend(noise.flatten(1, 2) for noise in data.learning[rollout])
        algorithm.update()
    learner = algorithm.learner
    moments = {
        f"{part}.{i}.{key}": value
        for part, optimizer in learner.optimizers.items()
        for i, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
    }
    duals = {"log_alpha": learner.log_alpha.detach(), "log_lambda": learner.log_lambda.detach()}
    learned = algorithm.actor_critic.state_dict() | duals | moments
    if algorithm.rnd is not None:
        learned |= {f"rnd.{key}": value for key, value in algorithm.rnd.state_dict().items()}
    return {k: v.clone() for k, v in (learned | {"entropy_per_dim": algorithm.actor_critic.entropy_per_dim}).items()}


def _collect(algorithm: TruDi, data: Rollouts, rollout: int, script: deque[Tensor]) -> None:
    def observed(values: Tensor) -> TensorDict:
        return TensorDict({"policy": values}, batch_size=[len(values)])

    algorithm.train_mode()
    for t in range(NUM_STEPS):
        script.append(data.acting[rollout, t])
        algorithm.act(observed(data.obs[rollout, t]))
        terminated, truncated = data.terminated[rollout, t], data.truncated[rollout, t]
        extras: dict[str, Any] = {"time_outs": truncated}
        # a simulator with last observations at every other step only
        if t % 2 == 0:
            extras["final_obs"] = observed(data.final_obs[rollout, t])
        done = terminated | truncated
        algorithm.process_env_step(observed(data.obs[rollout, t + 1]), data.rewards[rollout, t], done, extras)
    script.append(data.acting[rollout, NUM_STEPS])
    ended = data.terminated[rollout] | data.truncated[rollout]
    ended[1::2] = False
    script.append(data.at_ends[rollout][ended].transpose(0, 1))
    algorithm.compute_returns(observed(data.obs[rollout, NUM_STEPS]))


def train(algo: str, rank: int, world_size: int) -> dict[str, Tensor]:
    """Train a policy-gradient algorithm under the runner and return its parameters."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    cfg = compose(TASK, algo, ["agent.actor.hidden_dims=[16]", "agent.critic.hidden_dims=[16]", "env.num_envs=2"])
    torch.manual_seed(rank)
    agent: Any = OmegaConf.to_container(cfg.agent)
    runner = OnPolicyRunner(make_env(TASK, cfg.env, seed=2 * rank), agent)
    with contextlib.redirect_stdout(io.StringIO()):
        runner.learn(2)
    algorithm: Any = runner.alg
    named = {f"actor.{name}": value for name, value in algorithm.actor.state_dict().items()}
    return named | {f"critic.{name}": value for name, value in algorithm.critic.state_dict().items()}


def learn_together(rank: int, folder: str) -> None:
    """Learn with each world size that includes this rank, and save what was learned."""
    torch.set_num_threads(1)
    torch.randperm = torch.arange  # type: ignore[assignment]
    for world_size in (size for size in WORLD_SIZES if rank < size):
        meeting = f"file://{folder}/rendezvous{world_size}"
        torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world_size)
        torch.set_default_dtype(torch.float64)
        learned = {name: learn(name, rank, world_size) for name in ALGORITHMS}
        torch.set_default_dtype(torch.float32)
        learned |= {name: train(name, rank, world_size) for name in RELATIVES}
        torch.save(learned, f"{folder}/{world_size}processes{rank}.pt")
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[Learned]]:
    """What each rank learned, by world size."""
    folder = tmp_path_factory.mktemp("processes")
    # forking from a server that has imported everything is much faster
    multiprocessing.set_forkserver_preload([__name__, "trudi_rsl.hosts.gymnasium.env"])
    start_processes(learn_together, (str(folder),), nprocs=max(WORLD_SIZES), start_method="forkserver")
    return {n: [torch.load(folder / f"{n}processes{rank}.pt") for rank in range(n)] for n in WORLD_SIZES}


@pytest.mark.slow
@pytest.mark.parametrize("world_size", WORLD_SIZES)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_ranks_learn_what_a_single_process_learns(
    name: str, world_size: int, together: dict[int, list[Learned]]
) -> None:
    alone = learn(name, 0, 1)
    for learned in together[world_size]:
        assert learned[name].keys() == alone.keys()
        for key, value in alone.items():
            difference = (learned[name][key] - value).abs() / (1.0 + value.abs())
            assert difference.max() < TOLERANCE, f"{key} differs by {difference.max():.1e}"


@pytest.mark.slow
@pytest.mark.parametrize("world_size", WORLD_SIZES)
def test_all_ranks_have_bitwise_the_same_parameters(world_size: int, together: dict[int, list[Learned]]) -> None:
    first, *others = together[world_size]
    for other in others:
        for name in (*ALGORITHMS, *RELATIVES):
            assert [key for key, value in first[name].items() if not torch.equal(value, other[name][key])] == []
