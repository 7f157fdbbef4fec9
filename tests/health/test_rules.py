# SPDX-License-Identifier: BSD-3-Clause
"""Each rule is violated by a training with its problem, and not by a healthy one."""

from __future__ import annotations

import contextvars
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.health.unhealthy_runs import HEALTHY_ITERATIONS, PROBLEMS, Trained, Unhealthy
from trudi_rsl.algorithms import TruDiCfg
from trudi_rsl.health import RULES, Finding, History, Watch, examine
from trudi_rsl.health.checkup import examine_run
from trudi_rsl.health.rules import MIN_KEPT
from trudi_rsl.health.simulator_rules import DRIFT_ITERATIONS

SETTINGS_OF_KL = {"kl_bound": 0.1, "learning_rate": 3e-4, "num_learning_epochs": 4, "num_mini_batches": 16}
PAGE = Path(__file__).resolve().parents[2] / "docs" / "health.md"


def history_of(run: Trained) -> History:
    """Return what the training logged, without its settings."""
    return History(np.arange(len(run.log)), {name: np.array([log[name] for log in run.log]) for name in run.log[0]})


@pytest.mark.slow
def test_a_healthy_training_warns_of_nothing(healthy: Trained) -> None:
    assert len(healthy.log) == HEALTHY_ITERATIONS >= max(problem.iterations for problem in PROBLEMS.values())
    assert healthy.warnings == []


@pytest.mark.slow
@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_a_violated_rule_warns_once_in_training_and_is_found_in_the_run(rule: str, unhealthy: Unhealthy) -> None:
    problem, run = PROBLEMS[rule], unhealthy(rule)
    assert [problem.message in warning for warning in run.warnings].count(True) == 1, run.warnings
    finding = examine_run(run.folder).findings[rule]
    assert problem.message in finding.what
    assert finding.since is not None and 0 <= finding.since < problem.iterations
    for name, value in re.findall(r"agent\.algorithm\.(\w+)=([^\s,;]+?)(?=[\s,;.]*(?:\s|$))", finding.remedy):
        # raises at a setting that does not exist or cannot have the value
        TruDiCfg(**{name: yaml.safe_load(value)})


@pytest.mark.slow
def test_a_rule_needs_all_of_its_scalars(healthy: Trained) -> None:
    history = history_of(healthy)
    for rule in RULES:
        for missing in rule.scalars:
            scalars = {name: values for name, values in history.scalars.items() if name != missing}
            assert str(rule.missing_data(History(history.iterations, scalars))).endswith("not logged")
            assert rule.find(History(history.iterations, scalars)) is None


def found_on_the_way(history: History) -> set[str]:
    """Return what is found after any of a history's iterations."""
    return {name for n in range(len(history)) for name in examine(until(history, n))}


def until(history: History, iteration: int) -> History:
    return history.select(history.iterations <= iteration)


def replaced(history: History, settings: dict[str, float] | None = None, **scalars: np.ndarray) -> History:
    return History(history.iterations, {**history.scalars, **scalars}, settings or {})


@pytest.mark.slow
@pytest.mark.parametrize("value", ["high", [0.1], {"a": 1}, float("nan"), -1, 0, True, None])
def test_impossible_settings_do_not_break_the_rules(healthy: Trained, value: object) -> None:
    history = history_of(healthy)
    everything = dict.fromkeys(TruDiCfg.__dataclass_fields__, value)
    bad = {"path_kl": 100.0, "action_saturation": 1.0, "critic_grad_norm": 0.0, "skipped_updates": 1.0}
    scalars = {name: np.full(len(history), bad[name]) if name in bad else v for name, v in history.scalars.items()}
    found = examine(History(history.iterations, scalars, everything))
    assert set(found) == {"saturated actions", "skipped updates"}


@pytest.mark.slow
def test_clipped_targets_in_the_first_iterations_alone_violate_nothing(healthy: Trained) -> None:
    history = history_of(healthy)
    clipped = history.scalars["clipped_targets"].copy()
    clipped[:3] = 0.5
    assert "clipped targets" not in found_on_the_way(replaced(history, clipped_targets=clipped))
    clipped[:10] = 0.5
    assert "clipped targets" in found_on_the_way(replaced(history, clipped_targets=clipped))


@pytest.mark.slow
def test_a_critic_is_dead_if_neither_its_gradient_nor_its_values_have_grown(
    healthy: Trained, unhealthy: Unhealthy
) -> None:
    def dead(history: History, **scalars: np.ndarray) -> bool:
        return "dead critic" in found_on_the_way(replaced(history, {"num_bins": 21}, **scalars))

    learning, stuck = history_of(healthy), history_of(unhealthy("dead critic"))
    nothing = np.zeros(len(learning))
    assert not dead(learning, q_mean=nothing)
    assert dead(learning, q_mean=nothing, critic_grad_norm=learning.scalars["critic_grad_norm"] / 20)
    assert dead(stuck) and not dead(stuck, q_mean=0.5 * stuck.scalars["value_range_high"])


@pytest.mark.slow
def test_a_kl_that_returns_to_its_bound_violates_nothing_however_fast_lambda_can_grow(healthy: Trained) -> None:
    history = history_of(healthy)
    fast = {"kl_bound": 0.1, "learning_rate": 1.0, "num_learning_epochs": 2, "num_mini_batches": 4}
    assert history.scalars["path_kl"].max() > 2.0 * fast["kl_bound"]
    assert "KL above eps" not in found_on_the_way(replaced(history, fast))
    assert "KL above eps" in found_on_the_way(replaced(history, fast | {"kl_bound": 0.001}))


def test_a_kl_far_above_its_bound_is_found_in_five_iterations_and_a_falling_one_is_not() -> None:
    def found(*path_kl: float) -> dict[str, Finding]:
        return examine(History(np.arange(len(path_kl)), {"path_kl": np.array(path_kl)}, SETTINGS_OF_KL))

    finding = found(0.11, 0.44, 0.83, 1.05, 1.27)["KL far above eps"]
    assert "1.27 nats, 13 times kl_bound = 0.1" in finding.what and finding.since == 3
    assert "agent.algorithm.learning_rate=0.0001" in finding.remedy
    assert found(0.12, 1.27, 1.05, 0.83, 0.75) == {}
    assert found(1.27, 1.27) == {}


def test_a_remedy_names_keys_of_the_runners_dict_where_no_command_runs() -> None:
    history = History(np.arange(5), {"path_kl": np.array([0.11, 0.44, 0.83, 1.05, 1.27])}, SETTINGS_OF_KL)
    remedy = contextvars.Context().run(examine, history)["KL far above eps"].remedy
    assert 'train_cfg["algorithm"]["learning_rate"] = 0.0001' in remedy
    assert "agent.algorithm" not in remedy


def test_a_kl_far_above_its_bound_is_one_finding_however_long_it_lasts() -> None:
    settings = {"kl_bound": 0.1, "learning_rate": 3e-4, "num_learning_epochs": 4, "num_mini_batches": 16}
    far = History(np.arange(400), {"path_kl": np.full(400, 1.27)}, settings)
    names = [[*examine(until(far, n))] for n in range(len(far))]
    assert all(len(found) == (n >= 2) for n, found in enumerate(names))
    assert names[5] == ["KL far above eps"] and names[-1] == ["KL above eps"]


@pytest.mark.slow
def test_a_falling_temperature_violates_the_rule_as_a_growing_one(unhealthy: Unhealthy) -> None:
    history = history_of(unhealthy("entropy target"))
    grown = examine(history)["entropy target"]
    target = history.scalars["entropy_target_per_dim"]
    alpha, entropy = 1.0 / history.scalars["alpha"], 2.0 * target - history.scalars["entropy_per_dim"]
    fallen = examine(replaced(history, alpha=alpha, entropy_per_dim=entropy))["entropy target"]
    assert grown.since == fallen.since
    assert "alpha grew" in grown.what and "alpha fell" in fallen.what


def drift_found_at(values: np.ndarray) -> list[int]:
    """Return after how many iterations a rollout's mean observations ``[n]`` are called a drift."""
    counts = np.arange(1, len(values) + 1)
    means = values.cumsum() / counts
    variances = np.maximum((values**2).cumsum() / counts - means**2, 0.0)
    # how far each value lies from the mean of all up to it, in their standard deviations
    shifts = np.abs(values - means) / (np.sqrt(variances) + 1e-2)
    history = History(np.arange(len(values)), {"observation_shift": shifts})
    return [n + 1 for n in range(len(values)) if "normaliser drift" in examine(until(history, n))]


@given(st.integers(1, 300), st.floats(-1e3, 1e3))
def test_observations_that_change_once_do_not_drift(change: int, size: float) -> None:
    values = np.random.default_rng(0).normal(size=400)
    values[change:] += size
    assert drift_found_at(values) == []


@given(st.sampled_from([1.0, 1.5, 2.0, 3.0]), st.floats(0.1, 1e3))
def test_growing_observations_drift_from_the_first_verdict_on(power: float, slope: float) -> None:
    values = slope * np.arange(200.0) ** power
    assert drift_found_at(values) == list(range(DRIFT_ITERATIONS, 201))


def test_the_health_page_explains_every_rule() -> None:
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", PAGE.read_text(), flags=re.MULTILINE)
    assert rows == [*(rule.name for rule in RULES), "damaged checkpoint", "non-finite weights"]


def test_the_last_iterations_are_kept_with_their_numbers_and_the_time_since_the_one_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.monotonic", itertools.count(10.0, 2.0).__next__)
    watch, total = Watch({}), 3 * MIN_KEPT + 10
    watch.observe({"q_mean": 0.0})
    assert np.isnan(watch.history.scalars["seconds"]).all()
    for iteration in range(1, total):
        watch.observe({"q_mean": iteration} | ({"late": 1.0} if iteration >= total - 5 else {}))
    history = watch.history
    assert MIN_KEPT <= len(history) <= 2 * MIN_KEPT
    assert history.iterations[-1] == total - 1
    np.testing.assert_array_equal(history.scalars["q_mean"], history.iterations)
    np.testing.assert_array_equal(history.scalars["seconds"], 2.0)
    np.testing.assert_array_equal(np.isfinite(history.scalars["late"]), history.iterations >= total - 5)
