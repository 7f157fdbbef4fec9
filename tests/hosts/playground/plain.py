# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Plain MuJoCo, in double precision and from the compiled model alone, driven by an exported policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.hosts.playground import PlaygroundVecEnv

Frames = dict[str, np.ndarray]
"""One unscaled frame of each observation term by its name."""


class PlainMuJoCo:
    """MuJoCo from the state in which environment 0 is."""

    def __init__(self, env: PlaygroundVecEnv, folder: Path) -> None:
        file, state = folder / "model.mjb", env._simulation.unpack(env._carry.state)
        mujoco.mj_saveModel(env.loaded.env.mj_model, str(file))  # pyright: ignore[reportAttributeAccessIssue]
        self.model: Any = mujoco.MjModel.from_binary_path(str(file))  # pyright: ignore[reportAttributeAccessIssue]
        self.data: Any = mujoco.MjData(self.model)  # pyright: ignore[reportAttributeAccessIssue]
        for name in ("qpos", "qvel", "ctrl", "qacc_warmstart"):
            getattr(self.data, name)[:] = np.asarray(getattr(state.data, name)[0])
        mujoco.mj_forward(self.model, self.data)  # pyright: ignore[reportAttributeAccessIssue]
        self.info = {name: np.asarray(value[0]) for name, value in state.info.items()}
        self.substeps = round(env.step_dt / self.model.opt.timestep)

    def step(self, controls: np.ndarray) -> None:
        self.data.ctrl[:] = controls
        mujoco.mj_step(self.model, self.data, self.substeps)  # pyright: ignore[reportAttributeAccessIssue]

    def sensor(self, name: str) -> np.ndarray:
        return self.data.sensor(name).data.copy()


def lively_checkpoint(run: Path, folder: Path) -> Path:
    """Return a checkpoint whose policy acts on what it sees, as after long training."""
    content = read_checkpoint(run / "model_1.pt")
    weight = content["actor_state_dict"]["actor.score_network.output_layer.weight"]
    weight.normal_(std=0.3, generator=torch.Generator().manual_seed(0))
    torch.save(content, folder / "model_1.pt")
    return folder / "model_1.pt"


def largest_differences(
    env: PlaygroundVecEnv, act: Callable[[Any], torch.Tensor], step_plain: Callable[[], np.ndarray], steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Step both simulators, each with its own policy.

    Args:
        env: Playground's environments, of which the first is compared.
        act: The policy in PyTorch, from observation groups to actions ``[E, A]``.
        step_plain: Steps plain MuJoCo with the exported policy, and returns the observation that it acted on ``[O]``.
        steps: Number of steps.

    Returns:
        The largest difference of observations in each step, and the actions ``[steps, A]`` of environment 0.
    """
    obs, differences, actions = env.get_observations(), [], []
    for _ in range(steps):
        expected = obs["policy"][0].numpy()
        differences.append(np.abs(step_plain() - expected).max())
        action = act(obs).detach()
        actions.append(action[0].numpy())
        obs, *_ = env.step(action)
    return np.array(differences), np.array(actions)
