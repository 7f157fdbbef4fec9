# SPDX-License-Identifier: BSD-3-Clause
"""Learning curves show what a run logged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.tiny_runs import write_run
from trudi_rsl.config.event_file import Run, RunError, read_run
from trudi_rsl.evaluation.episodes import MEAN_RETURN
from trudi_rsl.evaluation.learning_curves import RETURN_TAG, TAGS, draw_learning_curves, labels, learning_curve_figure


def read(folder: Path, points: dict[str, dict[int, float]], with_params: bool = True) -> Run:
    return read_run(write_run(folder, points, with_params), TAGS)


def test_a_run_reads_back_as_logged_with_steps_counted_at_the_end_of_each_iteration(tmp_path: Path) -> None:
    points = {RETURN_TAG: {2: -1.5, 3: 0.25, 10: 8.0}, "TrustRegion/path_kl": {0: 0.5}, "Loss/other": {0: 1.0}}
    run = read(tmp_path / "run", points)
    iterations, values = run.scalars[RETURN_TAG]
    assert run.name == "run"
    assert iterations.tolist() == [2, 3, 10]
    assert values.tolist() == [-1.5, 0.25, 8.0]
    assert run.env_steps(iterations).tolist() == [3 * 128, 4 * 128, 11 * 128]
    assert run.kl_bound == 0.25
    assert set(run.scalars) == {RETURN_TAG, "TrustRegion/path_kl"}


def test_scalars_that_earlier_versions_and_rsl_rl_log_as_losses_are_found_under_their_present_names(
    tmp_path: Path,
) -> None:
    run = read(tmp_path, {"Loss/path_kl": {0: 0.5}, "Loss/critic": {0: 2.0}})
    assert run.scalars["TrustRegion/path_kl"][1].tolist() == [0.5]
    assert read_run(tmp_path, ["Loss/path_kl", "Loss/critic"]).scalars.keys() == {"Loss/path_kl", "Loss/critic"}


def test_long_runs_keep_every_point(tmp_path: Path) -> None:
    num_points = 12_000  # TensorBoard's own default keeps 10,000
    run = read(tmp_path, {RETURN_TAG: dict.fromkeys(range(num_points), 0.0)})
    assert len(run.scalars[RETURN_TAG][0]) == num_points


def test_panels_appear_where_logged_and_runs_overlay(tmp_path: Path) -> None:
    returns = {i: float(i) for i in range(5)}
    trudi, ppo = read(tmp_path / "trudi", dict.fromkeys(TAGS, returns)), read(tmp_path / "ppo", {RETURN_TAG: returns})
    assert [len(learning_curve_figure(runs).axes) for runs in ([ppo], [trudi, ppo])] == [1, 4]


def test_curves_are_the_points_of_the_events(tmp_path: Path) -> None:
    points = {RETURN_TAG: {1: 5.0, 4: 7.0}, "Loss/path_kl": {0: 0.1, 1: 0.2}}
    runs = [read(tmp_path / name, points) for name in ("a", "b")]
    top, kl = learning_curve_figure(runs).axes
    for line in top.get_lines():
        assert np.array_equal(line.get_xydata(), [[256.0, 5.0], [640.0, 7.0]])
    assert [line.get_label() for line in top.get_lines()] == ["a", "b"]
    assert top.get_legend() is not None
    assert np.array_equal(kl.get_lines()[0].get_ydata(), np.array([0.1, 0.2], dtype=np.float32))
    assert kl.get_lines()[2].get_ydata() == [0.25, 0.25]
    assert top.get_xlabel() == "Environment steps"


def test_runs_are_labelled_by_algorithm_and_seed_and_by_their_names_where_these_are_equal() -> None:
    def run(name: str, seed: int | None, **settings: str) -> Run:
        return Run(name, {}, None, None, settings, seed)

    trudi, ppo = {"class_name": "trudi_rsl.algorithms:TruDi"}, {"class_name": "PPO"}
    runs = [run("a", 1, **trudi), run("b", 1, **trudi), run("c", 2, **trudi), run("d", 1, **ppo), run("e", None)]
    runs.append(run("f", 1, **trudi, actor="gaussian"))
    found = labels(runs)
    assert found[:3] == ["TruDi, seed 1 (a)", "TruDi, seed 1 (b)", "TruDi, seed 2"]
    assert found[3:] == ["PPO, seed 1", "e", "REPPO, seed 1"]


def test_evaluations_are_points_in_the_colour_of_their_run(tmp_path: Path) -> None:
    points = {RETURN_TAG: {1: 5.0, 4: 7.0}}
    evaluated = points | {MEAN_RETURN: {0: 1.0, 4: 9.0}}
    runs = [read(tmp_path / "evaluated", evaluated), read(tmp_path / "not", points)]
    curve, other, evaluations, key = learning_curve_figure(runs).axes[0].get_lines()
    assert np.array_equal(evaluations.get_xydata(), [[128.0, 1.0], [640.0, 9.0]])
    assert evaluations.get_linestyle() == "None"
    assert evaluations.get_color() == curve.get_color() != other.get_color()
    assert key.get_label() == "without exploration"


def test_runs_without_saved_settings_are_drawn_over_iterations(tmp_path: Path) -> None:
    points = {RETURN_TAG: {1: 5.0, 2: 6.0}}
    known, stock = read(tmp_path / "known", points), read(tmp_path / "stock", points, with_params=False)
    (top,) = learning_curve_figure([known, stock]).axes
    assert top.get_xlabel() == "Iteration"
    assert all(np.array_equal(line.get_xdata(), [1, 2]) for line in top.get_lines())
    with pytest.raises(RunError, match=r"stock .*environment steps"):
        stock.env_steps(np.arange(2))


@pytest.mark.parametrize("env_settings", ["num_envs: 4\n", "viewer: !!python/tuple [1, 2]\n", "a: [\n"])
def test_settings_that_another_program_saved_do_not_stop_the_drawing(tmp_path: Path, env_settings: str) -> None:
    folder = write_run(tmp_path, {RETURN_TAG: {0: 1.0}})
    (folder / "params" / "env.yaml").write_text(env_settings)
    assert read_run(folder, TAGS).steps_per_iteration is None


def test_folders_with_nothing_to_draw_and_pictures_of_an_unknown_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No run folder at"):
        read_run(tmp_path / "none", TAGS)
    with pytest.raises(RunError, match="holds no TensorBoard events"):
        read_run(tmp_path, TAGS)
    young = read(tmp_path / "young", {"Loss/path_kl": {0: 0.1}})
    with pytest.raises(RunError, match="young: no Train/mean_reward logged"):
        draw_learning_curves([young], tmp_path / "x.png")
    with pytest.raises(RunError, match=r"must end in .png, .pdf or .svg, not 'x.txt'"):
        draw_learning_curves([young], tmp_path / "x.txt")
