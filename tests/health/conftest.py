# SPDX-License-Identifier: BSD-3-Clause
"""The trainings that several tests of this folder read, each trained once."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from tests.health.ill_runs import HEALTHY_ITERATIONS, ILLNESSES, Trained, train


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("runs") / "healthy", HEALTHY_ITERATIONS)


@pytest.fixture(scope="session")
def ill(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """Return the training that a rule finds ill."""
    return functools.cache(lambda rule: ILLNESSES[rule].train(tmp_path_factory.mktemp("runs") / rule.replace(" ", "_")))
