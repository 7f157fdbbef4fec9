# SPDX-License-Identifier: BSD-3-Clause
"""Videos hold one episode, are decodable, and never replace a file."""

from __future__ import annotations

import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from tests.evaluation import counting_tasks
from tests.evaluation.counting_tasks import SHORT
from trudi_rsl.evaluation.video import VideoError, record_episode, video_path
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv


def idle(obs: TensorDict) -> Tensor:
    return torch.zeros(obs.batch_size[0], 1)


def env_of(name: str, num_envs: int = 2, seed: int = 0) -> GymnasiumVecEnv:
    task = f"{counting_tasks.__name__}:trudi-tests/{name}-v0"
    return GymnasiumVecEnv(task, num_envs, seed=seed, render_mode="rgb_array")


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_video_shows_every_step_of_one_episode_and_none_of_the_next(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "videos" / f"play{suffix}"
    # An odd seed: environment 0 starts with a long episode, and the others with short ones.
    frames = record_episode(env_of("ShortOrLong", seed=1), idle, path)
    pictures = np.stack(list(imageio.imiter(path)))
    assert pictures.shape == (frames, 32, 48, 3)
    assert np.abs(pictures.mean(axis=(1, 2, 3)) - 10 * np.arange(counting_tasks.LONG)).max() < 5


def test_a_video_is_no_longer_than_asked(tmp_path: Path) -> None:
    assert record_episode(env_of("ShortOrLong", seed=1), idle, tmp_path / "play.mp4", max_steps=4) == 4
    with pytest.raises(VideoError, match="at least 1 step, got 0"):
        record_episode(env_of("ShortOrLong"), idle, tmp_path / "none.mp4", max_steps=0)


def test_videos_are_numbered_and_replace_nothing(tmp_path: Path) -> None:
    paths = []
    for _ in range(3):
        paths.append(video_path(tmp_path))
        assert record_episode(env_of("ShortOrLong"), idle, paths[-1]) == SHORT
    assert [path.name for path in paths] == ["play.mp4", "play_1.mp4", "play_2.mp4"]
    with pytest.raises(FileExistsError):
        record_episode(env_of("ShortOrLong"), idle, paths[-1])


def test_a_rendering_that_fails_says_what_to_do_and_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"no OpenGL here.*MUJOCO_GL=egl.*libegl1.*gymnasium\[classic-control\]"):
        record_episode(env_of("Unrenderable"), idle, tmp_path / "play.mp4")
    assert list(tmp_path.iterdir()) == []


def test_an_episode_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    steps = iter(range(3))
    with pytest.raises(StopIteration):
        record_episode(env_of("ShortOrLong", seed=1), lambda obs: idle(obs) + next(steps), tmp_path / "play.mp4")
    assert list(tmp_path.iterdir()) == []


def test_without_a_writer_there_is_an_install_command_and_without_ffmpeg_a_gif(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert video_path(tmp_path).name == "play.gif"
    monkeypatch.setitem(sys.modules, "imageio", None)
    with pytest.raises(VideoError, match=r'pip install "trudi_rsl\[eval\]"'):
        video_path(tmp_path)
