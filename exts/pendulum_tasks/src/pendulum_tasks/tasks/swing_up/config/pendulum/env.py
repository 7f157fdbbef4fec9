# SPDX-License-Identifier: BSD-3-Clause
"""The swing-up task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from isaaclab.envs import DirectRLEnv  # pyright: ignore[reportMissingImports]
from isaaclab.utils.math import sample_uniform  # pyright: ignore[reportMissingImports]
from torch import Tensor

if TYPE_CHECKING:
    from .env_cfg import SwingUpEnvCfg


class SwingUpEnv(DirectRLEnv):
    """Observes the angle's cosine and sine and the angular velocity; rewarded for standing upright and still."""

    cfg: SwingUpEnvCfg

    def __init__(self, cfg: SwingUpEnvCfg, render_mode: str | None = None, **kwargs: Any) -> None:
        super().__init__(cfg, render_mode, **kwargs)
        self.robot = self.scene["robot"]

    def _pre_physics_step(self, actions: Tensor) -> None:
        self.actions = actions.clamp(-1.0, 1.0)

    def _apply_action(self) -> None:
        self.robot.actuators.target_command.set_effort_index(value=self.cfg.max_torque * self.actions)

    def _get_observations(self) -> dict[str, Tensor]:
        angle, velocity = self.robot.data.joint_pos.torch, self.robot.data.joint_vel.torch
        return {"policy": torch.cat((angle.cos(), angle.sin(), velocity), dim=-1)}

    def _get_rewards(self) -> Tensor:
        angle, velocity = self.robot.data.joint_pos.torch, self.robot.data.joint_vel.torch
        cost = self.cfg.velocity_weight * velocity.square() + self.cfg.action_weight * self.actions.square()
        return self.step_dt * (angle.cos() - cost).sum(dim=-1)

    def _get_dones(self) -> tuple[Tensor, Tensor]:
        timed_out = self.episode_length_buf >= self.max_episode_length
        return torch.zeros_like(timed_out), timed_out

    def _reset_idx(self, env_ids: Sequence[int] | None) -> None:
        env_ids = self.robot._ALL_INDICES if env_ids is None else env_ids
        super()._reset_idx(env_ids)
        angle = self.robot.data.default_joint_pos.torch[env_ids]
        angle = angle + sample_uniform(*self.cfg.initial_angle_range, angle.shape, angle.device)
        self.robot.write_joint_position_to_sim_index(position=angle, env_ids=env_ids)
        self.robot.write_joint_velocity_to_sim_index(velocity=torch.zeros_like(angle), env_ids=env_ids)
