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

from trudi_rsl import packages
from trudi_rsl.environments.description import control_period, task_name
from trudi_rsl.errors import ConfigError, UserError
from trudi_rsl.evaluation.episodes import Policy, start_episodes
from trudi_rsl.files import require_inside, unused_stem
from trudi_rsl.plain_values import is_finite

MAX_STEPS = 1000
"""Default length of the longest video."""
DEFAULT_FPS = 30.0
"""Frames per second of a task that states neither its control period nor ``render_fps``."""
_CHANNELS = (1, 3, 4)
"""Numbers of color channels: grey, RGB, RGB with opacity."""


class VideoError(UserError, RuntimeError):
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

    The suffix is ``.gif`` if imageio-ffmpeg is not installed. Raises ImportError if imageio is not installed either,
    and CheckpointError if ``videos`` is a link that leads out of the run folder.
    """
    folder = run / "videos"
    require_inside(folder, run)
    if find_spec("imageio") is None:
        raise packages.missing("Writing a video", packages.VIDEOS)
    suffix = ".gif" if find_spec("imageio_ffmpeg") is None else ".mp4"
    return folder / f"{unused_stem(folder, 'play', (suffix,))}{suffix}"


@torch.no_grad()
def record_episode(env: VecEnv, policy: Policy, path: Path, max_steps: int = MAX_STEPS) -> int:
    """Write one episode of environment 0 to ``path`` (mp4 or gif), frame by frame; an unfinished file is removed.

    Return the number of frames, one per observation except the last. The environments must have been made with
    ``render_mode="rgb_array"``; all are reset and stepped.

    Raises:
        VideoError: If the environment cannot render, renders no images or images of several sizes, or ``max_steps`` is
            below 1.
        FileExistsError: If ``path`` exists.
    """
    if max_steps < 1:
        raise VideoError(f"The length of a video must be at least 1 step, got {max_steps}.")
    if path.exists():
        raise FileExistsError(f"{path} exists; a video never overwrites a file.")
    obs, _ = start_episodes(env, policy, env.device)
    frame = _render(env)
    size = frame.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with contextlib.closing(_writer(path, _fps(env))) as writer:
            frames = 0
            while True:
                if frame.shape != size:
                    raise VideoError(
                        f"{task_name(env)} renders images of {size[:2]} and then of {frame.shape[:2]} pixels."
                    )
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
    image = _image(frame)
    if image is None:
        found = f"{type(frame).__name__} of shape {tuple(getattr(frame, 'shape', ()))}"
        raise VideoError(f"{task_name(env)} renders no images in its rgb_array mode, but a {found}.")
    return image


def _image(frame: Any) -> np.ndarray | None:
    """Return a frame as ``[height, width, 3]`` of uint8; None if it is no image.

    Frames may be lists, of which the last counts, or have a leading axis of environments, of which the first counts;
    have color channels first or last, one, three or four of them, or none; and be bytes, flags, or floats in [0, 1] or
    [0, 255].
    """
    if isinstance(frame, list | tuple):
        return _image(frame[-1]) if frame else None
    if isinstance(frame, torch.Tensor):
        frame = frame.detach().cpu().numpy()
    if not isinstance(frame, np.ndarray) or frame.dtype.kind not in "biuf":
        return None
    image = frame[0] if frame.ndim == 4 else frame
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim == 3 and image.shape[-1] not in _CHANNELS and image.shape[0] in _CHANNELS:
        image = np.moveaxis(image, 0, -1)
    if image.ndim != 3 or image.shape[-1] not in _CHANNELS or not image.size:
        return None
    if image.dtype == bool or (image.dtype.kind == "f" and np.nanmax(image, initial=0.0) <= 1.0):
        image = image * 255.0
    image = np.clip(np.nan_to_num(image), 0, 255).astype(np.uint8)
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else np.ascontiguousarray(image[..., :3])


def _advice(task: str | None, error: Exception) -> str:
    return (
        f"Rendering {task} failed ({error}). For MuJoCo tasks set MUJOCO_GL=egl (Debian and Ubuntu: apt install "
        "libegl1) or MUJOCO_GL=osmesa (apt install libosmesa6); for classic-control tasks: "
        'pip install "gymnasium[classic-control]"'
    )


def _fps(env: VecEnv) -> float:
    """Return the frames per second at which the task runs in real time."""
    base: Any = getattr(env, "unwrapped", env)
    metadata = getattr(base, "metadata", None)
    declared = metadata.get("render_fps") if isinstance(metadata, Mapping) else None  # Gymnasium
    if (step_dt := control_period(base)) is None and is_finite(declared) and declared > 0:
        return float(declared)
    step_dt = step_dt or control_period(env)
    return 1.0 / step_dt if step_dt else DEFAULT_FPS


def _writer(path: Path, fps: float) -> Any:
    import imageio.v2 as imageio

    if path.suffix == ".gif":
        return imageio.get_writer(path, duration=1000.0 / fps, loop=0)
    # H.264 needs even sizes; imageio's default, multiples of 16, would stretch most tasks' images
    return imageio.get_writer(path, fps=fps, macro_block_size=2, ffmpeg_log_level="error")
