# SPDX-License-Identifier: BSD-3-Clause
"""TD(lambda) targets by hand, and that nothing leaks over a reset."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trudi_rsl.storage import td_lambda_targets

NAN = float("nan")
NONE, TERMINATED, TRUNCATED, TRUNCATED_UNKNOWN = range(4)
"""Ends of a row: none, a termination, a truncation with its final observation, one without."""


def targets(rewards: Tensor, next_values: Tensor, ends: Tensor, gamma: float = 0.5, lam: float = 0.5) -> Tensor:
    known = ends != TRUNCATED_UNKNOWN
    truncated = (ends == TRUNCATED) | ~known
    return td_lambda_targets(rewards, next_values, ends == TERMINATED, truncated, known, gamma, lam)


# rewards 1, 2, 3, 4 and next values 10, 20, 30, 40; gamma = lambda = 1/2; NaN stands for a dropped row
BY_HAND = {
    # 4 + 40/2;  3 + (24/2 + 30/2)/2;  2 + (16.5/2 + 20/2)/2;  1 + (11.125/2 + 10/2)/2
    "rollout boundary": ([NONE, NONE, NONE, NONE], [6.28125, 11.125, 16.5, 24.0]),
    # 2;  1 + (2/2 + 10/2)/2
    "termination": ([NONE, TERMINATED, NONE, NONE], [4.0, 2.0, 16.5, 24.0]),
    # 2 + 20/2;  1 + (12/2 + 10/2)/2
    "truncation with final observation": ([NONE, TRUNCATED, NONE, NONE], [6.5, 12.0, 16.5, 24.0]),
    # dropped;  1 + 10/2: the row before bootstraps from its own value
    "truncation without": ([NONE, TRUNCATED_UNKNOWN, NONE, NONE], [6.0, NAN, 16.5, 24.0]),
    "truncation without, in the first row": ([TRUNCATED_UNKNOWN, NONE, NONE, NONE], [NAN, 11.125, 16.5, 24.0]),
    # 3 + 30/2;  2 + (18/2 + 20/2)/2;  1 + (11.5/2 + 10/2)/2
    "truncation without, in the last row": ([NONE, NONE, NONE, TRUNCATED_UNKNOWN], [6.375, 11.5, 18.0, NAN]),
    # 4;  3 + (4/2 + 30/2)/2;  2 + (11.5/2 + 20/2)/2;  1 + (9.875/2 + 10/2)/2
    "termination in the last row": ([NONE, NONE, NONE, TERMINATED], [5.96875, 9.875, 11.5, 4.0]),
    # 1;  dropped;  3 + 30/2
    "termination before a truncation": ([TERMINATED, TRUNCATED_UNKNOWN, TRUNCATED, NONE], [1.0, NAN, 18.0, 24.0]),
}


def test_targets_of_episodes_by_hand_and_of_their_environment_only() -> None:
    ends, expected = (torch.tensor(columns).T for columns in zip(*BY_HAND.values(), strict=True))
    rewards = torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None].expand(ends.shape)
    kept = ends != TRUNCATED_UNKNOWN
    torch.testing.assert_close(targets(rewards, 10.0 * rewards, ends)[kept], expected[kept], rtol=0, atol=0)


ENDS = st.lists(st.sampled_from([NONE, NONE, TERMINATED, TRUNCATED, TRUNCATED_UNKNOWN]), min_size=2, max_size=8)


@given(ends=ENDS, replaced=st.integers(1, 8), seed=st.integers(0, 1000), data=st.data())
def test_values_after_a_reset_never_influence_earlier_rows(
    ends: list[int], replaced: int, seed: int, data: st.DataObject
) -> None:
    resets = [t for t, end in enumerate(ends) if end != NONE]
    if not resets:
        return
    t = data.draw(st.sampled_from(resets))
    torch.manual_seed(seed)
    rewards, next_values, kinds = torch.randn(len(ends), 1), torch.randn(len(ends), 1), torch.tensor(ends)[:, None]
    before = targets(rewards, next_values, kinds, gamma=0.9, lam=0.7)

    rewards[t + 1 :] = NAN
    next_values[t + 1 :] = NAN
    kinds[t + 1 :] = replaced % 4
    unknown = ends[t] == TRUNCATED_UNKNOWN
    if unknown:
        # without the final observation, the value of this row is that of the reset one
        next_values[t] = NAN
    after = targets(rewards, next_values, kinds, gamma=0.9, lam=0.7)
    last = t if unknown else t + 1
    kept = kinds[:last] != TRUNCATED_UNKNOWN
    torch.testing.assert_close(after[:last][kept], before[:last][kept], rtol=0, atol=0)


@given(ends=ENDS, seed=st.integers(0, 1000))
def test_lambda_zero_is_the_one_step_target(ends: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    rewards, next_values, kinds = torch.randn(len(ends), 1), torch.randn(len(ends), 1), torch.tensor(ends)[:, None]
    expected = rewards + 0.9 * next_values * (kinds != TERMINATED)
    kept = kinds != TRUNCATED_UNKNOWN
    torch.testing.assert_close(targets(rewards, next_values, kinds, 0.9, 0.0)[kept], expected[kept])


def test_lambda_one_is_the_discounted_return_with_one_bootstrap() -> None:
    rewards, next_values = torch.randn(6, 3), torch.randn(6, 3)
    discount = 0.9 ** torch.arange(7)[:, None]
    expected = (discount[:-1] * rewards).sum(0) + discount[-1] * next_values[-1]
    result = targets(rewards, next_values, torch.full((6, 3), NONE), 0.9, 1.0)
    torch.testing.assert_close(result[0], expected)
