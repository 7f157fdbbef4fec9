# SPDX-License-Identifier: BSD-3-Clause
"""A policy whose chains do not replay is refused before the trust region could act on rounding."""

from typing import Any

import pytest
import torch

from tests.algorithms.builders import actor_critic, gaussian_actor_critic
from trudi_rsl.algorithms.trust_region import replay_error, report_replay
from trudi_rsl.policies.base import Policy
from trudi_rsl.policies.diffusion import DiffusionPolicy
from trudi_rsl.settings import Precision

OBS = torch.linspace(-2.0, 2.0, 48).reshape(16, 3)
BOUND = 1e-3
"""Bound of the trust region; smaller than in training, since one step of rounding changes little."""


def check(policy: Policy, sample: Any, precision: Precision, bound: float) -> float:
    """Return a policy's replay error, or raise as in training."""
    error = replay_error(policy, OBS, sample, precision).item()
    report_replay(error, precision, bound, verbose=False)
    return error


rounded = torch.autocast("cpu", torch.bfloat16, cache_enabled=False)


@pytest.mark.parametrize("build", [lambda: actor_critic(perturbed=False), gaussian_actor_critic])
def test_decisions_sampled_and_replayed_in_float32_pass_and_leave_the_policy_unchanged(build: Any) -> None:
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check(model.actor, model.decide, "fp32", BOUND)
    torch.testing.assert_close(dict(model.state_dict()), before, rtol=0, atol=0)


def test_the_rounding_of_chains_stored_in_half_precision_is_part_of_the_error() -> None:
    policy = DiffusionPolicy(num_obs=3, num_actions=6, hidden_dims=[64, 64])
    exact = check(policy, policy.decide, "fp32", BOUND)
    policy.store_in_half()
    assert exact < 1e-9 < check(policy, policy.decide, "fp32", BOUND)


def test_chains_of_another_precision_than_their_replay_are_refused() -> None:
    policy = DiffusionPolicy(num_obs=3, num_actions=6, hidden_dims=[256, 256])
    with pytest.raises(RuntimeError, match=r"changes the policy by .* nats .*set_float32_matmul_precision"):
        check(policy, rounded(policy.decide), "fp32", BOUND)
    with pytest.raises(RuntimeError, match=r"changes the policy by .* nats .*=bf16.* Use fp32"):
        check(policy, policy.decide, "bf16", BOUND)
    # the policy's own last layer, near zero before the first update, would have let it pass
    assert policy.score_network.output_layer.weight.abs().max() < 1e-6

    gaussian = gaussian_actor_critic()
    with pytest.raises(RuntimeError, match=r"changes the policy by .* nats"):
        check(gaussian.actor, rounded(gaussian.decide), "fp32", BOUND)


def test_a_policy_that_is_not_finite_is_refused() -> None:
    model = actor_critic()
    with torch.no_grad():
        model.actor.raw_friction.fill_(torch.nan)
    with pytest.raises(RuntimeError, match="changes the policy by nan"):
        check(model.actor, model.decide, "fp32", BOUND)


def test_rounding_counts_relative_to_the_bound_and_is_returned() -> None:
    model = actor_critic()
    measured = check(model.actor, rounded(model.decide), "fp32", 1e3)
    assert measured > 1e-7, "bfloat16 rounds"
    check(model.actor, rounded(model.decide), "fp32", 101.0 * measured)
    with pytest.raises(RuntimeError, match=r"1% of algorithm\.kl_bound"):
        check(model.actor, rounded(model.decide), "fp32", 99.0 * measured)
