# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Action bounds of mjlab's tasks, against the limits of the simulated model."""

from __future__ import annotations

import mujoco
import torch
from mjlab.envs import ManagerBasedRlEnv
from mjlab.envs.mdp.actions import JointVelocityActionCfg
from mjlab.rl import RslRlVecEnvWrapper
from mjlab.tasks.registry import load_env_cfg, load_rl_cfg

from tests.hosts.mjlab.running import CARTPOLE, FLAT
from trudi_rsl.environments.action_bounds import action_bounds
from trudi_rsl.hosts.mjlab.description import term_bounds


def test_the_ends_of_the_bounds_command_the_ends_of_the_g1s_joints(g1: RslRlVecEnvWrapper) -> None:
    low, high = action_bounds(g1, None)
    model, term = g1.unwrapped.sim.mj_model, g1.unwrapped.action_manager.get_term("joint_pos")
    ranges = [model.jnt_range[_joint(model, f"robot/{name}")] for name in term.target_names]
    for action, end in ((low, 0), (high, 1)):
        g1.unwrapped.action_manager.process_action(action.expand(g1.num_envs, -1))
        target = term._processed_actions[0]
        torch.testing.assert_close(target, torch.tensor([r[end] for r in ranges], dtype=torch.float32))


def test_initial_values_are_near_the_value_range_with_the_presets_bounds_and_far_from_it_with_the_joint_limits(
    g1: RslRlVecEnvWrapper,
) -> None:
    algorithm = load_rl_cfg(FLAT + "-TruDi").algorithm
    values = {}
    for name, bounds in (("preset", action_bounds(g1, algorithm.action_bounds)), ("limits", action_bounds(g1, None))):
        low, high = bounds
        g1.seed(0)
        g1.reset()
        # The untrained policy.
        unit_actions = torch.tanh(algorithm.prior_std * torch.randn(24, g1.num_envs, g1.num_actions))
        rewards = [g1.step((low + high) / 2 + (high - low) / 2 * action)[1].mean() for action in unit_actions]
        values[name] = float(torch.stack(rewards).mean()) / (1 - algorithm.gamma)
    lowest, _ = algorithm.value_range
    assert 2 * lowest < values["preset"] < 0
    assert values["limits"] < 5 * lowest


def test_a_clip_of_the_term_narrows_the_bounds_and_a_negative_scale_keeps_them_in_order() -> None:
    cfg = load_env_cfg(CARTPOLE)
    cfg.actions["effort"].clip = {"slider": (-0.5, 0.25)}
    cfg.actions["effort"].scale = -0.5
    env = ManagerBasedRlEnv(cfg, "cpu")
    bounds = term_bounds(env.action_manager.get_term("effort"))
    assert bounds is not None
    assert (bounds[0].tolist(), bounds[1].tolist()) == ([-0.5], [1.0])


def test_efforts_reach_the_actuators_limits_and_velocities_have_no_bounds() -> None:
    cfg = load_env_cfg(CARTPOLE)
    cfg.actions["effort"].scale = 2.0
    cfg.actions["velocity"] = JointVelocityActionCfg(entity_name="cartpole", actuator_names=("slider",))
    env = ManagerBasedRlEnv(cfg, "cpu")
    model = env.sim.mj_model
    bounds = term_bounds(env.action_manager.get_term("effort"))
    assert bounds is not None
    torch.testing.assert_close(2.0 * torch.cat(bounds), torch.tensor(model.actuator_ctrlrange[0], dtype=torch.float32))
    assert term_bounds(env.action_manager.get_term("velocity")) is None


def _joint(model: mujoco.MjModel, name: str) -> int:  # pyright: ignore[reportAttributeAccessIssue]
    return mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)  # pyright: ignore[reportAttributeAccessIssue]
