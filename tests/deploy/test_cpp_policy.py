# SPDX-License-Identifier: BSD-3-Clause
"""The C++ example returns the same actions for the same file, with the same safeguards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from tests.deploy.drift import changed, damaged
from tests.deploy.onnxruntime_root import make_root
from trudi_rsl.deploy import Policy

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).resolve().parents[2] / "exts" / "cpp_policy"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, built as its CMakeLists.txt says against a folder like an unpacked release of ONNX Runtime."""
    folder = make_root(tmp_path_factory.mktemp("cpp") / "onnxruntime")
    build = folder / "build"
    for command in (["-S", SOURCE, "-B", build, f"-DONNXRUNTIME_ROOT={folder}"], ["--build", build]):
        done = subprocess.run(["cmake", *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return build / "run_policy"


def run(program: Path, file: Path, obs: np.ndarray | list[list[float]]) -> tuple[int, np.ndarray, str]:
    """Return the exit code, the printed actions and the messages of a run."""
    lines = "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in obs)
    done = subprocess.run([program, file], input=lines, capture_output=True, text=True, check=False)
    actions = [[float(value) for value in line.split()] for line in done.stdout.splitlines()]
    return done.returncode, np.array(actions), done.stderr


def test_it_returns_the_runtimes_actions(program: Path, exported: Path, raw: Tensor) -> None:
    policy = Policy(exported)
    code, actions, messages = run(program, exported, raw.numpy())
    assert code == 0, messages
    np.testing.assert_allclose(actions, [policy(row) for row in raw.numpy()], rtol=1e-6, atol=1e-7)
    assert "held 0, clipped 0" in messages


def test_an_unusable_observation_holds_the_last_action_and_too_many_stop_it(program: Path, exported: Path) -> None:
    good, bad, infinite = [30.0] * 9, [30.0] * 3 + [float("nan")] * 6, [float("inf")] * 9
    code, actions, messages = run(program, exported, [good, bad, infinite, good])
    assert (code, len(actions)) == (0, 4)
    assert (actions == actions[0]).all()
    assert "held 2" in messages
    code, actions, messages = run(program, exported, [good] + [bad] * 6)
    assert (code, len(actions)) == (1, 6), "five are held"
    assert "Unusable observation for 6 step(s) in a row" in messages
    assert run(program, exported, [bad])[0] == 1


def test_non_finite_actions_and_observations_of_another_length_are_refused(
    program: Path, exported: Path, tmp_path: Path
) -> None:
    code, actions, _ = run(program, damaged(exported, tmp_path), [[30.0] * 9])
    assert (code, len(actions)) == (1, 0)
    code, _, messages = run(program, exported, [[1.0, 2.0]])
    assert code == 1
    assert "The observation has 2 numbers instead of 9" in messages


def test_actions_beyond_the_bounds_are_clipped_and_counted(program: Path, exported: Path, tmp_path: Path) -> None:
    obs = [[30.0] * 9]
    _, (action,), _ = run(program, exported, obs)
    low, high = action + np.array([0.0, 1.0, -0.2]), action + np.array([1.0, 2.0, -0.1])
    file = changed(exported, tmp_path, action_low=low.tolist(), action_high=high.tolist())
    _, (clipped,), messages = run(program, file, obs)
    np.testing.assert_allclose(clipped, action + np.array([0.0, 1.0, -0.1]), rtol=1e-6)
    assert "clipped 1" in messages
