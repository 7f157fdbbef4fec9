# SPDX-License-Identifier: BSD-3-Clause
"""Videos of a policy, through the environment's ``rgb_array`` rendering."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rsl_rl.env import VecEnv

from trudi_rsl.environments.description import task_name
from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.episodes import Policy, start_episodes
from trudi_rsl.files import require_inside, unused_stem

MAX_STEPS = 1000
"""Default length of the longest video."""


class VideoError(RuntimeError):
    """A video that cannot be rendered or written."""


def make_rendering_env(
    make_env: Callable[..., VecEnv], task: str, env_cfg: Mapping[str, Any], device: str, seed: int
) -> VecEnv:
    """Make environments of which the first renders images; raise VideoError if a package for that is missing."""
    try:
        return make_env(task, env_cfg, device, seed, "rgb_array")
    except ConfigError:
        raise
    except Exception as error:  # MuJoCo already fails when it is imported
        raise VideoError(_advice(task, error)) from error


def video_path(run: Path) -> Path:
    """Return a path in a run folder that does not exist yet: ``videos/play.mp4``, ``play_1.mp4``, ...

    The suffix is ``.gif`` if imageio-ffmpeg is not installed. Raises VideoError if imageio is not installed either, and
    CheckpointError if ``videos`` is a link that leads out of the run folder.
    """
    folder = run / "videos"
    require_inside(folder, run)
    if find_spec("imageio") is None:
        raise VideoError('Writing a video needs imageio: pip install "trudi_rsl[eval]"')
    suffix = ".gif" if find_spec("imageio_ffmpeg") is None else ".mp4"
    return folder / f"{unused_stem(folder, 'play', (suffix,))}{suffix}"


@torch.no_grad()
def record_episode(env: VecEnv, policy: Policy, path: Path, max_steps: int = MAX_STEPS) -> int:
    """Write one episode of environment 0 to ``path`` (mp4 or gif), frame by frame; an unfinished file is removed.

    Return the number of frames, one per observation except the last. The environments must have been made with
    ``render_mode="rgb_array"``; all are reset and stepped.

    Raises:
        VideoError: If the environment cannot render, or ``max_steps`` is below 1.
        FileExistsError: If ``path`` exists.
    """
    if max_steps < 1:
        raise VideoError(f"The length of a video must be at least 1 step, got {max_steps}.")
    if path.exists():
        raise FileExistsError(f"{path} exists; a video never overwrites a file.")
    obs, _ = start_episodes(env, policy, env.device)
    frame = _render(env)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.closing(_writer(path, _fps(env))) as writer:
            frames = 0
            while True:
                writer.append_data(frame)
                frames += 1
                obs, _, dones, _ = env.step(policy(obs))
                # hosts reset at once, so a frame rendered now would show the next episode
                if frames == max_steps or bool(dones[0] > 0):
                    return frames
                frame = _render(env)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _render(env: VecEnv) -> np.ndarray:
    try:
        frame = env.render()  # type: ignore[attr-defined]
    except Exception as error:
        raise VideoError(_advice(task_name(env), error)) from error
    if not isinstance(frame, np.ndarray) or frame.ndim != 3:
        raise VideoError(f"{task_name(env)} renders no images in its rgb_array mode.")
    return frame


def _advice(task: str | None, error: Exception) -> str:
    return (
        f"Rendering {task} failed ({error}). For MuJoCo tasks set MUJOCO_GL=egl (Debian and Ubuntu: apt install "
        "libegl1) or MUJOCO_GL=osmesa (apt install libosmesa6); for classic-control tasks: "
        'pip install "gymnasium[classic-control]"'
    )


def _fps(env: VecEnv) -> float:
    """Return the frames per second at which the task runs in real time."""
    base = getattr(env, "unwrapped", env)
    metadata = getattr(base, "metadata", None) or {}  # Gymnasium
    if step_dt := getattr(base, "step_dt", None) or (not metadata and getattr(env, "step_dt", None)):
        return 1.0 / step_dt
    return metadata.get("render_fps") or 30


def _writer(path: Path, fps: float) -> Any:
    import imageio.v2 as imageio

    if path.suffix == ".gif":
        return imageio.get_writer(path, duration=1000.0 / fps, loop=0)
    # H.264 needs even sizes; imageio's default, multiples of 16, would stretch most tasks' images
    return imageio.get_writer(path, fps=fps, macro_block_size=2, ffmpeg_log_level="error")
