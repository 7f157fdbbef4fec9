# SPDX-License-Identifier: BSD-3-Clause
"""Errors of the Gymnasium host name the wrong value and the way out."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space, Tuple

from trudi_rsl.errors import CheckpointError, ConfigError, NonFiniteError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv

CLOCK = "tests.hosts.gymnasium_tasks:trudi-tests/Clock-v0"
BOX = Box(-1.0, 1.0, (2,), np.float32)


def clock(num_envs: int = 3, **env_kwargs: Any) -> GymnasiumVecEnv:
    return GymnasiumVecEnv(CLOCK, num_envs, env_kwargs=env_kwargs)


@pytest.mark.parametrize("space", [Discrete(4), MultiDiscrete([2, 3]), Dict({"a": BOX}), Tuple([BOX, BOX])])
@pytest.mark.parametrize(
    ("role", "own", "advice"),
    [
        ("action_space", Box(0, 5, (2,), np.int64), "1-D Box"),
        ("observation_space", Box(0, 255, (8, 8, 3), np.uint8), "FlattenObservation"),
    ],
)
def test_other_spaces_than_vectors_are_refused(role: str, own: Space, advice: str, space: Space) -> None:
    for refused in (space, own, Box(-1.0, 1.0, (2, 2), np.float32)):
        with pytest.raises(ConfigError, match=re.escape(str(refused)) + f".*{advice}"):
            clock(2, **{role: refused})


@pytest.mark.parametrize(
    ("bound", "bounds", "named"),
    [
        (np.inf, None, r"\[1\].*env\.action_bounds=\[-1\.0,1\.0\]"),
        (np.finfo(np.float32).max, None, r"\[1\].*env\.action_bounds=\[-1\.0,1\.0\]"),
        *((np.inf, bounds, "low < high") for bounds in [(1.0, -1.0), (0.0, 0.0), (-np.inf, 1.0), (np.nan, 1.0)]),
        (0.0, None, r"entry 1: low -?0\.0, high 0\.0"),
    ],
)
def test_action_bounds_must_be_finite_and_ordered(bound: float, bounds: tuple[float, float] | None, named: str) -> None:
    space = Box(np.array([-1.0, -bound], np.float32), np.array([1.0, bound], np.float32))
    with pytest.raises(ConfigError, match=named):
        GymnasiumVecEnv(CLOCK, 1, env_kwargs={"action_space": space}, action_bounds=bounds)


@pytest.mark.parametrize(
    ("task", "error", "named"),
    [
        ("HalfCheeta-v5", ConfigError, "HalfCheeta-v5.*'HalfCheetah-v5'"),
        ("HalfCheetah-v9", ConfigError, "HalfCheetah-v9.*'HalfCheetah-v5'"),
        ("halfcheetah", ConfigError, "halfcheetah.*'HalfCheetah-v5'"),
        ("half cheetah", ConfigError, "half cheetah"),
        ("no_such_module:Env-v0", ImportError, "no_such_module"),
    ],
)
def test_an_unknown_task_is_named_with_the_nearest(task: str, error: type[Exception], named: str) -> None:
    with pytest.raises(error, match=named):
        GymnasiumVecEnv(task, 1)


@pytest.mark.parametrize(
    ("task", "env_kwargs", "reason"),
    [
        ("HalfCheetah-v5", {"forward_reward": 1.0}, "'forward_reward'.*'forward_reward_weight'"),
        ("HalfCheetah-v5", {"xml_file": "none.xml"}, r"xml_file.*OSError: .*none\.xml"),
        ("HalfCheetah-v5", {"frame_skip": "many"}, "frame_skip.*TypeError: "),
        ("Pendulum-v1", {"g": "abc"}, "'g': 'abc'.*TypeError: "),  # read only by step
    ],
)
def test_an_unusable_option_is_named_with_the_simulators_reason(
    task: str, env_kwargs: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=f"'{task}'.*{reason}"):
        GymnasiumVecEnv(task, 1, env_kwargs=env_kwargs)


def test_trying_options_does_not_change_the_first_episode() -> None:
    plain, tried = GymnasiumVecEnv("Pendulum-v1", 2), GymnasiumVecEnv("Pendulum-v1", 2, env_kwargs={"g": 10.0})
    for action in (-1.0, 1.0):
        assert torch.equal(plain.get_observations()["policy"], tried.get_observations()["policy"])
        for env in (plain, tried):
            env.step(torch.full((2, 1), action))


@pytest.mark.parametrize("sizes", [{"num_envs": 0}, {"num_envs": 1, "max_episode_steps": 0}, {"num_envs": 1.5}])
def test_sizes_must_be_positive_integers(sizes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        GymnasiumVecEnv("HalfCheetah-v5", **sizes)


@pytest.mark.parametrize(
    ("missing", "command"),
    [("mujoco", 'pip install "gymnasium[mujoco]"'), ("gymnasium", 'pip install "gymnasium[mujoco]>=1.2"')],
)
def test_a_missing_package_is_answered_with_the_install_command(missing: str, command: str) -> None:
    imports = f"import sys; sys.modules[{missing!r}] = None; from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv"
    program = [sys.executable, "-c", f"{imports}; GymnasiumVecEnv('HalfCheetah-v5', 1)"]
    done = subprocess.run(program, capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)})
    last_line = done.stderr.strip().splitlines()[-1]
    assert last_line.startswith("ImportError") and command in last_line


@pytest.mark.parametrize(
    ("options", "found"),
    [({}, r"observation\[1\]"), ({"nan_in": "reward"}, "reward"), ({"length": 3}, r"observation\[1\]")],
)
def test_nan_from_the_simulator_is_located(options: dict[str, Any], found: str) -> None:
    with pytest.raises(NonFiniteError, match="0 steps into its episode"):
        clock(nan_at=0)
    env = clock(2, nan_at=3, **options)
    for _ in range(2):
        env.step(torch.zeros(2, 2))
    located = f"{found} is nan in environment 0, 3 steps into its episode and 3 since the start"
    with pytest.raises(NonFiniteError, match=located):
        env.step(torch.zeros(2, 2))


def test_the_steps_of_a_located_nan_count_over_episodes_and_resumes() -> None:
    env = GymnasiumVecEnv(CLOCK, 1, max_episode_steps=4, env_kwargs={"nan_at": 3})
    env.episode_length_buf = torch.tensor([2])
    for _ in range(4):
        env.step(torch.zeros(1, 2))
    state = env.state_dict()
    with pytest.raises(NonFiniteError, match="3 steps into its episode and 5 since the start"):
        env.step(torch.zeros(1, 2))
    resumed = clock(1, nan_at=1)
    with pytest.warns(UserWarning, match="starts new episodes"):
        resumed.load_state_dict(state)
    with pytest.raises(NonFiniteError, match="1 steps into its episode and 5 since the start"):
        resumed.step(torch.zeros(1, 2))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_from_the_policy_is_not_blamed_on_the_simulator(value: float) -> None:
    env = clock()
    env.step(torch.zeros(3, 2))
    actions = torch.zeros(3, 2)
    actions[2, 1] = value
    with pytest.raises(NonFiniteError, match=rf"the policy's action\[1\] is {value} in environment 2, 1 steps"):
        env.step(actions)


def test_wrong_shapes_and_missing_render_modes_are_named() -> None:
    env = clock()
    with pytest.raises(ValueError, match=r"\(3, 2\), not \(3, 4\)"):
        env.step(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="3 numbers of at least 0"):
        env.episode_length_buf = torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match="minimum -1"):
        env.episode_length_buf = torch.tensor([0, -1, 2])
    with pytest.raises(ConfigError, match="render_mode='rgb_array'"):
        env.render()


def test_the_state_of_another_task_or_model_is_refused() -> None:
    hopper = GymnasiumVecEnv("Hopper-v5", 2)
    before = hopper.get_observations()["policy"]
    with pytest.raises(CheckpointError, match=r"HalfCheetah-v5.*Hopper-v5"):
        hopper.load_state_dict(GymnasiumVecEnv("HalfCheetah-v5", 2).state_dict())
    other_model = GymnasiumVecEnv("Walker2d-v5", 2).state_dict() | {"task": "Hopper-v5"}
    with pytest.raises(CheckpointError, match="another MuJoCo model"):
        hopper.load_state_dict(other_model)
    assert torch.equal(hopper.get_observations()["policy"], before)
