# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Steps with true last observations, compared with mjlab's own steps."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from mjlab.envs import ManagerBasedRlEnv
from mjlab.managers.recorder_manager import RecorderTerm, RecorderTermCfg
from mjlab.rl import RslRlVecEnvWrapper
from mjlab.tasks.registry import load_env_cfg

from tests.hosts.mjlab.running import CARTPOLE, FLAT
from trudi_rsl.hosts.mjlab.runners import last_observations

ENVS = 4
STEPS = 12


def _make(task: str, **changes: object) -> RslRlVecEnvWrapper:
    cfg = load_env_cfg(task)
    cfg.scene.num_envs, cfg.seed = ENVS, 0
    for name, value in changes.items():
        setattr(cfg, name, value)
    return RslRlVecEnvWrapper(ManagerBasedRlEnv(cfg, "cpu"))


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[RslRlVecEnvWrapper, RslRlVecEnvWrapper]]:
    """Two equal simulations of flat G1s."""
    pair = _make(FLAT), _make(FLAT)
    yield pair
    for env in pair:
        env.close()


Pair = tuple[RslRlVecEnvWrapper, RslRlVecEnvWrapper]


def _run(env: RslRlVecEnvWrapper, ends: bool) -> list[tuple]:
    """Step from a seeded reset; with ``ends``, environment 1 runs out of time in the last step."""
    env.seed(1)
    env.reset()
    env.episode_length_buf[1] = env.max_episode_length - STEPS if ends else 0
    actions = 0.1 * torch.randn(STEPS, ENVS, env.num_actions, generator=torch.Generator().manual_seed(0))
    return [copy.deepcopy(env.step(action)) for action in actions]


def test_last_observations_are_those_of_an_episode_without_the_time_limit_and_others_are_unchanged(pair: Pair) -> None:
    endless, ours = pair
    expected = _run(endless, ends=False)
    with last_observations(ours) as env_with_last:
        steps = _run(env_with_last, ends=True)
    going_on = torch.tensor([True, False, True, True])
    for i, (other, own) in enumerate(zip(expected, steps, strict=True)):
        last = i == STEPS - 1
        assert own[2].tolist() == own[3]["time_outs"].tolist() == [0, int(last), 0, 0]
        assert torch.equal(own[1], other[1])
        assert ("final_obs" in own[3]) == last
        for group in ("actor", "critic"):
            assert torch.equal(own[0][group][going_on], other[0][group][going_on])
            if last:
                assert torch.equal(own[3]["final_obs"][group], other[0][group])
                assert not torch.equal(own[0][group][1], other[0][group][1])
    command, other_command = (env.unwrapped.command_manager.get_term("twist") for env in (ours, endless))
    for name, values in command.metrics.items():
        assert torch.equal(values[going_on], other_command.metrics[name][going_on])
    assert ours.unwrapped.common_step_counter == endless.unwrapped.common_step_counter


def test_an_ended_episode_is_logged_and_reset_as_in_mjlab(pair: Pair) -> None:
    stock, ours = pair
    mjlabs = _run(stock, ends=True)[-1]
    with last_observations(ours) as env_with_last:
        own = _run(env_with_last, ends=True)[-1]
    assert own[2].tolist() == mjlabs[2].tolist() == [0, 1, 0, 0]
    assert own[3]["log"].keys() == mjlabs[3]["log"].keys()
    for name, value in mjlabs[3]["log"].items():
        # Unlike in mjlab's own step, a command also adds its error in the last step.
        steps = STEPS / (STEPS - 1) if name.startswith("Metrics/twist") else 1.0
        assert float(own[3]["log"][name]) == pytest.approx(steps * float(value), rel=0.1, abs=1e-4), name
    assert ours.episode_length_buf.tolist() == stock.episode_length_buf.tolist() == [STEPS, 0, STEPS, STEPS]
    for env in (ours.unwrapped, stock.unwrapped):
        command = env.command_manager.get_term("twist")
        assert command.time_left[1] > 0.0 and command.command_counter[1] == 1
        assert env.action_manager.action[1].abs().max() == 0.0


def test_the_last_observation_is_that_of_the_state_in_which_the_episode_ended() -> None:
    env = _make(CARTPOLE)
    env.episode_length_buf[:] = env.max_episode_length - 3
    with last_observations(env) as env_with_last:
        for _ in range(2):
            env_with_last.step(torch.ones(ENVS, 1))
        state = env.unwrapped.sim.data.qpos.clone()
        obs, _, dones, extras = env_with_last.step(torch.ones(ENVS, 1))
        assert dones.all()
        # Full force moves the cart further in each step, and episodes start at rest in the middle.
        assert (extras["final_obs"]["critic"][:, 0] > state[:, 0] + 1e-3).all()
        assert (obs["critic"][:, 0].abs() < 1e-3).all()
        assert env.episode_length_buf.tolist() == [0] * ENVS
        assert "final_obs" not in env_with_last.step(torch.ones(ENVS, 1))[3]


def test_steps_without_a_time_limit_due_are_mjlabs_own(pair: Pair) -> None:
    env = pair[1]
    env.reset()
    env.episode_length_buf[:] = 0
    resets: list[bool] = []
    with last_observations(env) as env_with_last:
        for _ in range(40):
            # Over the full joint ranges, so that the robot falls.
            _, _, dones, extras = env_with_last.step(10.0 * torch.randn(ENVS, env.num_actions))
            assert env.unwrapped.cfg.auto_reset
            assert "final_obs" not in extras
            resets.append(bool(dones.any()))
    assert any(resets)


def test_mjlab_resets_again_after_the_block_even_after_an_error() -> None:
    env = _make(CARTPOLE)
    env.episode_length_buf[:] = env.max_episode_length - 1
    with pytest.raises(KeyboardInterrupt), last_observations(env) as env_with_last:
        env_with_last.step(torch.zeros(ENVS, 1))
        assert not env.unwrapped.cfg.auto_reset
        raise KeyboardInterrupt
    assert env.unwrapped.cfg.auto_reset
    env.episode_length_buf[:] = env.max_episode_length - 1
    for _ in range(2):
        env.step(torch.zeros(ENVS, 1))
    assert env.episode_length_buf.tolist() == [1] * ENVS


def test_a_task_with_recorders_is_reset_by_mjlab(capsys: pytest.CaptureFixture[str]) -> None:
    env = _make(CARTPOLE, recorders={"steps": RecorderTermCfg(func=RecorderTerm)})
    with last_observations(env) as env_with_last:
        assert env_with_last is env
        assert env.unwrapped.cfg.auto_reset
    assert "last observations are not available" in capsys.readouterr().out
