# SPDX-License-Identifier: BSD-3-Clause
"""scripts/modes.py from the command line, on the built-in tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.evaluation.tiny_runs import train_tiny
from tests.scripts.running import ScriptHere, assert_pictures, run_script

TASK = "PlanarObstacle-v0"
ALGORITHMS = ("trudi", "reppo", "ppo", "fpo")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of some algorithms of each kind."""
    root = tmp_path_factory.mktemp("project")
    for algo in ALGORITHMS:
        train_tiny(algo, root / algo, TASK)
    return root


@pytest.fixture
def modes(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ScriptHere:
    return ScriptHere("modes.py", project, monkeypatch, capsys)


@pytest.mark.slow
def test_policies_of_all_kinds_get_a_row_and_files_that_agree(modes: ScriptHere, project: Path) -> None:
    output = modes("trudi", "reppo/model_1.pt", "ppo", "fpo", "--runs", "12", "--output", "out")
    for i, algo in enumerate(ALGORITHMS):
        stem = "modes" if i == 0 else f"modes_{i}"
        assert f"out/{stem}.json" in output
        stored = json.loads((project / "out" / f"{stem}.json").read_text())
        assert (stored["task"], stored["algorithm"], stored["num_runs"]) == (TASK, algo, 12)
        left, right = stored["counts"]["left"], stored["counts"]["right"]
        assert left + right + stored["failures"] == 12 == len(stored["runs"])
        assert stored["return_mean"] == pytest.approx(sum(run["return"] for run in stored["runs"]) / 12)
        # a Gaussian's mean from one start gives the same run every time, a chain from random latents does not
        assert (len({run["return"] for run in stored["runs"]}) == 1) == (algo in ("reppo", "ppo"))
        assert_pictures(project / "out" / stem)
    assert all(name in output for name in ("failed", "bits"))


def test_a_seed_makes_the_runs_repeatable_and_earlier_files_stay(modes: ScriptHere, project: Path) -> None:
    rows = []
    for seed in ("3", "3", "4"):
        modes("trudi", "--runs", "8", "--sampler", "sde", "--seed", seed)
        newest = max((project / "trudi").glob("modes*.json"), key=lambda path: path.stat().st_mtime_ns)
        rows.append(json.loads(newest.read_text())["runs"])
    assert rows[0] == rows[1] != rows[2]
    written = {path.name for path in (project / "trudi").glob("modes*.json")}
    assert written >= {"modes.json", "modes_1.json", "modes_2.json"}


@pytest.mark.slow
@pytest.mark.nightly
def test_push_t_trains_and_is_measured_as_a_user_does_it(tmp_path: Path) -> None:
    flags = ["--algo", "trudi", "--num_envs", "4", "--max_iterations", "2", "--headless"]
    small = ["agent.num_steps_per_env=8", "agent.algorithm.num_mini_batches=2"]
    trained = run_script("train.py", "--task", "PlanarPushT-v0", *flags, *small, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    (run,) = tmp_path.glob("logs/rsl_rl/planarpusht-v0/*")
    measured = run_script("modes.py", run, "--runs", "3", cwd=tmp_path)
    assert measured.returncode == 0, measured.stderr
    stored = json.loads((run / "modes.json").read_text())
    assert stored["counts"].keys() == {"counter-clockwise", "clockwise"}
    assert [row["length"] for row in stored["runs"]] == [150] * 3
    # 150 rewards, at the start 1/2 for the place of the block
    assert 0.0 < stored["return_mean"] < 150 * 1.05


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trudi/params"], "No checkpoint (model_*.pt) in trudi/params or below it."),
        (["trudi", "--runs", "0"], "Error: The number of runs must be at least 1, got 0."),
        (["reppo", "--score_scale", "0.5"], "a REPPO policy has no chain"),
    ],
)
def test_mistakes_are_reported_in_one_line(modes: ScriptHere, args: list[str], message: str) -> None:
    assert message in modes.error(*args)


def test_a_task_without_modes_is_refused_with_those_that_have_some(modes: ScriptHere, tmp_path: Path) -> None:
    message = modes.error(train_tiny("reppo", tmp_path / "pendulum"))
    assert "No behaviour modes are registered for task 'InvertedPendulum-v5', only for PlanarObstacle," in message
