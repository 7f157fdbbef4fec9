# SPDX-License-Identifier: BSD-3-Clause
"""Configuration of the swing-up task."""

from __future__ import annotations

import math

import isaaclab.sim as sim_utils  # pyright: ignore[reportMissingImports]
from isaaclab.actuators import ImplicitActuatorCfg  # pyright: ignore[reportMissingImports]
from isaaclab.assets import ArticulationCfg  # pyright: ignore[reportMissingImports]
from isaaclab.envs import DirectRLEnvCfg  # pyright: ignore[reportMissingImports]
from isaaclab.scene import InteractiveSceneCfg  # pyright: ignore[reportMissingImports]
from isaaclab.sim import SimulationCfg  # pyright: ignore[reportMissingImports]
from isaaclab.utils import configclass  # pyright: ignore[reportMissingImports]
from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg  # pyright: ignore[reportMissingImports]

from pendulum_tasks.assets import PENDULUM_TASKS_ASSETS_DIR

PENDULUM_CFG = ArticulationCfg(
    spawn=sim_utils.UsdFileCfg(usd_path=str(PENDULUM_TASKS_ASSETS_DIR / "pendulum.usda")),
    init_state=ArticulationCfg.InitialStateCfg(pos=(0.0, 0.0, 1.5), joint_pos={"hinge": 0.0}),
    actuators={
        "motor": ImplicitActuatorCfg(joint_names_expr=["hinge"], joint_effort_limit=10.0, stiffness=0.0, damping=0.0)
    },
)
"""A rod of 1 m and 1 kg that turns about one end without limits; at 0 rad it stands upright."""


@configclass
class SwingUpSceneCfg(InteractiveSceneCfg):
    """Nothing but the pendulum."""

    robot: ArticulationCfg = PENDULUM_CFG.replace(prim_path="{ENV_REGEX_NS}/Robot")


@configclass
class SwingUpEnvCfg(DirectRLEnvCfg):
    """Swing a pendulum up with a motor too weak to lift it at once."""

    decimation = 2
    episode_length_s = 5.0
    action_space = 1
    observation_space = 3
    state_space = 0
    sim: SimulationCfg = SimulationCfg(
        dt=1 / 60,
        render_interval=decimation,
        physics=NewtonCfg(solver_cfg=MJWarpSolverCfg(njmax=5, nconmax=3, integrator="implicitfast"), num_substeps=1),
    )
    scene: SwingUpSceneCfg = SwingUpSceneCfg(num_envs=1024, env_spacing=3.0, replicate_physics=True)

    max_torque = 2.0
    """Torque at an action of 1 [N m]; holding the rod level takes 4.9."""
    initial_angle_range = (-math.pi, math.pi)
    """Angles at the start of an episode [rad]."""
    velocity_weight = 0.01
    """Weight of the squared angular velocity in the reward [s^2/rad^2]."""
    action_weight = 0.01
    """Weight of the squared action in the reward."""
