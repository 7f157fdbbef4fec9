# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""The scripts on ManiSkill's tasks: training, resume, play, evaluation and export."""

from __future__ import annotations

import fnmatch
import json
from pathlib import Path

import imageio.v3 as imageio
import onnx
import pytest
import torch

from scripts import train as train_script
from tests.hosts.mjlab.running import newest_run
from tests.scripts.running import ScriptHere
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.deploy.contract import Contract
from trudi_rsl.hosts.registry import find_host

PUSH, TWO_ROBOTS = "PushCube-v1", "TwoRobotPickCube-v1"
SHORT = ("--device", "cpu", "--num_envs", "4", "env.max_episode_steps=6", "agent.num_steps_per_env=8")
SMALL = (
    *("agent.save_interval=1", "agent.evaluation_episodes=2", "agent.algorithm.num_mini_batches=2"),
    *("agent.algorithm.actor_hidden_dims=[16,16]", "agent.algorithm.critic_hidden_dim=16"),
)
PPO = ("agent.evaluation_episodes=2", "agent.algorithm.num_mini_batches=2")

Capsys = pytest.CaptureFixture[str]


def train(task: str, iterations: int, *args: str) -> Path:
    """Train in this process and return the run folder."""
    assert train_script.main(["--task", task, "--max_iterations", str(iterations), *SHORT, *args]) == 0
    return newest_run(Path.cwd())


@pytest.fixture(scope="module")
def push_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of four iterations of TruDi on PushCube, each with a checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("push"))
        return train(PUSH, 4, "--seed", "3", *SMALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that the test runs in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(("task", "algo"), [(TWO_ROBOTS, "trudi"), (TWO_ROBOTS, "ppo"), (PUSH, "ppo")])
def test_an_algorithm_trains(task: str, algo: str, here: Path) -> None:
    run = train(task, 2, "--algo", algo, *(SMALL if algo == "trudi" else PPO))
    checkpoints = [read_checkpoint(path) for path in sorted(run.glob("model_*.pt"))]
    assert max(checkpoint["iter"] for checkpoint in checkpoints) == 1
    assert (run / "best.pt").exists()


@pytest.mark.slow
def test_a_resumed_training_equals_an_uninterrupted_one_bitwise(push_run: Path, here: Path) -> None:
    resumed = train(PUSH, 4, "--seed", "3", *SMALL, "--checkpoint", str(push_run / "model_1.pt"))
    ends = [read_checkpoint(run / "model_3.pt") for run in (push_run, resumed)]
    assert ends[0]["env_state"]["exact"] is True
    for part in ("actor_state_dict", "critic_state_dict"):
        whole, continued = (end[part] for end in ends)
        assert all(torch.equal(value, continued[name]) for name, value in whole.items())
    assert torch.equal(ends[0]["env_state"]["observations"], ends[1]["env_state"]["observations"])


@pytest.mark.slow
def test_play_prints_returns_and_success_and_records_a_video(
    push_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys, tmp_path: Path
) -> None:
    play = ScriptHere("play.py", tmp_path, monkeypatch, capsys)
    output = play("--task", PUSH, "--checkpoint", push_run, "--episodes", "2", "--video", "--num_envs", "2")
    assert "Returns on" in output
    (video,) = (push_run / "videos").iterdir()
    frames = imageio.imread(video)
    assert len(frames) == 6 and frames[0].std() > 0


@pytest.mark.slow
def test_evaluate_compares_checkpoints_and_reports_success(
    push_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys, tmp_path: Path
) -> None:
    evaluate = ScriptHere("evaluate.py", tmp_path, monkeypatch, capsys)
    groups = (f"early={push_run / 'model_1.pt'}", f"late={push_run / 'model_3.pt'}")
    evaluate(*groups, "--episodes", "2", "--output", "out")
    runs = json.loads((tmp_path / "out" / "results.json").read_text())["runs"]
    assert [len(run["success"]) for run in runs] == [2, 2]
    assert {success for run in runs for success in run["success"]} <= {0.0, 1.0}


@pytest.mark.slow
def test_an_export_describes_the_observation_and_what_the_actions_command(
    push_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys, tmp_path: Path
) -> None:
    export = ScriptHere("export.py", tmp_path, monkeypatch, capsys)
    export("--checkpoint", push_run / "model_3.pt", "--output", "exported")  # compares the files with PyTorch
    metadata = {e.key: e.value for e in onnx.load(tmp_path / "exported" / "policy.onnx").metadata_props}
    contract = Contract.from_metadata(metadata)
    sizes = {term.name: term.size for term in contract.terms}
    assert sizes == {
        "agent/qpos": 9,
        "agent/qvel": 9,
        "extra/tcp_pose": 7,
        "extra/goal_pos": 3,
        "extra/obj_pose": 7,
    }
    assert (contract.num_obs, contract.control_period_s) == (35, 0.05)
    arm, gripper = json.loads(metadata["controllers"])
    assert (arm["size"], arm["is_delta"], arm["command_high"]) == (7, True, [0.1] * 7)
    assert (gripper["size"], gripper["is_delta"], gripper["command_low"]) == (1, False, [-0.01])


def test_tasks_are_found_by_name_or_prefix_and_every_pattern_names_one_that_exists() -> None:
    host = find_host(PUSH)
    for task in ("PegInsertionSide-v1", "maniskill:Empty-v1"):
        assert find_host(task) is host
    listed = host.tasks()
    assert all(fnmatch.filter(listed, pattern) for pattern in host.patterns)
