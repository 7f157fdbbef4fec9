# SPDX-License-Identifier: BSD-3-Clause
"""Ranks that share the environments learn what a single process with all of them learns."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

from tests.distributed.shared_rollouts import ALGORITHMS, learn
from trudi_rsl.config import compose
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner

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
    for world_size in WORLD_SIZES:
        if rank >= world_size:
            continue
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
    multiprocessing.set_forkserver_preload(["tests.distributed.shared_rollouts", "trudi_rsl.hosts.gymnasium.env"])
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
