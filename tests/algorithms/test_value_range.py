# SPDX-License-Identifier: BSD-3-Clause
"""The automatic value range, and that the clipped share in the log is the targets' own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.multiprocessing.spawn import spawn

from tests.algorithms.builders import actor_critic, config, observations
from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.targets import CROWDED_SHARE, initial_range, widened_range
from trudi_rsl.health.learning_rules import MAX_CLIPPED_SHARE
from trudi_rsl.storage import RolloutBuffer

FINITE = st.floats(-1e3, 1e3, width=32)
WORLD_SIZE = 2


@given(st.lists(FINITE, min_size=2, max_size=50), st.sampled_from([0.0, 0.9, 0.99]))
def test_initial_range_holds_zero_and_the_extreme_rewards_for_ever(rewards: list[float], gamma: float) -> None:
    r = torch.tensor(rewards)
    low, high = initial_range(r[:, None], gamma)
    assert low < 0.0 < high
    q01, q99 = (torch.quantile(r, q) / (1.0 - gamma) for q in (0.01, 0.99))
    slack = 1e-3 * (1.0 + r.abs().max() / (1.0 - gamma))
    assert low <= q01 + slack and high >= q99 - slack
    # neither side is below half of the other
    assert -low >= 0.4999 * high and high >= 0.4999 * -low


@pytest.mark.parametrize(("reward", "expected"), [(2.0, (-10.0, 20.0)), (-2.0, (-20.0, 10.0)), (0.0, (-0.5, 0.5))])
def test_initial_range_of_constant_rewards_by_hand(reward: float, expected: tuple[float, float]) -> None:
    found = initial_range(torch.full((4, 4), reward), gamma=0.9)
    torch.testing.assert_close(torch.stack(found), torch.tensor(expected))


def test_initial_range_ignores_one_percent_of_outliers() -> None:
    rewards = torch.ones(1000, 1)
    rewards[:5] = 1e6
    assert initial_range(rewards, 0.9)[1] < 20.0


@pytest.mark.parametrize(
    ("outside", "expected"),
    [
        ([], (-10.0, 10.0)),
        ([20.0] * 50, (-10.0, 30.0)),
        ([-20.0] * 50, (-30.0, 10.0)),
        ([20.0] * 50 + [-20.0] * 50, (-30.0, 30.0)),
        # inside the range, but in its outer fifth
        ([6.1] * 50, (-10.0, 30.0)),
        ([5.9] * 50, (-10.0, 10.0)),
        ([-6.1] * 50, (-30.0, 10.0)),
        # exactly the allowed share
        ([20.0] * int(1000 * CROWDED_SHARE), (-10.0, 10.0)),
    ],
)
def test_a_side_that_too_many_targets_come_near_moves_out_by_the_width(
    outside: list[float], expected: tuple[float, float]
) -> None:
    targets = torch.zeros(3000, 1)
    targets[: len(outside), 0] = torch.tensor(outside)
    # dropped rows count neither as outside nor in the share
    targets[1000:2000], targets[2000:] = -1e3, 1e3
    widened = widened_range(torch.tensor(-10.0), torch.tensor(10.0), targets, torch.arange(3000)[:, None] < 1000)
    torch.testing.assert_close(torch.stack(widened), torch.tensor(expected))


def trudi(value_range: Any, rewards: float) -> TruDi:
    """Return TruDi after a rollout of the given mean reward, its targets computed; one row is dropped."""
    model = actor_critic()
    cfg = config(num_learning_epochs=1, num_mini_batches=2)
    cfg.value_range = value_range
    storage = RolloutBuffer(8, 16, 3, None, 2, 8, model.actor.trace_length, "cpu", model.actor.trace_dtype)
    algorithm = TruDi(model, storage, cfg, spec={})  # type: ignore[typeddict-item]
    for t in range(8):
        algorithm.act(observations(16))
        dones = torch.zeros(16)
        dones[0] = float(t == 4)
        algorithm.process_env_step(observations(16), rewards + torch.rand(16), dones, {"time_outs": dones})
    algorithm.compute_returns(observations(16))
    return algorithm


@pytest.mark.parametrize("rewards", [0.0, 9.0, 1000.0])
def test_a_configured_range_stays_and_the_logged_clipped_share_is_that_of_the_valid_targets(rewards: float) -> None:
    algorithm = trudi((-10.0, 10.0), rewards)
    storage = algorithm.storage
    valid = storage.target_valid
    assert valid.sum() == valid.numel() - 1
    expected = ((storage.targets[valid] < -10.0) | (storage.targets[valid] > 10.0)).float().mean().item()
    log = algorithm.update()
    assert log["clipped_targets"] == pytest.approx(expected)
    assert (log["value_range_low"], log["value_range_high"]) == (-10.0, 10.0)


def test_automatic_range_is_chosen_from_the_first_rollout_and_holds_its_targets() -> None:
    algorithm = trudi("auto", 1000.0)
    gauss = algorithm.actor_critic.critic.hl_gauss
    low, high = initial_range(algorithm.storage.rewards, algorithm.cfg.gamma)
    assert gauss.vmin <= low and gauss.vmax >= high
    torch.testing.assert_close(algorithm.actor_critic.critic.zero_code.data, gauss.encode(torch.tensor(0.0)))
    assert algorithm.update()["clipped_targets"] <= MAX_CLIPPED_SHARE


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
