# SPDX-License-Identifier: BSD-3-Clause
"""scripts/train.py with wrong arguments: one line on stderr, an exit code, and no run folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scripts.train import main
from tests.scripts.running import SCRIPTS

SMALL = ["--num_envs", "4", "--max_iterations", "1", "agent.num_steps_per_env=8", "agent.algorithm.num_mini_batches=2"]


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _fails(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> str:
    """Run main, check exit code and that stderr is one line, and return the line."""
    try:
        result = main(list(arguments))
    except SystemExit as leaving:
        result = leaving.code
    error = capsys.readouterr().err
    assert result == code, error
    assert error.startswith("Error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "HalfCheeta-v5"], ["'HalfCheeta-v5'", "'HalfCheetah-v5'"]),
        (["--task", "HalfCheetah-v5", "--algo", "trudy"], ["'trudy'", "'trudi'"]),
        (["--task", "HalfCheetah-v5", "agent.algorithm.kl_bond=0.2"], ["'kl_bound'"]),
        (["--task", "HalfCheetah-v5", "--num_env", "3"], ["--num_env", "'--num_envs'"]),
        (["--task", "HalfCheetah-v5", "--num_envs", "few"], ["--num_envs", "'few'"]),
        (["--num_envs", "3"], ["--task"]),
        (["--task", "CartPole-v1"], ["CartPole-v1", "Discrete", "Box"]),
        (["--task", "HalfCheetah-v5", "--video"], ["--video", "trudi play"]),
        (["--task", "HalfCheetah-v5", "--agent", "rsl_rl_cfg_entry_point"], ["--agent", "--algo chooses"]),
        (["--task", "InvertedPendulum-v5", "env.env_kwargs.frame_skop=3"], ["'frame_skop'", "'frame_skip'"]),
        (["--task", "InvertedPendulum-v5", "--device", "abacus"], ["'abacus'", "cpu"]),
        (["--task", "InvertedPendulum-v5", "agent.obs_groups.actor=[nothing]"], ["'nothing'", "groups policy"]),
        (["--task", "InvertedPendulum-v5", "--algo", "ppo", "agent.obs_groups.actor=[nothing]"], ["'nothing'"]),
        (["--task", "InvertedPendulum-v5", "agent.logger=tensorbord"], ["'tensorbord'", "'tensorboard'"]),
        (["--task", "InvertedPendulum-v5", "env.env_kwargs.xml_file=none.xml"], ["env_kwargs", "none.xml", "OSError"]),
        (["--task", "Pendulum-v1", "env.env_kwargs.g=abc"], ["env_kwargs", "'abc'", "TypeError"]),
        (["--task", "Pendulum-v1", "agent.experiment_name=../../x"], ["agent.experiment_name", "'../../x'", "'..'"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    line = _fails(capsys, 2, *arguments)
    assert all(word in line for word in words)
    assert not Path("logs").exists()


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("Isaac-Ant", ["Isaac Lab", "'Isaac-Ant'", "pip install", "isaaclab.sh -p"]),
        ("IsaacContrib-Velocity-Flat-Spot", ["Isaac Lab"]),
        ("Mjlab-Velocity-Flat-Unitree-G1", ["mjlab", "pip install"]),
        ("no_such_package:Task-v0", ["no_such_package"]),
    ],
)
def test_a_missing_host_or_package_is_named(capsys: pytest.CaptureFixture[str], task: str, words: list[str]) -> None:
    host_flags = [] if ":" in task else ["--viz", "none", "env.scene.num_envs=4"]
    line = _fails(capsys, 1, "--task", task, *host_flags)
    assert all(word in line for word in words)


def test_a_checkpoint_of_another_task_algorithm_or_shape_is_refused_before_a_run_folder_is_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pendulum = ["--task", "InvertedPendulum-v5", *SMALL]
    assert main([*pendulum, "--experiment_name", "trudi"]) == 0
    assert main([*pendulum, "--experiment_name", "ppo", "--algo", "ppo"]) == 0
    capsys.readouterr()
    trudi, ppo = (str(next(Path("logs/rsl_rl", name).glob("*/model_0.pt"))) for name in ("trudi", "ppo"))
    kept = set(Path("logs").rglob("*"))
    other = ["--task", "Pendulum-v1", "--experiment_name", "x", *SMALL]
    pendulum += ["--experiment_name", "x"]

    wider = ("--max_iterations", "2", "agent.algorithm.critic_hidden_dim=64")
    for named, arguments in {
        "'InvertedPendulum-v5', not on 'Pendulum-v1'": [*other, "--checkpoint", trudi],
        "'InvertedPendulum-v5', not on": [*other, "--algo", "ppo", "--checkpoint", ppo],
        "--algo trudi": [*pendulum, "--algo", "ppo", "--checkpoint", trudi],
        "--algo ppo": [*pendulum, "--checkpoint", ppo],
        "critic.encoder.0.weight: (128, 5) in the checkpoint, (64, 5)": [*pendulum, *wider, "--checkpoint", trudi],
        "nowhere/model_1.pt": [*pendulum, "--checkpoint", "nowhere/model_1.pt"],
        "No run yet in": [*pendulum, "--resume"],
    }.items():
        assert named in _fails(capsys, 2, *arguments)
    assert set(Path("logs").rglob("*")) - kept <= {Path("logs/rsl_rl/x")}


def test_nan_from_the_simulator_names_environment_and_step_and_keeps_the_policy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    task = "tests.hosts.gymnasium_tasks:trudi-tests/Clock-v0"
    line = _fails(capsys, 1, "--task", task, *SMALL, "--max_iterations", "5", "env.env_kwargs.nan_at=20")
    assert "environment 0" in line and "20 since the start" in line
    [kept] = Path("logs").rglob("model_*_rescued.pt")
    assert str(kept) in line
    assert all(v.isfinite().all() for v in torch.load(kept, weights_only=False)["actor_state_dict"].values())


@pytest.mark.parametrize(
    ("interpreter", "code", "word"),
    [([], 2, "'kl_bound'"), (["-S"], 1, "needs torch")],
    ids=["wrong usage", "without installed packages"],
)
def test_the_process_ends_with_the_exit_code_and_without_a_traceback(
    interpreter: list[str], code: int, word: str
) -> None:
    script = [str(SCRIPTS / "train.py"), "--task", "Ant-v5", "agent.algorithm.kl_bond=1"]
    environ = os.environ | {"PYTHONPATH": str(SCRIPTS.parent / "source")}
    done = subprocess.run([sys.executable, *interpreter, *script], env=environ, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr.count("\n") == 1
    assert word in done.stderr
    assert done.stdout == ""
