# SPDX-License-Identifier: BSD-3-Clause
"""The normalisers that force no GPU sync have the statistics of RSL-RL's, bit for bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from trudi_rsl.policies.normalization import RewardNormalization, replace_normalizer
from trudi_rsl.rsl_rl_compat.models import EmpiricalNormalization
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE

NUM_ENVS = 6


def test_observations_are_normalised_as_by_rsl_rl_until_the_limit() -> None:
    holder = nn.Module()
    holder.normalizer = stock = EmpiricalNormalization([3], until=4 * NUM_ENVS)
    replace_normalizer(holder, "normalizer")
    own = holder.normalizer
    assert own is not stock
    torch.manual_seed(0)
    for step in range(8):
        x = 5.0 * torch.randn(NUM_ENVS, 3)
        stock.update(x)
        own.update(x)
        assert torch.equal(own(x), stock(x)), step
    assert own.state_dict()["count"] == stock.state_dict()["count"] == 4 * NUM_ENVS


@pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3 has its extensions in the runner")
def test_rewards_are_normalised_as_by_rsl_rl() -> None:
    from rsl_rl.modules import EmpiricalDiscountedVariationNormalization

    stock = EmpiricalDiscountedVariationNormalization([], until=4 * NUM_ENVS)
    own = RewardNormalization(copy.deepcopy(stock))
    torch.manual_seed(0)
    constant = torch.ones(NUM_ENVS)
    assert torch.equal(own(constant), constant), "a deviation of 0 divides nothing"
    assert torch.equal(stock(constant), constant)
    for step in range(8):
        own.train(step != 2)
        stock.train(step != 2)
        rewards = torch.rand(NUM_ENVS)
        assert torch.equal(own(rewards), stock(rewards)), step
    assert own.state_dict().keys() == stock.state_dict().keys()
