# SPDX-License-Identifier: BSD-3-Clause
"""A task of Isaac Lab 2.3 that needs no Isaac Sim: the real ``DirectRLEnv`` with a point mass for physics.

Isaac Lab's environment class, configuration classes, wrapper and registration are the real ones; only the simulation
context and the scene are replaced by empty ones.
"""

from __future__ import annotations

import builtins
from typing import Any

import gymnasium
import torch
from isaaclab.envs import DirectRLEnv, DirectRLEnvCfg, direct_rl_env  # pyright: ignore[reportMissingImports]
from isaaclab.scene import InteractiveSceneCfg  # pyright: ignore[reportMissingImports]
from isaaclab.sim import SimulationCfg  # pyright: ignore[reportMissingImports]
from isaaclab.utils import configclass  # pyright: ignore[reportMissingImports]
from isaaclab_rl.rsl_rl import RslRlOnPolicyRunnerCfg, RslRlPpoActorCriticCfg, RslRlPpoAlgorithmCfg  # pyright: ignore[reportMissingImports]
from torch import Tensor

TASK = "Isaac-Point-Direct-v0"


class _Simulation:
    """A simulation context without a simulator."""

    RenderMode = direct_rl_env.SimulationContext.RenderMode
    render_mode = RenderMode.NO_GUI_OR_RENDERING

    def __init__(self, cfg: SimulationCfg) -> None:
        self.device = cfg.device

    instance = has_gui = staticmethod(lambda: None)

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class _Scene:
    """A scene without assets."""

    def __init__(self, cfg: InteractiveSceneCfg) -> None:
        self.num_envs = cfg.num_envs

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


@configclass
class PointEnvCfg(DirectRLEnvCfg):
    """A point in the plane is pushed towards the origin."""

    sim: SimulationCfg = SimulationCfg(dt=0.05, device="cpu")
    scene: InteractiveSceneCfg = InteractiveSceneCfg(num_envs=8, env_spacing=1.0)
    decimation = 2
    episode_length_s = 1.0
    action_space = 2
    observation_space = 4
    state_space = 5


class PointEnv(DirectRLEnv):
    """Positions and velocities ``[E, 2]``; an episode ends out of reach or in time."""

    cfg: PointEnvCfg

    def __init__(self, cfg: PointEnvCfg, render_mode: str | None = None, **kwargs: Any) -> None:
        self.position = torch.zeros(cfg.scene.num_envs, 2)
        self.velocity = torch.zeros(cfg.scene.num_envs, 2)
        super().__init__(cfg, render_mode, **kwargs)

    def _pre_physics_step(self, actions: Tensor) -> None:
        self.actions = actions.clone()

    def _apply_action(self) -> None:
        self.velocity += self.physics_dt * self.actions
        self.position += self.physics_dt * self.velocity

    def _get_observations(self) -> dict[str, Tensor]:
        seen = torch.cat([self.position, self.velocity], dim=-1)
        return {"policy": seen, "critic": torch.cat([seen, self.episode_length_buf.unsqueeze(-1).float()], dim=-1)}

    def _get_rewards(self) -> Tensor:
        return -self.position.square().sum(-1)

    def _get_dones(self) -> tuple[Tensor, Tensor]:
        return self.position.norm(dim=-1) > 2.0, self.episode_length_buf >= self.max_episode_length - 1

    def _reset_idx(self, env_ids: Tensor) -> None:
        super()._reset_idx(env_ids)
        self.position[env_ids] = torch.rand(len(env_ids), 2) * 2.0 - 1.0
        self.velocity[env_ids] = 0.0


@configclass
class PointPPORunnerCfg(RslRlOnPolicyRunnerCfg):
    """The task's own PPO configuration."""

    num_steps_per_env = 8
    max_iterations = 4
    save_interval = 50
    experiment_name = "point"
    obs_groups = {"policy": ["policy"], "critic": ["critic"]}  # noqa: RUF012
    policy = RslRlPpoActorCriticCfg(
        init_noise_std=1.0,
        actor_obs_normalization=False,
        critic_obs_normalization=False,
        actor_hidden_dims=[16],
        critic_hidden_dims=[16],
        activation="elu",
    )
    algorithm = RslRlPpoAlgorithmCfg(
        value_loss_coef=1.0,
        use_clipped_value_loss=True,
        clip_param=0.2,
        entropy_coef=0.0,
        num_learning_epochs=2,
        num_mini_batches=2,
        learning_rate=1.0e-3,
        schedule="adaptive",
        gamma=0.97,
        lam=0.95,
        desired_kl=0.01,
        max_grad_norm=1.0,
    )


builtins.ISAAC_LAUNCHED_FROM_TERMINAL = False  # pyright: ignore[reportAttributeAccessIssue]
direct_rl_env.SimulationContext = _Simulation
direct_rl_env.InteractiveScene = _Scene
gymnasium.register(
    TASK,
    entry_point=f"{__name__}:PointEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{__name__}:PointEnvCfg",
        "rsl_rl_cfg_entry_point": f"{__name__}:PointPPORunnerCfg",
    },
)
