# SPDX-License-Identifier: BSD-3-Clause
"""Bounds of a VecEnv's actions are its own or refused, never a part of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from trudi_rsl.environments.action_bounds import action_bounds
from trudi_rsl.errors import ConfigError


def bounds_of(**attributes: Any) -> list[list[float]]:
    """Return the bounds of an environment with two actions."""
    env: Any = SimpleNamespace(num_actions=2, **attributes)
    return [end.tolist() for end in action_bounds(env, None)]


@pytest.mark.parametrize("high", [3.0, [3.0, 3.0], torch.tensor([3.0]), np.full((5, 2), 3.0)], ids=str)
def test_one_number_or_one_per_action_is_taken(high: Any) -> None:
    assert bounds_of(action_low=-torch.ones(2), action_high=high) == [[-1.0, -1.0], [3.0, 3.0]]


@pytest.mark.parametrize(
    ("low", "high"),
    [(-torch.ones(3), torch.ones(3)), (-torch.ones(3), torch.ones(2)), (1.0, -1.0), ([-1.0, 1.0], [1.0, 1.0])],
    ids=["three", "three and two", "swapped", "empty range"],
)
def test_ends_that_do_not_fit_the_actions_are_refused(low: Any, high: Any) -> None:
    with pytest.raises(ConfigError, match="each of the 2 actions"):
        bounds_of(action_low=low, action_high=high)


@pytest.mark.parametrize("ends", [{"action_low": "left", "action_high": "right"}, {"action_low": -np.inf * np.ones(2)}])
def test_attributes_that_are_no_finite_bounds_are_replaced_with_a_warning(
    ends: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert bounds_of(**{"action_high": np.inf * np.ones(2)} | ends) == [[-1.0, -1.0], [1.0, 1.0]]
    assert "no finite action bounds" in caplog.text
