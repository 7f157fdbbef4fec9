# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""A resumed run continues mjlab's step counters and terrain levels; non-finite environments are reset."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from mjlab.envs import ManagerBasedRlEnv
from mjlab.rl import RslRlVecEnvWrapper
from mjlab.tasks.registry import load_env_cfg

from tests.hosts.mjlab.running import ROUGH
from trudi_rsl.checkpoints.resume import resume_state, set_resume_state
from trudi_rsl.environments.progress import partial_reset

pytestmark = pytest.mark.slow

NUM_ENVS = 4


@pytest.fixture(scope="module")
def make() -> Any:
    """Return a function that makes environments of the rough G1."""
    with contextlib.ExitStack() as stack:

        def build() -> RslRlVecEnvWrapper:
            cfg = load_env_cfg(ROUGH)
            cfg.scene.num_envs = NUM_ENVS
            env = RslRlVecEnvWrapper(ManagerBasedRlEnv(cfg, device="cpu"))
            return stack.enter_context(contextlib.closing(env))

        yield build


def test_counters_and_terrain_are_restored_and_robots_stand_on_it(make: Any) -> None:
    first, second = make(), make()
    first.unwrapped.common_step_counter = 4321
    terrain = first.unwrapped.scene.terrain
    terrain.terrain_levels[:] = torch.arange(NUM_ENVS)
    state = resume_state(first)
    set_resume_state(second, state)
    host = second.unwrapped
    assert host.common_step_counter == 4321
    assert host.scene.terrain.terrain_levels.tolist() == list(range(NUM_ENVS))
    expected = terrain.terrain_origins[torch.arange(NUM_ENVS), state["env_progress"]["terrain_types"]]
    torch.testing.assert_close(host.scene.terrain.env_origins, expected)
    distance = (host.scene["robot"].data.root_link_pos_w - expected)[:, :2].norm(dim=-1)
    # Less than half a tile: closest to their own origin.
    assert (distance < terrain.cfg.terrain_generator.size[0] / 2).all()


def test_an_environment_whose_state_is_not_finite_is_reset_and_the_others_go_on(make: Any) -> None:
    env = make()
    actions = torch.zeros(NUM_ENVS, env.num_actions)
    env.step(actions)
    lengths = env.episode_length_buf.clone()
    env.unwrapped.sim.data.qpos[1] = torch.nan
    obs, *_ = env.step(actions)
    lost = ~torch.isfinite(obs["actor"]).all(-1)
    assert lost.tolist() == [False, True, False, False]
    reset = partial_reset(env)
    assert reset is not None
    reset(lost.nonzero().flatten())
    assert env.episode_length_buf.tolist() == [lengths[0] + 1, 0, lengths[2] + 1, lengths[3] + 1]
    obs, *_ = env.step(actions)
    assert torch.isfinite(obs["actor"]).all()
