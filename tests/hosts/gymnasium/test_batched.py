# SPDX-License-Identifier: BSD-3-Clause
"""Tasks that are stepped in a batch do bitwise what their copies do one by one."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.mujoco.half_cheetah_v5 import HalfCheetahEnv
from gymnasium.wrappers import TimeAwareObservation

from trudi_rsl.hosts.gymnasium import batched_mujoco
from trudi_rsl.hosts.gymnasium import env as gymnasium_env
from trudi_rsl.hosts.gymnasium.batched import BatchedVector, make_vector
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.hosts.gymnasium.make import make_env
from trudi_rsl.hosts.gymnasium.plain import equal
from trudi_rsl.hosts.gymnasium.state import time_limits
from trudi_rsl.hosts.gymnasium.vector import TaskVector

WITHOUT_FALLS = ("HalfCheetah-v5", "Swimmer-v5", "Reacher-v5", "Pusher-v5", "HumanoidStandup-v5")
WITH_FALLS = (
    *("Hopper-v5", "Walker2d-v5", "Ant-v5", "Humanoid-v5", "InvertedPendulum-v5", "InvertedDoublePendulum-v5"),
    *("PartialHopper-v0", "PlanarObstacle-v0"),
)
FALLEN_GOES_ON: dict[str, Any] = {"terminate_when_unhealthy": False, "healthy_reward": 2}
POSITIONS: dict[str, Any] = {"exclude_current_positions_from_observation": False}
ALL_RUNS: list[tuple[str, dict[str, Any]]] = [(task, {}) for task in (*WITHOUT_FALLS, *WITH_FALLS)]
ALL_RUNS += [(task, POSITIONS) for task in ("HalfCheetah-v5", "Swimmer-v5", "HumanoidStandup-v5")]
ALL_RUNS += [(task, POSITIONS | FALLEN_GOES_ON) for task in ("Hopper-v5", "Walker2d-v5", "Humanoid-v5")]
ALL_RUNS += [
    (
        "HalfCheetah-v5",
        {"frame_skip": 2, "forward_reward_weight": 3, "ctrl_cost_weight": 0.7, "reset_noise_scale": 0.3},
    ),
    ("Hopper-v5", {"healthy_state_range": [-3, 3], "healthy_z_range": [0.9, 1.3], "healthy_angle_range": [-0.1, 1.0]}),
    ("Ant-v5", FALLEN_GOES_ON | {"main_body": "front_left_leg", "contact_force_range": [-0.1, 0.2]}),
    ("Ant-v5", {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.1, "healthy_z_range": [0.5, 0.8]}),
    ("Humanoid-v5", {"include_cinert_in_observation": False, "contact_cost_range": [0.0, 1e-3]}),
    ("HumanoidStandup-v5", {"include_qfrc_actuator_in_observation": False, "impact_cost_weight": 1e-3}),
    ("InvertedDoublePendulum-v5", {"healthy_reward": 3}),
    ("Reacher-v5", {"reward_dist_weight": 2, "reward_control_weight": 0.3}),
    ("Pusher-v5", {"reward_near_weight": 2, "reward_dist_weight": 0.3, "reward_control_weight": 1}),
]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Restore the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def copies(task: str, number: int, **options: Any) -> list[gym.Env]:
    return [make_env(task, env_kwargs=options) for _ in range(number)]


def at(_env: int) -> str:
    return "in a test"


def both(task: str, number: int, **options: Any) -> tuple[TaskVector, TaskVector]:
    """Return a task as it is stepped in a batch and one by one, in the same state, episodes of different ages."""
    batched, single = (make(task, copies(task, number, **options), at) for make in (make_vector, TaskVector))
    for vector in (batched, single):
        vector.start(5)
        for i, env in enumerate(vector.envs):
            for limit in time_limits(env):
                limit._elapsed_steps = limit._max_episode_steps - 20 - 7 * i
    return batched, single


def check_equal(batched: TaskVector, single: TaskVector, steps: int) -> np.ndarray:
    """Compare steps bitwise and return how many episodes were terminated and truncated."""
    rng, ends = np.random.default_rng(0), np.zeros(2, int)
    space = batched.single_action_space
    assert isinstance(space, gym.spaces.Box)
    for _ in range(steps):
        actions = rng.uniform(space.low, space.high, (batched.num_envs, *space.shape)).astype(np.float32)
        found, expected = batched.advance(actions), single.advance(actions)
        for name in ("obs", "rewards", "terminated", "truncated", "final_obs"):
            mine, its = getattr(found, name), getattr(expected, name)
            assert mine.dtype == its.dtype
            np.testing.assert_array_equal(mine, its, name)
        reported = [[info.get("is_success") for info in step.infos] for step in (found, expected)]
        assert reported[0] == reported[1]
        ends += found.terminated.sum(), found.truncated.sum()
    return ends


@pytest.mark.parametrize(("task", "options"), ALL_RUNS)
def test_a_batched_task_does_bitwise_what_gymnasium_does(task: str, options: dict[str, Any]) -> None:
    batched, single = both(task, 4, **options)
    terminated, truncated = check_equal(batched, single, 150)
    assert isinstance(batched, BatchedVector)
    assert batched.is_batched
    assert (terminated > 0) == (task in WITH_FALLS and options.get("terminate_when_unhealthy", True))
    assert truncated > 0 or terminated > 0


def test_squares_round_as_those_of_single_numbers() -> None:
    values = np.random.default_rng(0).normal(size=20_000)
    assert batched_mujoco._power_of_two(values).tolist() == [value**2 for value in values]


def test_the_number_of_threads_changes_nothing() -> None:
    torch.set_num_threads(2)
    check_equal(*both("Hopper-v5", 33), 40)


@pytest.mark.parametrize("task", ["Hopper-v5", "Ant-v5", "InvertedDoublePendulum-v5"])
@pytest.mark.parametrize("first_batched", [True, False])
def test_a_run_resumes_bitwise_in_a_batch_what_was_saved_one_by_one_and_the_reverse(
    task: str, first_batched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(batched: bool, seed: int) -> GymnasiumVecEnv:
        with monkeypatch.context() as patch:
            if not batched:
                patch.setattr(gymnasium_env, "make_vector", TaskVector)
            env = GymnasiumVecEnv(task, 3, seed=seed, max_episode_steps=30)
        assert isinstance(env.unwrapped, BatchedVector) == batched
        return env

    first, same = make(first_batched, 1), make(not first_batched, 1)
    bounds = first.action_low, first.action_high - first.action_low
    actions = bounds[0] + bounds[1] * torch.rand(90, 3, first.num_actions, generator=torch.manual_seed(0))
    for action in actions[:40]:
        first.step(action)
        same.step(action)
    saved = first.state_dict()
    assert saved["exact"] is True  # repeated one by one
    assert equal(same.state_dict(), saved)
    other = make(not first_batched, 9)
    other.load_state_dict(saved)
    for action in actions[40:]:
        for mine, its in zip(first.step(action), other.step(action), strict=True):
            torch.testing.assert_close(mine, its, rtol=0.0, atol=0.0)


class Slower(HalfCheetahEnv):
    """A subclass, whose methods may do anything."""


@pytest.mark.parametrize("kind", ["subclass", "wrapper", "one of another class", "older version", "classic control"])
def test_other_tasks_and_wrappers_are_stepped_one_by_one(kind: str) -> None:
    task = {"older version": "HalfCheetah-v4", "classic control": "Pendulum-v1"}.get(kind, "HalfCheetah-v5")
    envs = copies(task, 2)
    if kind == "subclass":
        envs = [Slower(), Slower()]
    elif kind == "wrapper":
        envs = [TimeAwareObservation(env) for env in envs]
    elif kind == "one of another class":
        envs[1] = Slower()
    assert type(make_vector("", envs, at)) is TaskVector


def test_a_host_that_logs_what_tasks_report_receives_it() -> None:
    class Logging(GymnasiumVecEnv):
        metrics = ("x_position",)

    env = Logging("HalfCheetah-v5", 2, max_episode_steps=2)
    env.step(torch.zeros(2, 6))
    assert math.isfinite(env.step(torch.zeros(2, 6))[3]["log"]["Episode/x_position"])


def test_a_version_of_the_task_with_another_reward_is_stepped_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HalfCheetahEnv, "control_cost", lambda self, action: 0.1 * np.abs(action).sum())
    batched, single = both("HalfCheetah-v5", 2)
    check_equal(batched, single, 5)
    assert isinstance(batched, BatchedVector)
    assert not batched.is_batched


@pytest.mark.parametrize("of_one", [True, False])
def test_what_is_changed_in_a_running_task_applies(of_one: bool) -> None:
    vectors = both("HalfCheetah-v5", 3)
    check_equal(*vectors, 3)
    for vector in vectors:
        for env in vector.envs[:1] if of_one else vector.envs:
            core: Any = env.unwrapped
            core._ctrl_cost_weight = 7.0
            core.model.opt.gravity[2] = -1.0
        vector.envs[2].unwrapped.model.opt.timestep = 0.005  # type: ignore[attr-defined]
        vector.envs[1].unwrapped.set_state(np.full(9, 0.3), np.full(9, 0.2))  # type: ignore[attr-defined]
    check_equal(*vectors, 30)


@pytest.mark.parametrize("threads", [1, 2])
def test_an_exception_inside_the_simulation_names_the_environment_after_all_threads_have_stopped(threads: int) -> None:
    torch.set_num_threads(threads)
    batched, _ = both("HalfCheetah-v5", 32)
    batched.advance(np.zeros((32, 6), np.float32))
    broken = batched.envs[3].unwrapped.data  # type: ignore[attr-defined]

    def control(_model: Any, data: Any) -> None:
        if data.time == broken.time and data.qpos[0] == broken.qpos[0]:
            raise ArithmeticError("a controller failed")

    mujoco: Any = sys.modules["mujoco"]
    mujoco.set_mjcb_control(control)
    try:
        with pytest.raises(ArithmeticError, match="a controller failed") as caught:
            batched.advance(np.zeros((32, 6), np.float32))
    finally:
        mujoco.set_mjcb_control(None)
    assert "in environment 3, in a test" in "".join(caught.value.__notes__)
