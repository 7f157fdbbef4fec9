# SPDX-License-Identifier: BSD-3-Clause
"""All ranks choose and widen the same value range, whatever their own rewards and targets are; gloo on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.multiprocessing.spawn import spawn

from trudi_rsl.algorithms.targets import initial_range, widened_range

WORLD_SIZE = 2


def choose_ranges(rank: int, folder: str) -> None:
    """Save the initial range ``[2]`` and the widened one of ranks whose rewards and targets differ."""
    meeting = f"file://{folder}/rendezvous"
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=WORLD_SIZE)
    low, high = initial_range((1.0 + 10.0 * rank) * torch.ones(4, 5), gamma=0.9)
    targets = torch.full((4, 5), 2000.0 * rank)
    widened = widened_range(low, high, targets, torch.ones(4, 5, dtype=torch.bool))
    torch.save([torch.stack([low, high]), torch.stack(widened)], f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_ranks_agree_on_the_value_range(tmp_path: Path) -> None:
    spawn(choose_ranges, (str(tmp_path),), nprocs=WORLD_SIZE)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(WORLD_SIZE))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    (_, high), (_, widened_high) = first
    assert 100.0 < high < widened_high
