# SPDX-License-Identifier: BSD-3-Clause
"""What makes a resumed run go on as if it had not been stopped, beside parameters: random numbers and the simulator."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from trudi_rsl.environments.progress import host_progress, set_host_progress

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv


def resume_state(env: VecEnv | None) -> dict[str, Any]:
    """Return what makes a resume exact beside parameters: the random generators' state and the simulator's.

    Args:
        env: The environment: its whole state if it can tell that (``state_dict``), else how far its counters and
            curricula are. None in the middle of a rollout, where the policy is saved because something went wrong:
            continuing from there would not be exact and may not be wanted.
    """
    state = {"rng_state": rng_state()}
    if env is None:
        return state
    if hasattr(env, "state_dict"):
        state["env_state"] = env.state_dict()  # type: ignore[union-attr]
    if (progress := host_progress(env)) is not None:
        state["env_progress"] = progress
    return state


def set_resume_state(env: VecEnv | None, saved: Mapping[str, Any], is_main_process: bool = True) -> None:
    """Restore what :func:`resume_state` returned, as far as ``env`` can; one line says what begins anew.

    Args:
        env: The environment.
        saved: A checkpoint.
        is_main_process: Other processes keep their own simulators and random numbers, since copies of one would all
            collect the same; counters and curricula are those of all.
    """
    progress = saved.get("env_progress")
    if env is not None and progress is not None:
        restored = set_host_progress(env, progress)
        if is_main_process:
            listed = ", ".join(f"{name} {value}" for name, value in restored.items())
            print(f"[trudi_rsl] Simulator: {listed}; its episodes start anew.", flush=True)
    if not is_main_process:
        return
    if "env_state" in saved and hasattr(env, "load_state_dict"):
        env.load_state_dict(saved["env_state"])  # type: ignore[union-attr]
    elif env is not None and progress is None:
        print("[trudi_rsl] The simulator's episodes start anew: the checkpoint holds no state of them.", flush=True)
    set_rng_state(saved["rng_state"])


def env_state_of(checkpoint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the simulator's state that a checkpoint of any algorithm holds, None if it holds none."""
    # RSL-RL's PPO has no place for it but the infos
    own = (checkpoint.get("infos") or {}).get("resume", {})
    return checkpoint.get("env_state") or own.get("env_state")


def rng_state() -> dict[str, Any]:
    """Return the state of the random generators of torch, NumPy and Python, as tensors and plain values."""
    algorithm, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (str(algorithm), torch.from_numpy(np.array(keys)), int(position), int(has_gauss), float(gauss)),
        "python": random.getstate(),
    }


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Restore :func:`rng_state`; CUDA generators only where the same number of devices is present.

    Checkpoints of earlier versions hold torch's generators alone.
    """
    torch.set_rng_state(state["cpu"].cpu())
    if state["cuda"] and torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    if "numpy" in state:
        algorithm, keys, *rest = state["numpy"]
        np.random.set_state((algorithm, keys.cpu().numpy(), *rest))
    if "python" in state:
        random.setstate(state["python"])
