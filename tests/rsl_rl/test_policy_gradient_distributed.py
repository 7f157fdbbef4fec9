# SPDX-License-Identifier: BSD-3-Clause
"""PPO's relatives learn as one in several processes, over gloo on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rsl_rl.storage import RolloutStorage
from torch.multiprocessing.spawn import spawn

from tests.rsl_rl.small_policies import RandomTask, collect, observations, runner_cfg, state
from trudi_rsl.algorithms.policy_gradient import DPPO
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

WORLD_SIZE = 2


def learn(rank: int, folder: str) -> None:
    """Take one update on a rollout of this process's own and keep the parameters."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD_SIZE
    )
    torch.manual_seed(1)
    cfg = runner_cfg(DPPO, {"class_name": "trudi_rsl.policies:DenoisingModel", "num_denoise_steps": 3}, desired_kl=1e-4)
    cfg["multi_gpu"] = {"global_rank": rank, "local_rank": rank, "world_size": WORLD_SIZE}
    algorithm = DPPO.construct_algorithm(observations(), RandomTask(), cfg, "cpu")  # type: ignore[arg-type]
    collect(algorithm)
    storage: RolloutStorage = algorithm.storage
    # a rollout in which other actions were good
    storage.advantages = storage.advantages * (1.0 - 2.0 * rank)
    losses = algorithm.update()
    torch.save({"state": state(algorithm), "lr": algorithm.learning_rate, "losses": losses}, f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.skipif(not PPO_MODELS, reason="RSL-RL 5 has the models and the storage")
def test_processes_with_different_data_stay_identical(tmp_path: Path) -> None:
    spawn(learn, (str(tmp_path),), nprocs=WORLD_SIZE)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(WORLD_SIZE))
    assert first["losses"]["surrogate"] != second["losses"]["surrogate"]
    assert first["lr"] == second["lr"] < 1e-3
    assert [name for name, value in first["state"].items() if not torch.equal(value, second["state"][name])] == []
