# SPDX-License-Identifier: BSD-3-Clause
"""A wheel in a fresh environment runs the quick start, one command after the other, without git or a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.hosts.environments import PACKAGE, install

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
TASK = "InvertedPendulum-v5"
RUNS = f"logs/rsl_rl/{TASK.lower()}"
SMALL = "--device cpu --num_envs 4 agent.num_steps_per_env=16 agent.algorithm.num_mini_batches=2"
SMALL += " agent.algorithm.actor_hidden_dims=[16,16] agent.algorithm.critic_hidden_dim=16 agent.evaluation_episodes=1"
QUICK_START = f"""
trudi --help
trudi tasks pendulum
trudi demo --episodes 5
trudi train --task {TASK} --seed 1 --max_iterations 2 {SMALL}
trudi train --task {TASK} --resume --max_iterations 4 {SMALL}
trudi play --task {TASK} --episodes 2
trudi export --checkpoint {RUNS}
trudi latency {RUNS} --calls 100
trudi plot {RUNS}
trudi doctor {RUNS}
trudi evaluate {RUNS} --episodes 2
trudi chains --checkpoint {RUNS} --num_paths 50
python -m trudi_rsl play --checkpoint {RUNS} --every_checkpoint --episodes 1
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and the packages of the running one behind it."""
    folder = tmp_path_factory.mktemp("fresh") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    install(Path(sys.executable), ROOT, site, PACKAGE)
    # torch is gigabytes, so it is borrowed; this checkout, if the running environment has it, comes after the wheel
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    script = folder / "bin" / "trudi"
    script.write_text(f"#!{folder / 'bin' / 'python'}\n" + (site / "bin" / "trudi").read_text().partition("\n")[2])
    script.chmod(0o755)
    return folder


def test_the_quick_start_runs_line_by_line_where_neither_git_nor_a_compiler_is_installed(
    environment: Path, tmp_path: Path
) -> None:
    folder = environment / "bin"
    variables = {"PATH": str(folder), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    variables |= {name: value for name, value in os.environ.items() if name in ("LD_LIBRARY_PATH", "LANG")}
    for line in QUICK_START.strip().splitlines():
        command, *arguments = line.split()
        done = subprocess.run(
            [folder / command, *arguments], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0 or (line.startswith("trudi doctor") and done.returncode == 1), (line, done.stderr)
        assert "Traceback" not in done.stderr, (line, done.stderr)
    runs = [run for run in (tmp_path / RUNS).iterdir() if run.is_dir()]
    assert len(runs) == 2
    assert {path.name for run in runs for path in run.rglob("*.onnx")} == {"policy.onnx"}
    where = [folder / "python", "-c", "import trudi_rsl; print(trudi_rsl.__file__)"]
    found = subprocess.run(where, env=variables, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(environment)
