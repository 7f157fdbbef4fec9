# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Action bounds of mjlab's tasks, against the limits of the simulated model."""

from __future__ import annotations

import numpy as np
import pytest
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
    ranges = np.array([model.joint(f"robot/{name}").range for name in term.target_names], np.float32)
    for action, end in ((low, 0), (high, 1)):
        g1.unwrapped.action_manager.process_action(action.expand(g1.num_envs, -1))
        torch.testing.assert_close(term._processed_actions[0], torch.from_numpy(ranges[:, end].copy()))


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


@pytest.mark.parametrize(("clip", "scale", "expected"), [(None, 2.0, (-0.5, 0.5)), ((-0.5, 0.25), -0.5, (-0.5, 1.0))])
def test_efforts_reach_the_actuators_limits_or_the_terms_clip_and_velocities_have_no_bounds(
    clip: tuple[float, float] | None, scale: float, expected: tuple[float, float]
) -> None:
    cfg = load_env_cfg(CARTPOLE)
    cfg.actions["effort"].scale = scale
    cfg.actions["effort"].clip = None if clip is None else {"slider": clip}
    cfg.actions["velocity"] = JointVelocityActionCfg(entity_name="cartpole", actuator_names=("slider",))
    env = ManagerBasedRlEnv(cfg, "cpu")
    np.testing.assert_array_equal(env.sim.mj_model.actuator_ctrlrange[0], (-1.0, 1.0))
    bounds = term_bounds(env.action_manager.get_term("effort"))
    assert bounds is not None and tuple(torch.cat(bounds).tolist()) == expected
    assert term_bounds(env.action_manager.get_term("velocity")) is None
