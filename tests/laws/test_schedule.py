# SPDX-License-Identifier: BSD-3-Clause
"""The noise schedule against the published numbers and its limits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trudi_rsl.diffusion.schedule import MIN_WEIGHT, cosine_weights, step_sizes
from trudi_rsl.policies.diffusion import DiffusionPolicy


def test_weights_and_sigmas_of_8_steps_are_the_published_ones() -> None:
    weights = torch.tensor([0.9998, 0.9577, 0.8470, 0.6844, 0.4943, 0.3050, 0.1451, 0.0384], dtype=torch.float64)
    torch.testing.assert_close(cosine_weights(8), weights, rtol=0, atol=5.1e-5)
    published = torch.tensor([0.500, 0.489, 0.460, 0.414, 0.352, 0.276, 0.191, 0.098])
    sigmas = (2.0 * DiffusionPolicy(1, 1, num_steps=8, hidden_dims=[2]).step_sizes()[:, 0]).sqrt()
    # one unit of the last digit, since sqrt(2 * 0.1451 / 8) = 0.19046 is published as 0.191
    torch.testing.assert_close(sigmas, published, rtol=0, atol=1e-3)


@given(st.integers(1, 300))
def test_weights_fall_from_one_towards_the_floor(num_steps: int) -> None:
    weights = cosine_weights(num_steps)
    assert weights.shape == (num_steps,)
    assert 0.999 < weights[0] <= 1.0
    assert (weights.diff() < 0).all()
    assert (weights > MIN_WEIGHT).all()


def test_step_sizes_fall_inversely_with_friction_and_step_count() -> None:
    weights = cosine_weights(4)
    steps = step_sizes(weights, torch.tensor([1.0, 2.0], dtype=torch.float64))
    torch.testing.assert_close(steps[:, 0], weights / 4)
    torch.testing.assert_close(steps[:, 1], weights / 8)


@pytest.mark.parametrize("friction", [0.1, 1.0, 5.0])
def test_friction_starts_at_its_configured_value(friction: float) -> None:
    policy = DiffusionPolicy(1, 3, init_friction=friction, hidden_dims=[2])
    torch.testing.assert_close(policy.friction(), torch.full((3,), friction))


@pytest.mark.parametrize("num_steps", [0, -3])
def test_fewer_than_one_step_is_refused(num_steps: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, got {num_steps}"):
        cosine_weights(num_steps)
