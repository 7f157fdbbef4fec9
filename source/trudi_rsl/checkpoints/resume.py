# SPDX-License-Identifier: BSD-3-Clause
"""The state that an exact resume needs beside the parameters: random generators and the simulator.

A resume with another seed, or under another version of the simulator, is not exact: :func:`reseeded` and
:func:`without_changed_simulator` take the state out of a checkpoint that must not be restored then.
"""

from __future__ import annotations

import contextlib
import logging
import random
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from trudi_rsl.checkpoints.file import unreadable
from trudi_rsl.environments.progress import host_progress, set_host_progress
from trudi_rsl.errors import one_line

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

logger = logging.getLogger(__name__)

SIMULATORS = {
    **{name: name for name in ("mujoco", "gymnasium", "mjlab", "isaaclab", "isaacsim", "newton", "metaworld", "jax")},
    **{name: name for name in ("dm_control", "mani_skill", "sapien", "humanoid_bench")},
    "mujoco_warp": "mujoco-warp",
    "warp": "warp-lang",
    "mujoco_playground": "playground",
    "gymnasium_robotics": "gymnasium-robotics",
}
"""Modules of simulators and of packages of tasks, and the packages' names for pip."""

STARTS_OVER = "starts_over"
"""Key of a checkpoint in memory: why its episodes are not continued."""

_reported: set[str] = set()
"""Reasons, each logged once, why states of environments were left out."""


def resume_state(env: VecEnv | None, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Return the state of the random generators and of the simulator, as entries of a checkpoint.

    Args:
        env: The environment, with a ``state_dict`` or only counters and curricula. None in the middle of a rollout,
            where the policy is saved because something went wrong: a resume from there would be neither exact nor
            wanted. A ``state_dict()`` counts if it returns a mapping with ``exact``, ``num_envs`` and else plain values
            and tensors, for which ``load_state_dict`` exists; a project may have one that means something else.
        device: Device of training.
    """
    state: dict[str, Any] = {"rng_state": rng_state(device), "simulators": simulator_versions()}
    if env is None:
        return state
    if (env_state := _env_state(env)) is not None:
        state["env_state"] = env_state
    if (progress := host_progress(env)) is not None:
        state["env_progress"] = progress
    return state


def _env_state(env: Any) -> Mapping[str, Any] | None:
    """Return the state of the environments, None if they have none that a checkpoint can hold."""
    if not callable(getattr(env, "state_dict", None)) or not callable(getattr(env, "load_state_dict", None)):
        return None
    try:
        state = env.state_dict()
    except Exception as error:  # a project's own code must not cost the checkpoint
        _report_once(f"its state_dict() raised {type(error).__name__}: {one_line(error)}")
        return None
    if not isinstance(state, Mapping) or not {"exact", "num_envs"} <= state.keys():
        return None
    if (found := unreadable(state)) is not None:
        _report_once(f"no checkpoint can hold its state, because of: {found}")
        return None
    return state


def _report_once(reason: str) -> None:
    if reason not in _reported:
        _reported.add(reason)
        logger.warning("The state of the environments is left out of checkpoints, and a resume not exact: %s.", reason)


def set_resume_state(
    env: VecEnv | None,
    checkpoint: Mapping[str, Any],
    is_main_process: bool = True,
    device: torch.device | str = "cpu",
) -> bool:
    """Restore the entries of :func:`resume_state`, as far as ``env`` supports it; what starts over is logged.

    Returns whether the checkpoint's episodes continue.

    Args:
        env: The environment.
        checkpoint: A checkpoint in the present format.
        is_main_process: Other processes keep their own simulators and random numbers, since copies of one would all
            collect the same; all restore counters and curricula.
        device: Device of training.
    """
    progress = checkpoint.get("env_progress")
    if env is not None and progress is not None:
        restored = set_host_progress(env, progress)
        if is_main_process:
            listed = ", ".join(f"{name} {value}" for name, value in restored.items())
            logger.info("Simulator: %s; new episodes are started.", listed)
    if not is_main_process:
        return False
    checkpoint = without_changed_simulator(checkpoint)
    if "env_state" in checkpoint and hasattr(env, "load_state_dict"):
        env.load_state_dict(checkpoint["env_state"])  # type: ignore[union-attr]
    elif env is not None and progress is None:
        reason = checkpoint.get(STARTS_OVER, "the checkpoint does not contain its state")
        logger.info("The simulator starts new episodes: %s.", reason)
    set_rng_state(checkpoint["rng_state"], device)
    state = checkpoint.get("env_state") or {}
    return env is not None and bool(state.get("exact")) and state.get("num_envs") == getattr(env, "num_envs", None)


def reseeded(checkpoint: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return a checkpoint whose random generators are seeded anew, and whose simulator starts new episodes.

    The simulator is that of a caller who has seeded it with the same seed.
    """
    before = rng_state()
    seed_generators(seed)
    fresh = rng_state()
    set_rng_state(before)
    return _without_episodes({**checkpoint, "rng_state": fresh}, f"the seed is {seed} from here on")


def without_changed_simulator(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint without its episodes if a package of its simulator has another version here; log that.

    The state of a simulator means something else to another version, and the same state other physics.
    """
    here = simulator_versions()
    saved = checkpoint.get("simulators") or {}
    changed = {name: (saved[name], here[name]) for name in saved if name in here and saved[name] != here[name]}
    if not changed:
        return dict(checkpoint)
    listed = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in changed.items())
    logger.warning(
        "The simulator has changed since the checkpoint (%s), and its physics may have: this resume is not exact. For "
        "an exact one install %s.",
        listed,
        " ".join(f"{name}=={old}" for name, (old, _) in changed.items()),
    )
    return _without_episodes(checkpoint, "its version has changed")


def _without_episodes(checkpoint: Mapping[str, Any], reason: str) -> dict[str, Any]:
    kept = {name: part for name, part in checkpoint.items() if name not in ("env_state", "simulators")}
    return {**kept, STARTS_OVER: reason}


def simulator_versions() -> dict[str, str]:
    """Return the versions of the simulators' packages that this process has imported, by their names for pip."""
    found = {}
    for module, package in SIMULATORS.items():
        if module in sys.modules:
            with contextlib.suppress(PackageNotFoundError):
                found[package] = version(package)
    return found


def seed_generators(seed: int) -> None:
    """Seed the random generators of torch, NumPy and Python."""
    for seed_generator in (torch.manual_seed, np.random.seed, random.seed):
        seed_generator(seed)


def rng_state(device: torch.device | str | None = None) -> dict[str, Any]:
    """Return the state of the random generators of torch, NumPy and Python, as tensors and plain values.

    With the device of training, :func:`set_rng_state` can restore its generator on another one.
    """
    algorithm, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (str(algorithm), torch.from_numpy(np.array(keys)), int(position), int(has_gauss), float(gauss)),
        "python": random.getstate(),
        **({} if device is None else {"device": str(_with_index(device))}),
    }


def set_rng_state(state: Mapping[str, Any], device: torch.device | str | None = None) -> None:
    """Restore :func:`rng_state`, with the training's generator on ``device``.

    Every other GPU gets the state of the one with its number. A training that moves between a CPU and a GPU cannot
    continue its random numbers, which is logged. Checkpoints of the first versions hold torch's generators alone.
    """
    torch.set_rng_state(state["cpu"].cpu())
    states = [s.cpu() for s in state["cuda"]]
    for index in range(min(len(states), torch.cuda.device_count())):
        torch.cuda.set_rng_state(states[index], index)
    if device is not None:
        _continue_on(_with_index(device), states, state.get("device"))
    if "numpy" in state:
        algorithm, keys, *rest = state["numpy"]
        np.random.set_state((algorithm, keys.cpu().numpy(), *rest))
    if "python" in state:
        random.setstate(state["python"])


def _continue_on(device: torch.device, states: Sequence[Tensor], saved_device: str | None) -> None:
    """Restore the generator of the GPU that the checkpoint's training used, ``states`` being those of all its GPUs."""
    if saved_device:
        saved = torch.device(saved_device)
    else:
        saved = device if states or device.type == "cpu" else torch.device("cpu")
    if saved.type == device.type == "cuda" and saved.index < len(states):
        torch.cuda.set_rng_state(states[saved.index], device)
    elif "cuda" in (saved.type, device.type):
        logger.info("The checkpoint was written by a training on %s: random numbers on %s start anew.", saved, device)


def _with_index(device: torch.device | str) -> torch.device:
    device = torch.device(device)
    return torch.device("cuda", torch.cuda.current_device()) if device == torch.device("cuda") else device
