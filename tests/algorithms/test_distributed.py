# SPDX-License-Identifier: BSD-3-Clause
"""Several processes learn as one: gradients and duals are averaged, over gloo on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, multiprocessing

from tests.algorithms.builders import actor_critic, learner_and_batch

WORLD_SIZE = 2


def learn(rank: int, folder: str) -> None:
    """Take one update on a batch of this process's own and keep parameters and duals."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD_SIZE
    )
    torch.manual_seed(0)
    model = actor_critic()
    torch.manual_seed(1 + rank)
    learner, batch, old_steps = learner_and_batch(model)
    learner.world_size = WORLD_SIZE
    metrics = learner.update(batch, old_steps)
    kept = {name: p.detach().clone() for name, p in model.named_parameters()}
    kept |= {"log_alpha": learner.log_alpha.detach(), "log_lambda": learner.log_lambda.detach()}
    torch.save({"kept": kept, "entropy": metrics["entropy"]}, f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_with_different_data_stay_identical(tmp_path: Path) -> None:
    multiprocessing.spawn(learn, (str(tmp_path),), nprocs=WORLD_SIZE)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(WORLD_SIZE))
    assert first["entropy"] != second["entropy"]
    different = [name for name, value in first["kept"].items() if not torch.equal(value, second["kept"][name])]
    assert different == []
    torch.manual_seed(0)
    untouched: dict[str, Tensor] = dict(actor_critic().named_parameters())
    moved = [n for n, p in untouched.items() if not n.startswith("old_actor") and not torch.equal(p, first["kept"][n])]
    assert {"critic.zero_code", "actor.raw_friction"} <= set(moved)
