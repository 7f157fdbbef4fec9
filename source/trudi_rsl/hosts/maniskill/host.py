# SPDX-License-Identifier: BSD-3-Clause
"""ManiSkill3 among the hosts. Imports no simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trudi_rsl.config.schema import EnvCfg
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.host import EnvironmentHost

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv


@dataclass
class ManiSkillEnvCfg(EnvCfg):
    """The ``env`` section of ManiSkill's tasks."""

    sim_backend: str = "auto"
    """Simulation on the CPU, one for each environment (`physx_cpu`), or on the GPU, one for all (`physx_cuda`); `auto`
    takes that of the training device."""
    workers: Any = "auto"
    """Processes that simulate on the CPU, at least 1; `auto` takes one per core for 16 environments or more, and the
    training's own process for fewer."""
    on_success: str = "bootstrap"
    """What success does to an episode: `bootstrap` ends it as a time limit does, so that the learner adds the value of
    the last state, which is the paper's protocol; `terminate` ends it for good; `ignore` lets it go on to the time
    limit. A failure always ends it for good."""
    obs_mode: str = "state"
    """ManiSkill's observation mode; supported is `state`."""
    reward_mode: str | None = None
    """`normalized_dense`, `dense` or `sparse`; None takes the first of them that the task has."""
    control_mode: str | None = None
    """Controller of the robot, such as `pd_joint_delta_pos` or `pd_ee_delta_pose`; None keeps the task's own."""
    max_episode_steps: int | None = None
    """Time limit in steps, at least 1; None keeps the task's own."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Further options of the task's constructor, such as `robot_uids`."""
    action_bounds: list[float] | None = None
    """Lower and upper bound for action entries that the controller leaves unbounded."""


def make_env(name: str, cfg: ManiSkillEnvCfg, device: str, seed: int, render_mode: str | None) -> VecEnv:
    """Make the environments of a task; see :class:`~trudi_rsl.hosts.maniskill.env.ManiSkillVecEnv`."""
    from trudi_rsl.hosts.maniskill.env import ManiSkillVecEnv

    settings = dict(vars(cfg))
    bounds = settings.pop("action_bounds")
    if bounds is not None and len(bounds) != 2:
        raise ConfigError(f"env.action_bounds must be [low, high]; got {list(bounds)}.")
    settings["action_bounds"] = None if bounds is None else (bounds[0], bounds[1])
    return ManiSkillVecEnv(
        name, settings.pop("num_envs"), device=device, seed=seed, render_mode=render_mode, **settings
    )


def tasks() -> Sequence[str]:
    """Return the names of all tasks with state observations."""
    from trudi_rsl.hosts.maniskill.make import task_names

    return task_names()


PAPER_TASKS = (
    *("PickCube-v1", "StackCube-v1", "PokeCube-v1", "PullCube-v1", "PushCube-v1", "RollBall-v1", "LiftPegUpright-v1"),
    *("PlaceSphere-v1", "PlugCharger-v1", "PushT-v1", "PullCubeTool-v1", "TwoRobotPickCube-v1", "TwoRobotStackCube-v1"),
)
"""The tasks of the TruDi paper."""
OTHER_TASKS = (
    *("AnymalC-*-v1", "AssemblingKits-v1", "DrawSVG-v1", "DrawTriangle-v1", "FMBAssembly1Easy-v1", "InsertFlower-v1"),
    *("MS-*-v1", "OpenCabinetDoor-v1", "OpenCabinetDrawer-v1", "PegInsertionSide-v1", "PickClutterYCB-v1"),
    *("PickCubeSO100-v1", "PickCubeWidowXAI-v1", "PickSingleYCB-v1", "RoboCasaKitchen-v1", "SO100GraspCube-v1"),
    *("RotateSingleObjectInHandLevel?-v1", "RotateValveLevel?-v1", "StackPyramid-v1", "TableTopFreeDraw-v1"),
    *("TriFingerRotateCubeLevel?-v1", "TurnFaucet-v1", "UnitreeG1*-v1", "UnitreeGo2-Reach-v1", "UnitreeH1Stand-v1"),
)
"""Patterns of further tasks of ManiSkill 3.0; general names, such as Empty-v1, need the prefix `maniskill:`."""

HOST = EnvironmentHost(
    name="maniskill",
    title="ManiSkill3",
    package="mani_skill",
    install='Run: pip install "mani-skill==3.0.1"',
    patterns=(*PAPER_TASKS, *OTHER_TASKS),
    tasks=tasks,
    env_cfg=ManiSkillEnvCfg,
    make_env=make_env,
    starts_in_seconds=False,  # it needs Vulkan, which the login node of a cluster may not have
)
