# SPDX-License-Identifier: BSD-3-Clause
"""The example of docs/your_own_simulator.md, installed as a package of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.hosts.own_host import EXAMPLE, write_metadata
from tests.scripts.running import SCRIPTS
from trudi_rsl.hosts.registry import GROUP

SMALL = ["--num_envs", "8", "agent.num_steps_per_env=32", "agent.algorithm.num_mini_batches=4"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the example's metadata and a trained run."""
    folder = tmp_path_factory.mktemp("own_host")
    entries = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    write_metadata(folder / "site", "point_mass_host", entries)
    run(folder, "train.py", "--task", "PointMass-v0", *SMALL, "--max_iterations", "2", "env.drag=0.5")
    return folder


def run(folder: Path, script: str, *arguments: str, status: int = 0) -> str:
    """Run a script where the example is installed and return what it prints."""
    path = os.pathsep.join([str(folder / "site"), str(EXAMPLE / "src"), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, SCRIPTS / script, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


@pytest.mark.slow
def test_a_host_of_another_package_trains_plays_resumes_evaluates_and_exports(folder: Path) -> None:
    [checkpoint] = folder.glob("logs/rsl_rl/pointmass-v0/*/model_1.pt")
    assert "drag: 0.5" in (checkpoint.parent / "params" / "env.yaml").read_text()
    assert "PointMass-v0, trudi" in run(folder, "play.py", "--task", "point_mass:PointMass-v0", "--episodes", "4")
    assert "PointMass-v0" in run(folder, "evaluate.py", str(checkpoint), "--episodes", "4", "--by_task", "env.drag=0.1")
    resumed = run(folder, "train.py", "--task", "PointMass-v0", "--more_iterations", "1", "--resume")
    assert str(checkpoint.relative_to(folder)) in resumed
    run(folder, "export.py", "--checkpoint", str(checkpoint))
    assert (checkpoint.parent / "exported" / "policy.onnx").is_file()


@pytest.mark.slow
def test_mistakes_in_the_settings_of_another_packages_host_are_one_line(folder: Path) -> None:
    train = ["train.py", "--task", "PointMass-v0"]
    for arguments, words in (
        (["env.drug=1"], "Did you mean 'drag'"),
        (["env.drag=low"], "env.drag must be a number; got low."),
        (["--algo", "spo"], "no presets for 'spo', only for: ppo, trudi"),
    ):
        line = run(folder, *train, *arguments, status=2)
        assert words in line and line.count("\n") == 1
