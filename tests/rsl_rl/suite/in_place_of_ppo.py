# SPDX-License-Identifier: BSD-3-Clause
"""A pytest plugin that runs RSL-RL's own test suite with TruDi in the place of PPO.

The suite selects its algorithm in two places: the runner configuration of ``tests/runners`` and the class that
``tests/algorithms/test_ppo.py`` imports. Both are changed in the suite's modules; RSL-RL itself stays as it is. All
other tests run as they are, beside a loaded TruDi.

The nox session ``rsl_rl_suite`` fetches the suite and runs it. A test that fails and is not in :data:`EXPECTED` fails
the session, and so does one that is in it and passes.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import pytest

from trudi_rsl.algorithms import TruDi
from trudi_rsl.policies import ActorCritic

_GAE = "generalised advantages of a state-value critic; TruDi has TD(lambda) targets of a Q critic"
_BOOTSTRAP = "PPO adds the value before the step to the reward of a time limit; TruDi bootstraps from the last state"
_KL_SCHEDULE = "PPO's learning rate follows desired_kl; TruDi bounds the KL itself, and its learning rate is constant"

EXPECTED = {
    **dict.fromkeys(
        (
            "test_ppo.py::TestGAEComputation::test_gae_returns_hand_computed",
            "test_ppo.py::TestGAEComputation::test_gae_terminal_state_cuts_bootstrap",
            "test_ppo.py::TestGAEComputation::test_advantage_normalization_global",
        ),
        _GAE,
    ),
    "test_ppo.py::TestTimeoutBootstrapping::test_timeout_adds_bootstrap_to_reward": _BOOTSTRAP,
    **dict.fromkeys(
        (
            "test_ppo.py::TestAdaptiveLearningRate::test_lr_decreases_when_kl_too_high",
            "test_ppo.py::TestAdaptiveLearningRate::test_lr_increases_when_kl_too_low",
            "test_ppo.py::TestAdaptiveLearningRate::test_lr_unchanged_in_stable_range",
        ),
        _KL_SCHEDULE,
    ),
}
"""Tests that fail with TruDi, by file, class and name, and why: PPO's internals, and what TruDi does not have."""


class InPlaceOfPPO(TruDi):
    """TruDi with the names under which the suite reads PPO's models."""

    @property
    def actor(self) -> ActorCritic[Any]:
        """What acts on observation groups."""
        return self.actor_critic

    @property
    def critic(self) -> Any:
        """The Q critic."""
        return self.actor_critic.critic


@pytest.fixture(autouse=True)
def _swap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Select TruDi where the test's module selects PPO."""
    module: ModuleType = request.module
    if (make_cfg := getattr(module, "_make_train_cfg", None)) is not None:

        @functools.wraps(make_cfg)
        def swapped_cfg(*args: Any, **kwargs: Any) -> dict[str, Any]:
            cfg = make_cfg(*args, **kwargs)
            # compiling takes a minute, which the project's own tests spend
            cfg["algorithm"] |= {"class_name": InPlaceOfPPO, "compile": "off"}
            return cfg

        monkeypatch.setattr(module, "_make_train_cfg", swapped_cfg)
    elif module.__name__.endswith("test_ppo"):
        monkeypatch.setattr(module, "PPO", InPlaceOfPPO)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the expected failures.

    Raises:
        UsageError: If the suite does not have one of them, so that the list is of another version.
    """
    found = {item.nodeid.rpartition("/")[2]: item for item in items}
    if unknown := EXPECTED.keys() - found.keys():
        raise pytest.UsageError(f"RSL-RL's suite has no {', '.join(sorted(unknown))}.")
    for name, reason in EXPECTED.items():
        found[name].add_marker(pytest.mark.xfail(reason=reason, strict=True))
