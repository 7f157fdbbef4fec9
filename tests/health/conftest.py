# SPDX-License-Identifier: BSD-3-Clause
"""Trainings that several tests read, each run once."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from tests.health.unhealthy_runs import HEALTHY_ITERATIONS, PROBLEMS, Trained, Unhealthy, train
from trudi_rsl.errors import settings_as_overrides


@pytest.fixture(autouse=True)
def as_in_a_command() -> Iterator[None]:
    with settings_as_overrides():
        yield


@pytest.fixture(scope="session")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train(tmp_path_factory.mktemp("runs") / "healthy", HEALTHY_ITERATIONS, learning_rate=1e-2)


@pytest.fixture(scope="session")
def unhealthy(tmp_path_factory: pytest.TempPathFactory) -> Unhealthy:
    def run(rule: str) -> Trained:
        problem, folder = PROBLEMS[rule], tmp_path_factory.mktemp("runs") / rule.replace(" ", "_")
        return train(folder, problem.iterations, problem.task, **problem.settings)

    return functools.cache(run)
