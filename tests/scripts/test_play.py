# SPDX-License-Identifier: BSD-3-Clause
"""scripts/play.py from the command line."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as imageio
import pytest

from tests.evaluation.tiny_runs import TASK, train_tiny
from tests.scripts.running import ScriptHere, run_script, table_rows

PPO_CHECKPOINT = f"logs/rsl_rl/{TASK.lower()}_ppo/2026-01-01_00-00-00/model_1.pt"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two TruDi runs and one of PPO, where the scripts look for them."""
    root = tmp_path_factory.mktemp("project")
    experiment = root / "logs" / "rsl_rl" / TASK.lower()
    train_tiny("trudi", experiment / "2026-01-01_00-00-00_first")
    train_tiny("trudi", experiment / "2026-01-02_00-00-00_second")
    train_tiny("ppo", (root / PPO_CHECKPOINT).parent)
    return root


@pytest.fixture
def play(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ScriptHere:
    return ScriptHere("play.py", project, monkeypatch, capsys)


def numbers(output: str) -> list[float]:
    (row,) = table_rows(output)
    return [float(cell) for cell in row]


@pytest.mark.slow
def test_the_newest_run_is_played_and_its_statistics_printed(project: Path) -> None:
    result = run_script("play.py", "--task", TASK, "--episodes", "6", "--headless", cwd=project)
    assert result.returncode == 0, result.stderr
    mean, _, iqm, episodes = numbers(result.stdout)
    assert "2026-01-02_00-00-00_second/model_1.pt" in result.stdout
    assert episodes == 6
    assert min(mean, iqm) >= 1.0


def test_a_seed_makes_the_statistics_repeatable(play: ScriptHere) -> None:
    runs = [numbers(play("--task", TASK, "--sampler", "sde", "--seed", seed, "--num_envs", "3")) for seed in "778"]
    assert runs[0] == runs[1] != runs[2]


def test_runs_and_checkpoints_are_named_as_in_isaac_lab(play: ScriptHere) -> None:
    output = play("--task", TASK, "--load_run", ".*first", "--checkpoint", "model_0.pt", "--episodes", "1")
    assert "2026-01-01_00-00-00_first/model_0.pt" in output


def test_the_simulator_is_set_up_as_in_the_run_unless_overridden(play: ScriptHere, project: Path) -> None:
    params = (project / PPO_CHECKPOINT).with_name("params") / "env.yaml"
    trained = params.read_text()
    limited = trained.replace("max_episode_steps: null", "max_episode_steps: 3")
    assert limited != trained
    params.write_text(limited)
    assert numbers(play("--task", TASK, "--checkpoint", PPO_CHECKPOINT))[0] == 3.0
    assert numbers(play("--task", TASK, "--checkpoint", PPO_CHECKPOINT, "env.max_episode_steps=2"))[0] == 2.0
    params.write_text(trained)


@pytest.mark.slow
def test_a_video_of_a_mujoco_task_lies_numbered_in_the_run_folder(project: Path) -> None:
    for _ in range(2):
        arguments = ("--task", TASK, "--episodes", "1", "--video", "--video_length", "2")
        result = run_script("play.py", *arguments, cwd=project)
        if "Rendering" in result.stderr:
            pytest.skip(f"no OpenGL: {result.stderr}")
        assert result.returncode == 0, result.stderr
    folder = project / "logs" / "rsl_rl" / TASK.lower() / "2026-01-02_00-00-00_second" / "videos"
    assert sorted(path.name for path in folder.iterdir()) == ["play.mp4", "play_1.mp4"]
    frames = imageio.imread(folder / "play.mp4")
    assert frames.shape == (2, 480, 480, 3)
    assert frames.std() > 10.0


@pytest.mark.slow
def test_without_opengl_a_video_gets_one_line_of_advice(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "none-such")
    result = run_script("play.py", "--task", TASK, "--episodes", "1", "--video", cwd=project)
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith(f"Error: Rendering {TASK} failed")
    assert "MUJOCO_GL=egl" in line


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--score_scale", "0"], "Error: score_scale must be above 0, got 0.0."),
        (["--episodes", "0"], "Error: The number of episodes must be at least 1, got 0."),
        (["--num_envs", "0"], "Error: env.num_envs must be an integer of at least 1; got 0."),
        (["--checkpoint", "logs/none.pt"], "Error: Nothing at logs/none.pt."),
        (["--load_run", "none"], "matches 'none'"),
        (["--algo", "trudi", "--checkpoint", PPO_CHECKPOINT], "is a checkpoint of ppo, not of trudi"),
        (["--algo", "ppo", "--sampler", "best_of_k"], "Error: best_of_k needs TruDi's Q critic"),
        (["agent.algorithm.gamma=0.5"], "Error: Cannot override 'agent.algorithm.gamma=0.5' here"),
        (["env.max_steps=3"], "Did you mean 'max_episode_steps'"),
    ],
)
def test_mistakes_are_reported_in_one_line(play: ScriptHere, args: list[str], message: str) -> None:
    assert message in play.error("--task", TASK, *args)
