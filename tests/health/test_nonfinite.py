# SPDX-License-Identifier: BSD-3-Clause
"""Findings about NaN and infinity, and the other rules in runs with skipped updates."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.algorithms.faulty_host import Faulty
from tests.health.test_rules import found_on_the_way, history_of
from tests.health.unhealthy_runs import Unhealthy, train
from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.errors import NonFiniteError
from trudi_rsl.health import History, examine
from trudi_rsl.health.checkup import examine_run
from trudi_rsl.health.history import ALWAYS_LOGGED
from trudi_rsl.health.simulator_rules import SETTLING, SPEED_WINDOW
from trudi_rsl.runners import OnPolicyRunner

INFINITE_GRADIENTS = {
    "rewards": ({"scale": 1e30}, {}, r"actor_grad_norm; .* [\d.]+e\+30, is in t", "scale the task's rewards"),
    "temperature": ({}, {"init_alpha": 1e38}, r"actor_grad_norm, td_error; .* targets\.", "earlier checkpoint with"),
    "learning rate": ({}, {"learning_rate": 9.0, "value_range": [-15, 15]}, "actor_grad_norm; ", "learning_rate=3, or"),
}
"""What is too large, to the task's options, settings, the cause in the finding, and its remedy."""


@pytest.mark.slow
@pytest.mark.parametrize(("task", "settings", "cause", "remedy"), INFINITE_GRADIENTS.values(), ids=INFINITE_GRADIENTS)
def test_gradients_that_ended_training_are_explained_with_a_remedy(
    task: dict[str, Any], settings: dict[str, Any], cause: str, remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(NonFiniteError, match="5 iterations in a row"):
        train(tmp_path / "run", 30, task, **settings)
    finding = examine_run(tmp_path / "run").findings["skipped updates"]
    # the last iteration was not logged any more
    assert finding.what.startswith("4 of the last ") and ": 4 for a gradient that was NaN or infinite." in finding.what
    assert re.search(rf"skipped_update_1\.pt: not finite were (actor, )?{cause}", finding.what)
    assert re.search(remedy, finding.remedy)


@pytest.mark.slow
def test_a_value_range_prevents_the_skipped_updates_that_it_is_recommended_for(tmp_path: Path) -> None:
    run = train(tmp_path / "run", 6, {"scale": 1e30}, value_range=[-15.0, 15.0])
    assert "skipped updates" not in examine_run(run.folder).findings


def faulty_env(at: int) -> Faulty:
    """Return an environment that gives NaN in most environments from a step on, whatever resets them."""
    env = Faulty(4, at=at)
    env._reset_idx = lambda ids: None
    return env


@pytest.mark.slow
def test_skipped_rollouts_are_counted_and_point_to_the_simulator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    OnPolicyRunner(faulty_env(at=7), runner_cfg(max_skipped_updates=10), str(tmp_path)).learn(6)
    assert capsys.readouterr().out.count("3 of the last 4 updates were skipped") == 1
    checkup = examine_run(tmp_path)
    assert (checkup.num_iterations, [*checkup.findings]) == (6, ["skipped updates"])
    finding = checkup.findings["skipped updates"]
    assert finding.since == 1
    # from the first rollout's last observation on: 6 of 7, and all of its 6 rewards
    assert finding.what == (
        "5 of the last 6 updates were skipped: 5 because more than half of the rollout was NaN or infinite. "
        "The first one, in skipped_update_1.pt: 4 environments returned NaN or infinity, in 86 % of their observations "
        "and 100 % of their rewards."
    )
    assert "env.sim.dt" in finding.remedy and "learning_rate" not in finding.remedy


@pytest.mark.slow
def test_a_run_without_any_update_is_examined(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError):
        OnPolicyRunner(faulty_env(at=1), runner_cfg(), str(tmp_path)).learn(8)
    checkup = examine_run(tmp_path)
    assert (checkup.num_iterations, [*checkup.findings]) == (4, ["skipped updates"])
    assert checkup.judged == ["skipped updates", "faulty environments", "checkpoints"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"cause": {"minibatch": {"x": torch.zeros(2)}, "not_finite": 3}}, "contradicts itself"),
        ({"cause": {"rollout": [1]}}, "contradicts itself"),
        ({}, "contradicts itself"),
        ({"cause": contextlib.nullcontext}, "nullcontext"),
        (None, "damaged or only half there"),
    ],
    ids=["numbers", "list", "empty", "code", "damaged"],
)
def test_a_foreign_skipped_update_is_listed_as_not_read(
    content: Any, why: str, unhealthy: Unhealthy, tmp_path: Path
) -> None:
    whole = unhealthy("skipped updates").folder
    shutil.copytree(whole, tmp_path / "run")
    file = tmp_path / "run" / "skipped_update_1.pt"
    if content is None:
        file.write_bytes(file.read_bytes()[:-100])
    else:
        torch.save(content, file)
    checkup, readable = examine_run(tmp_path / "run"), examine_run(whole)
    described = readable.findings["skipped updates"].what
    assert checkup.findings["skipped updates"].what == described.partition(" The first one")[0] != described
    assert why in checkup.not_read["skipped_update_1.pt"]
    assert len(str(checkup).splitlines()) == len(str(readable).splitlines()) + 1


def logged(iterations: int, at: Sequence[int], name: str) -> History:
    """Return a history in which a count is 1 at some iterations and 0 at others, and losses were logged in all."""
    counts = {"skipped_updates": np.zeros(iterations), "nonfinite_envs": np.zeros(iterations)}
    counts[name][list(at)] = 1.0
    return History(np.arange(iterations), {"path_kl": np.ones(iterations), **counts})


@pytest.mark.parametrize(
    ("name", "rule"), [("skipped_updates", "skipped updates"), ("nonfinite_envs", "faulty environments")]
)
def test_three_faults_in_20_iterations_violate_a_rule_and_are_one_series_if_less_than_20_apart(
    name: str, rule: str
) -> None:
    assert found_on_the_way(logged(200, range(0, 200, 10), name)) == set()
    assert found_on_the_way(logged(200, [50, 51, 70], name)) == set()
    assert found_on_the_way(logged(200, [50, 51, 69], name)) == {rule}
    assert examine(logged(71, [50, 51, 69], name)) == {}
    assert examine(logged(70, [20, 39, 55, 60, 69], name))[rule].since == 20
    assert examine(logged(70, [20, 40, 55, 60, 69], name))[rule].since == 40


def interrupted(history: History) -> History:
    """Return a history with an iteration without an update after every second one."""
    after = np.arange(2, len(history), 2)
    scalars = {}
    for name, values in history.scalars.items():
        at_skips = {"skipped_updates": 1.0, "nonfinite_envs": 4.0}.get(name, np.nan)
        scalars[name] = np.insert(values, after, at_skips)
    return History(np.arange(len(history) + len(after)), scalars, history.settings)


@pytest.mark.slow
def test_iterations_without_an_update_neither_hide_nor_cause_a_finding(unhealthy: Unhealthy) -> None:
    history = history_of(unhealthy("clipped targets"))
    assert {*examine(history)} == {"clipped targets"}
    assert {*examine(interrupted(history))} == {"clipped targets", "skipped updates"}


def test_iterations_without_an_update_do_not_count_for_throughput() -> None:
    seconds = np.r_[np.full(SETTLING + SPEED_WINDOW, 1.0), np.full(2 * SPEED_WINDOW, 3.0)]
    skipped = (seconds == 1.0).astype(float)
    learned = np.where(skipped > 0, np.nan, 0.1)
    scalars = {"seconds": seconds, "skipped_updates": skipped, "nonfinite_envs": 4.0 * skipped, "path_kl": learned}
    assert {*scalars} - {*ALWAYS_LOGGED} == {"path_kl"}
    assert examine(History(np.arange(len(seconds)), scalars)) == {}
    made = scalars | {"path_kl": np.full(len(seconds), 0.1)}
    assert [*examine(History(np.arange(len(seconds)), made))] == ["throughput"]
