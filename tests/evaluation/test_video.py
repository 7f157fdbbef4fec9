# SPDX-License-Identifier: BSD-3-Clause
"""Videos hold one episode, are decodable, and never replace a file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch

from tests.evaluation.counting_tasks import LONG, SHORT, SHORT_OR_LONG, UNRENDERABLE, idle
from trudi_rsl.evaluation.video import VideoError, record_episode, video_path
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv


def env_of(task: str = SHORT_OR_LONG, seed: int = 0) -> GymnasiumVecEnv:
    return GymnasiumVecEnv(task, 2, seed=seed, render_mode="rgb_array")


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_video_shows_every_step_of_one_episode_and_none_of_the_next(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "videos" / f"play{suffix}"
    # An odd seed: environment 0 starts with a long episode, and the others with short ones.
    frames = record_episode(env_of(seed=1), idle, path)
    pictures = np.stack(list(imageio.imiter(path)))
    assert pictures.shape == (frames, 32, 48, 3)
    assert np.abs(pictures.mean(axis=(1, 2, 3)) - 10 * np.arange(LONG)).max() < 5


def test_a_video_is_no_longer_than_asked(tmp_path: Path) -> None:
    assert record_episode(env_of(seed=1), idle, tmp_path / "play.mp4", max_steps=4) == 4
    with pytest.raises(VideoError, match="at least 1 step, got 0"):
        record_episode(env_of(), idle, tmp_path / "none.mp4", max_steps=0)


def test_videos_are_numbered_and_replace_nothing(tmp_path: Path) -> None:
    paths = []
    for _ in range(3):
        paths.append(video_path(tmp_path))
        assert record_episode(env_of(), idle, paths[-1]) == SHORT
    assert [path.name for path in paths] == ["play.mp4", "play_1.mp4", "play_2.mp4"]
    with pytest.raises(FileExistsError):
        record_episode(env_of(), idle, paths[-1])


def test_a_failed_rendering_with_its_advice_and_an_episode_that_breaks_off_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"no OpenGL here.*MUJOCO_GL=egl.*libegl1.*gymnasium\[classic-control\]"):
        record_episode(env_of(UNRENDERABLE), idle, tmp_path / "play.mp4")
    steps = iter(range(3))
    with pytest.raises(StopIteration):
        record_episode(env_of(seed=1), lambda obs: idle(obs) + next(steps), tmp_path / "play.mp4")
    assert list(tmp_path.iterdir()) == []


def test_without_a_writer_there_is_an_install_command_and_without_ffmpeg_a_gif(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert video_path(tmp_path).name == "play.gif"
    monkeypatch.setitem(sys.modules, "imageio", None)
    with pytest.raises(ImportError, match=r"imageio.*pip install"):
        video_path(tmp_path)


FRAMES = {
    "list of frames": lambda frame: [np.zeros_like(frame), frame],
    "grey": lambda frame: frame[..., 0],
    "one channel": lambda frame: frame[..., :1],
    "opacity": lambda frame: np.concatenate([frame, frame[..., :1]], axis=-1),
    "channels first": lambda frame: np.moveaxis(frame, -1, 0),
    "batch": lambda frame: frame[None],
    "floats in [0, 1]": lambda frame: frame / 255.0,
    "floats in [0, 255]": lambda frame: frame.astype(np.float32),
    "tensor": torch.from_numpy,
}


@pytest.mark.parametrize("layout", FRAMES.values(), ids=FRAMES)
def test_frames_of_any_layout_make_the_same_video(
    layout: Callable[[np.ndarray], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = env_of(seed=1)
    monkeypatch.setattr(type(env), "render", lambda self: layout(self.unwrapped.envs[0].render()))
    frames = record_episode(env, idle, tmp_path / "play.gif", max_steps=4)
    pictures = np.stack(list(imageio.imiter(tmp_path / "play.gif")))[..., :3]
    assert pictures.shape == (frames, 32, 48, 3)
    assert np.abs(pictures.mean(axis=(1, 2, 3)) - 10 * np.arange(4)).max() < 5


@pytest.mark.parametrize(
    "layout",
    [
        lambda _: "text",
        lambda _: [],
        lambda frame: frame[:, 0, 0],
        lambda frame: np.concatenate([frame, frame], axis=-1),
        lambda frame: frame[: 32 - int(frame.mean() > 5)],
    ],
    ids=["text", "empty", "one axis", "six channels", "two sizes"],
)
def test_what_is_no_image_or_changes_its_size_is_named_and_leaves_no_file(
    layout: Callable[[np.ndarray], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = env_of(seed=1)
    monkeypatch.setattr(type(env), "render", lambda self: layout(self.unwrapped.envs[0].render()))
    with pytest.raises(VideoError, match="renders"):
        record_episode(env, idle, tmp_path / "play.gif")
    assert list(tmp_path.iterdir()) == []
