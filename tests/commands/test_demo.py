# SPDX-License-Identifier: BSD-3-Clause
"""trudi demo plays pretrained policies, draws them, and leaves a run that the other commands read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import imageio.v3 as imageio
import pytest

from tests.scripts.running import assert_pictures
from trudi_rsl.commands import demo, program
from trudi_rsl.evaluation import video


@pytest.fixture(autouse=True)
def _in_a_new_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_the_obstacle_needs_no_renderer_and_its_paths_are_drawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert program.run("demo", ["--episodes", "20"]) == 0
    folder = Path("logs", "demo", "planar_obstacle")
    stored = json.loads((folder / "modes.json").read_text())
    assert stored["num_runs"] == 20
    assert min(stored["counts"].values()) > 0, "both sides"
    assert_pictures(folder / "modes")
    printed = capsys.readouterr().out
    assert f"left {stored['counts']['left']}" in printed
    assert {"PlanarObstacle-v0", "planar_obstacle", "model_99.pt", "trudi"} <= set(printed.split()), "no word is cut"
    for line in printed.partition("Next:\n")[2].splitlines()[:2]:
        _, command, *arguments = line.split()
        few = ["--episodes", "2"] if command == "play" else ["--num_paths", "20"]
        assert program.run(command, [*arguments, *few]) == 0, line
    # a second demo keeps what the first has written, and what is not its own
    assert program.run("demo", ["--episodes", "2"]) == 0
    assert json.loads((folder / "modes.json").read_text()) == stored
    (folder / "policy.onnx").write_text("mine")
    assert program.run("demo", ["--episodes", "2"]) == 2
    assert (folder / "policy.onnx").read_text() == "mine"


def test_the_cheetah_is_played_and_without_a_renderer_one_line_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_args: object) -> None:
        raise video.VideoError("set MUJOCO_GL=egl")

    monkeypatch.setattr(video, "make_rendering_env", fail)
    assert program.run("demo", ["halfcheetah", "--episodes", "1"]) == 0
    assert "No video: set MUJOCO_GL=egl\n" in capsys.readouterr().out
    assert not list(Path("logs").rglob("*.mp4"))


def test_a_video_is_recorded_where_mujoco_can_render(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "VIDEO_STEPS", 4)
    assert program.run("demo", ["halfcheetah", "--episodes", "1"]) == 0
    printed = capsys.readouterr().out
    if "No video: " in printed:
        pytest.skip(printed.partition("No video: ")[2].splitlines()[0])
    assert len(list(imageio.imiter("logs/demo/halfcheetah/videos/play.mp4"))) == 4


def test_missing_packages_are_named_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert program.run("demo", []) == 1
    assert "The demo needs onnxruntime, not installed in" in capsys.readouterr().err
    assert not Path("logs").exists()


def test_a_resume_of_the_demo_says_that_it_is_no_file_to_resume(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run("demo", ["--episodes", "1"]) == 0
    task = ["--task", "PlanarObstacle-v0", "--device", "cpu"]
    assert program.run("train", [*task, "--resume", "--checkpoint", "logs/demo/planar_obstacle"]) == 2
    assert "is a released policy" in capsys.readouterr().err
