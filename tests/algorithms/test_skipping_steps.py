# SPDX-License-Identifier: BSD-3-Clause
"""PPO's optimisers in their fused form, which reads nothing on the host: the same steps, and none after a NaN."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from trudi_rsl.algorithms.skipping_steps import MAX_LEARNING_RATE, MIN_LEARNING_RATE, SkippingSteps

RATE = 1e-3


def stepped(kind: Any, fuses: bool, norms: list[float]) -> tuple[nn.Linear, Any, SkippingSteps]:
    """Return a layer after one step per gradient norm, its optimiser, and the steps."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    optimizer = kind(layer.parameters(), lr=0.5)
    steps = SkippingSteps([optimizer], fuses)
    steps.start(RATE)
    for norm in norms:
        for parameter in layer.parameters():
            parameter.grad = torch.randn_like(parameter) * (1.0 if norm == norm else torch.nan)
        steps.step(torch.tensor([norm, 1.0]))
    return layer, optimizer, steps


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_fused_steps_are_those_of_the_stock_optimiser(kind: Any) -> None:
    (fused, *_), (stock, *_) = (stepped(kind, fuses, [1.0] * 5) for fuses in (True, False))
    torch.testing.assert_close(fused.state_dict(), stock.state_dict(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("fuses", [True, False])
def test_after_a_gradient_that_is_not_finite_nothing_changes_until_the_next_start(fuses: bool) -> None:
    once, optimizer_once, _ = stepped(torch.optim.Adam, fuses, [1.0])
    layer, optimizer, steps = stepped(torch.optim.Adam, fuses, [1.0, torch.nan, 1.0])
    torch.testing.assert_close(layer.state_dict(), once.state_dict(), rtol=0, atol=0)
    assert [float(s["step"]) for s in optimizer.state.values()] == [1.0, 1.0]
    assert steps.skips == 1.0
    steps.adapt(torch.tensor(1.0), desired_kl=0.01)
    assert steps.rate == RATE, "the learning rate stays as well"
    steps.start(RATE)
    steps.step(torch.ones(1))
    assert not torch.equal(layer.weight, once.weight)
    del optimizer_once


def test_a_veto_skips_all_steps() -> None:
    layer, _, steps = stepped(torch.optim.Adam, True, [])
    before = copy.deepcopy(layer.state_dict())
    steps.start(RATE, torch.tensor(True))
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    steps.step(torch.ones(1))
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


def test_the_learning_rate_adapts_as_rsl_rls_does() -> None:
    _, optimizer, steps = stepped(torch.optim.Adam, False, [])
    expected = RATE
    for kl in (0.03, 0.03, 0.001, 0.001, 0.001, 0.01, 0.0, *[0.03] * 20, *[0.001] * 30):
        steps.adapt(torch.tensor(kl), desired_kl=0.01)
        if kl > 0.02:
            expected = max(MIN_LEARNING_RATE, expected / 1.5)
        elif 0.0 < kl < 0.005:
            expected = min(MAX_LEARNING_RATE, expected * 1.5)
        assert steps.rate.item() == optimizer.param_groups[0]["lr"] == expected


def test_a_checkpoint_of_a_cpu_takes_the_options_of_the_device() -> None:
    _, stock, _ = stepped(torch.optim.Adam, False, [1.0])
    _, _, steps = stepped(torch.optim.Adam, True, [])
    saved = {"optimizer_state_dict": stock.state_dict(), "iter": 3}
    loaded = steps.with_options(saved)
    assert loaded["optimizer_state_dict"]["param_groups"][0]["fused"] and loaded["iter"] == 3
    assert not saved["optimizer_state_dict"]["param_groups"][0]["fused"]
