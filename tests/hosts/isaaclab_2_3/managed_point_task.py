# SPDX-License-Identifier: BSD-3-Clause
"""The task of :mod:`point_task` with managers: Isaac Lab 2.3's real ``ManagerBasedRLEnv`` on the same point mass."""

from __future__ import annotations

from typing import Any

import gymnasium
import torch
from isaaclab.envs import ManagerBasedRLEnv, ManagerBasedRLEnvCfg, manager_based_env, mdp  # pyright: ignore[reportMissingImports]
from isaaclab.managers import (  # pyright: ignore[reportMissingImports]
    ActionTerm,
    ActionTermCfg,
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    TerminationTermCfg,
)
from isaaclab.scene import InteractiveSceneCfg  # pyright: ignore[reportMissingImports]
from isaaclab.sim import SimulationCfg  # pyright: ignore[reportMissingImports]
from isaaclab.utils import configclass  # pyright: ignore[reportMissingImports]
from torch import Tensor

from tests.hosts.isaaclab_2_3 import point_task

TASK = "Isaac-Point-v0"


class _Simulation(point_task._Simulation):
    """A simulation context without a simulator, for managers, which check that it is playing."""

    is_playing = staticmethod(lambda: True)


class _Scene(point_task._Scene):
    """A scene in which every name is that of nothing."""

    def __getitem__(self, name: str) -> None:
        return None


class Push(ActionTerm):
    """Accelerates the points."""

    action_dim = 2
    raw_actions = processed_actions = None

    def __init__(self, cfg: ActionTermCfg, env: Any) -> None:
        super().__init__(cfg, env)
        self.raw_actions = self.processed_actions = torch.zeros(env.num_envs, 2)

    def process_actions(self, actions: Tensor) -> None:
        self.raw_actions = self.processed_actions = actions.clone()

    def apply_actions(self) -> None:
        self._env.velocity += self._env.physics_dt * self.processed_actions
        self._env.position += self._env.physics_dt * self._env.velocity


def state(env: Any) -> Tensor:
    return torch.cat([env.position, env.velocity], dim=-1)


def closeness(env: Any) -> Tensor:
    return -env.position.square().sum(-1)


def out_of_reach(env: Any) -> Tensor:
    return env.position.norm(dim=-1) > 2.0


def place(env: Any, env_ids: Tensor) -> None:
    env.position[env_ids] = torch.rand(len(env_ids), 2) * 2.0 - 1.0
    env.velocity[env_ids] = 0.0


@configclass
class PushCfg(ActionTermCfg):
    class_type = Push
    asset_name = "none"


@configclass
class ActionsCfg:
    push = PushCfg()


@configclass
class StateCfg(ObservationGroupCfg):
    state = ObservationTermCfg(func=state)


@configclass
class ObservationsCfg:
    policy: StateCfg = StateCfg()
    critic: StateCfg = StateCfg()


@configclass
class EventsCfg:
    place = EventTermCfg(func=place, mode="reset")


@configclass
class RewardsCfg:
    closeness = RewardTermCfg(func=closeness, weight=1.0)


@configclass
class TerminationsCfg:
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)
    out_of_reach = TerminationTermCfg(func=out_of_reach)


@configclass
class ManagedPointEnvCfg(ManagerBasedRLEnvCfg):
    """A point in the plane is pushed towards the origin."""

    sim: SimulationCfg = SimulationCfg(dt=0.05, device="cpu")
    scene: InteractiveSceneCfg = InteractiveSceneCfg(num_envs=8, env_spacing=1.0)
    decimation = 2
    episode_length_s = 1.0
    actions: ActionsCfg = ActionsCfg()
    observations: ObservationsCfg = ObservationsCfg()
    events: EventsCfg = EventsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()


class ManagedPointEnv(ManagerBasedRLEnv):
    """Positions and velocities ``[E, 2]``."""

    def __init__(self, cfg: ManagedPointEnvCfg, render_mode: str | None = None, **kwargs: Any) -> None:
        self.position = torch.zeros(cfg.scene.num_envs, 2)
        self.velocity = torch.zeros(cfg.scene.num_envs, 2)
        super().__init__(cfg, render_mode, **kwargs)


manager_based_env.SimulationContext = _Simulation
manager_based_env.InteractiveScene = _Scene
gymnasium.register(
    TASK,
    entry_point=f"{__name__}:ManagedPointEnv",
    disable_env_checker=True,
    kwargs={
        "env_cfg_entry_point": f"{__name__}:ManagedPointEnvCfg",
        "rsl_rl_cfg_entry_point": f"{point_task.__name__}:PointPPORunnerCfg",
    },
)
