# SPDX-License-Identifier: BSD-3-Clause
"""The costs on a GPU that is not there, in a process of its own, as the library for it is loaded before torch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from results import Results

ROOT = Path(__file__).parents[2]
NUM_ENVS, WEIGHTS = 64, 5 * 8 + 8 * 8 + 8 * 8 + 8 * 6
"""Environments of the quick run, and multiplications of its Gaussian actor per environment."""


@pytest.mark.nightly
def test_products_and_fused_kernels_of_gaussian_actions_are_counted(tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "source"), str(ROOT)))}
    command = [sys.executable, "benchmarks/cost_model.py", "--quick", "--subjects", "REPPO", "--output", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    found = Results(tmp_path).read("cost_model")["subjects"]["REPPO"]
    assert found["sampling"]["gflop"] * 1e9 == pytest.approx(2 * NUM_ENVS * WEIGHTS)
    assert found["sampling"]["kernels"] < 25, "31 operations one by one"
    assert found["iteration"]["ms_tf32"] > found["update"]["ms_tf32"] > 4 * 2 * found["minibatch"]["ms_tf32"]
