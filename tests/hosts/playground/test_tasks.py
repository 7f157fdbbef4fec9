# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Real tasks: outputs are Playground's own, states resume bitwise, and every kind of task runs."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
import torch
from mujoco_playground import registry

from tests.hosts.playground.running import CARTPOLE, CHEETAH, ENVS, LENGTH
from trudi_rsl.hosts.playground import PlaygroundVecEnv
from trudi_rsl.hosts.playground.host import HOST
from trudi_rsl.hosts.playground.task import known_tasks

# One task of each class whose code differs.
KINDS = ("AcrobotSwingup", "BallInCup", "FingerTurnEasy", "FishSwim", "HopperHop", "PendulumSwingup", "ReacherEasy")
KINDS += ("WalkerWalk", "PointMass", "SwimmerSwimmer6")
QUICK = ("PendulumSwingup",)


def check_random_steps(env: PlaygroundVecEnv, steps: int) -> None:
    """Step with random actions and check that all outputs are finite."""
    for _ in range(steps):
        obs, rewards, dones, extras = env.step(2.0 * torch.rand(env.num_envs, env.num_actions) - 1.0)
        for values in (*obs.values(), rewards, *extras["final_obs"].values()):
            assert values.isfinite().all()
        assert torch.equal(dones.bool(), extras["time_outs"])


def test_outputs_are_those_of_playgrounds_own_step_from_the_same_states() -> None:
    env = PlaygroundVecEnv(CARTPOLE, ENVS, episode_length=LENGTH, seed=4)
    plain = registry.load(CARTPOLE, config_overrides={"impl": "jax"})
    key = jnp.array([0, 4], jnp.uint32)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(key, i), 0))(jnp.arange(ENVS))
    state, step = jax.jit(jax.vmap(plain.reset))(keys), jax.jit(jax.vmap(plain.step))
    actions = 2.0 * torch.rand(20, ENVS, 1, generator=torch.Generator().manual_seed(0)) - 1.0
    torch.testing.assert_close(env.get_observations()["policy"], torch.from_dlpack(state.obs))
    for action in actions:
        state = step(state, jnp.asarray(action.numpy()))
        obs, rewards, *_ = env.step(action)
        torch.testing.assert_close(obs["policy"], torch.from_dlpack(state.obs))
        torch.testing.assert_close(rewards, torch.from_dlpack(state.reward))


@pytest.mark.parametrize("task", [CARTPOLE, pytest.param(CHEETAH, marks=pytest.mark.nightly)])
def test_a_saved_state_continues_bitwise_over_the_ends_of_episodes(task: str, tmp_path: Path) -> None:
    env, other = (PlaygroundVecEnv(task, ENVS, episode_length=LENGTH, seed=seed) for seed in (1, 2))
    env.episode_length_buf = torch.arange(ENVS) * 5
    actions = 2.0 * torch.rand(60, ENVS, env.num_actions, generator=torch.Generator().manual_seed(0)) - 1.0
    for action in actions[:10]:
        env.step(action)
    torch.save(env.state_dict(), tmp_path / "state.pt")
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for action in actions[10:]:
        mine, theirs = env.step(action), other.step(action)
        assert torch.equal(mine[0]["policy"], theirs[0]["policy"])
        assert torch.equal(mine[1], theirs[1]) and torch.equal(mine[2], theirs[2])
        assert mine[3].get("log") == theirs[3].get("log")


def test_an_episode_of_a_real_task_starts_the_same_in_whatever_company() -> None:
    alone, spread = (PlaygroundVecEnv(CHEETAH, ENVS, episode_length=LENGTH, seed=1) for _ in range(2))
    spread.episode_length_buf = torch.arange(ENVS) * 4
    action = torch.zeros(ENVS, 6)
    second = {}
    for _ in range(LENGTH):
        obs, _, dones, _ = spread.step(action)
        second |= {i: obs["policy"][i] for i in dones.nonzero().flatten().tolist()}
    obs = alone.get_observations()
    for _ in range(LENGTH):
        obs, *_ = alone.step(action)
    assert sorted(second) == list(range(ENVS))
    torch.testing.assert_close(torch.stack([second[i] for i in range(ENVS)]), obs["policy"])


@pytest.mark.parametrize("task", QUICK)
def test_a_task_of_each_kind_steps(task: str) -> None:
    env = PlaygroundVecEnv(task, 2, episode_length=3)
    check_random_steps(env, 4)


@pytest.mark.nightly
@pytest.mark.parametrize("task", sorted({*KINDS} - {*QUICK}))
def test_a_task_of_each_further_kind_steps(task: str) -> None:
    env = PlaygroundVecEnv(task, 2, episode_length=3)
    check_random_steps(env, 4)


@pytest.mark.nightly
@pytest.mark.parametrize("task", ["G1JoystickRoughTerrain", "T1JoystickFlatTerrain", "T1JoystickRoughTerrain"])
def test_a_humanoid_steps_on_stand_in_meshes(task: str, menagerie: Path) -> None:
    env = PlaygroundVecEnv(task, 2, episode_length=3, menagerie=str(menagerie))
    check_random_steps(env, 4)


def test_the_names_that_the_host_claims_are_those_of_the_installed_playground() -> None:
    unclaimed = [task for task in registry.ALL_ENVS if not HOST.claims(task)]
    assert unclaimed == []
    unused = [pattern for pattern in HOST.patterns if not any(HOST.claims(task) for task in known_tasks())]
    assert unused == []
