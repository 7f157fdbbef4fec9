# SPDX-License-Identifier: BSD-3-Clause
"""Several processes learn as one: gradients, duals, statistics and value range are shared, over gloo on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from tests.algorithms.builders import actor_critic, learner_and_batch, observations
from trudi_rsl.algorithms.targets import initial_range, widened_range

WORLD_SIZE = 2


def learn(rank: int, folder: str) -> None:
    """Take one update on a batch of this process's own and keep parameters and duals."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD_SIZE
    )
    torch.manual_seed(0)
    model = actor_critic()
    torch.manual_seed(1 + rank)
    model.update_normalization(observations(8))
    low, high = initial_range(10.0 * torch.randn(4, 5), gamma=0.9)
    targets = torch.full((4, 5), 2000.0 * rank)
    widened = widened_range(low, high, targets, torch.ones(4, 5, dtype=torch.bool))
    learner, batch, old_steps = learner_and_batch(model)
    learner.world_size = WORLD_SIZE
    metrics = learner.update(batch, old_steps)
    kept = {name: p.detach().clone() for name, p in model.named_parameters()}
    kept |= {name: value.clone() for name, value in model.actor_obs.state_dict().items()}
    kept |= {"low": low, "high": high, "widened_low": widened[0], "widened_high": widened[1]}
    kept |= {"log_alpha": learner.log_alpha.detach(), "log_lambda": learner.log_lambda.detach()}
    torch.save({"kept": kept, "critic": metrics["critic"]}, f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_with_different_data_stay_identical(tmp_path: Path) -> None:
    spawn(learn, (str(tmp_path),), nprocs=WORLD_SIZE)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(WORLD_SIZE))
    assert first["critic"] != second["critic"]
    different = [name for name, value in first["kept"].items() if not torch.equal(value, second["kept"][name])]
    assert different == []
    assert first["kept"]["widened_high"] > first["kept"]["high"] and first["kept"]["normalizer._mean"].abs().min() > 0
    torch.manual_seed(0)
    untouched: dict[str, Tensor] = dict(actor_critic().named_parameters())
    moved = [n for n, p in untouched.items() if not n.startswith("old_actor") and not torch.equal(p, first["kept"][n])]
    assert {"critic.zero_code", "actor.raw_friction"} <= set(moved)
