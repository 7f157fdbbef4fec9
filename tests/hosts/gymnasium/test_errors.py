# SPDX-License-Identifier: BSD-3-Clause
"""Errors of the Gymnasium host name the wrong value and the way out; in training a NaN resets its environment."""

from __future__ import annotations

import re
import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Space, Tuple

from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.errors import CheckpointError, ConfigError, NonFiniteError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.packages import how_to_install
from trudi_rsl.runners import OnPolicyRunner

CLOCK = "tests.hosts.gymnasium_tasks:trudi-tests/Clock-v0"
BOX = Box(-1.0, 1.0, (2,), np.float32)
GRID = Box(-1.0, 1.0, (2, 2), np.float32)


def clock(num_envs: int = 3, **env_kwargs: Any) -> GymnasiumVecEnv:
    return GymnasiumVecEnv(CLOCK, num_envs, env_kwargs=env_kwargs)


@pytest.mark.parametrize(
    "space", [Discrete(4), MultiDiscrete([2, 3]), Dict({"a": BOX}), Tuple([BOX, BOX]), Box(0, 5, (2,), np.int64), GRID]
)
def test_other_actions_than_vectors_of_floats_are_refused(space: Space) -> None:
    with pytest.raises(ConfigError, match=re.escape(str(space)) + r".*1-D Box"):
        clock(2, action_space=space)


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


@pytest.mark.parametrize("task", ["HalfCheeta-v5", "HalfCheetah-v9", "halfcheetah"])
def test_an_unknown_task_is_named_with_the_nearest(task: str) -> None:
    with pytest.raises(ConfigError, match=f"{task}.*'HalfCheetah-v5'"):
        GymnasiumVecEnv(task, 1)


@pytest.mark.parametrize(("task", "error"), [("half cheetah", ConfigError), ("no_such_module:Env-v0", ImportError)])
def test_a_malformed_task_is_named(task: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=task.partition(":")[0]):
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


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["mujoco", pytest.param("gymnasium", marks=pytest.mark.nightly)])
def test_a_missing_package_is_answered_with_the_install_command(missing: str) -> None:
    imports = f"import sys; sys.modules[{missing!r}] = None; from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv"
    program = [sys.executable, "-c", f"{imports}; GymnasiumVecEnv('HalfCheetah-v5', 1)"]
    done = subprocess.run(program, capture_output=True, text=True, env={"PYTHONPATH": ":".join(sys.path)})
    last_line = done.stderr.strip().splitlines()[-1]
    # MuJoCo is installed here, so that its failing import has another cause and remedy
    command = "pip install --force-reinstall mujoco" if missing == "mujoco" else how_to_install()
    assert last_line.startswith("ImportError") and last_line.endswith(command)


@pytest.mark.slow
def test_an_impossible_value_of_mujocos_variable_is_named_with_the_possible_ones() -> None:
    make = "from trudi_rsl.hosts.gymnasium.make import make_env; make_env('Hopper-v5')"
    variables = {"PYTHONPATH": ":".join(sys.path), "MUJOCO_GL": "none-such"}
    done = subprocess.run([sys.executable, "-c", make], capture_output=True, text=True, env=variables)
    assert re.search(r"ConfigError: .*MUJOCO_GL: none-such.*egl", done.stderr)


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


FAULTY, NUM_ENVS = 1, 3


def faulty_clock(restarts_faulty: bool = True, **options: Any) -> GymnasiumVecEnv:
    """Return environments of which one returns NaN at the third step of its first episode."""
    kwargs = {"nan_at": 3, "nan_seed": 10 + FAULTY} | options
    env = GymnasiumVecEnv(CLOCK, NUM_ENVS, seed=10, max_episode_steps=5, env_kwargs=kwargs)
    env.restarts_faulty = restarts_faulty
    return env


def steps(env: GymnasiumVecEnv, number: int) -> list[Any]:
    """Step with zero actions and return the results."""
    return [env.step(torch.zeros(NUM_ENVS, 2)) for _ in range(number)]


@pytest.mark.parametrize(
    "options", [{}, {"nan_in": "reward"}, {"length": 3}, {"nan_in": "reward", "length": 3}], ids=str
)
def test_a_faulty_environment_is_truncated_with_reward_0_and_the_others_are_unchanged(options: dict[str, Any]) -> None:
    never: dict[str, Any] = options | {"nan_at": None}
    env, healthy = faulty_clock(**options), faulty_clock(**never)
    with pytest.warns(UserWarning, match="in 1 of 3 .* environment 1, 3 steps into its episode and 3 since") as warned:
        *_, (obs, rewards, dones, extras) = steps(env, 3)
    assert warned[0].filename == __file__, "the line that stepped"
    *_, (well, paid, ended, _) = steps(healthy, 3)
    others = [i for i in range(NUM_ENVS) if i != FAULTY]
    assert torch.equal(obs["policy"][others], well["policy"][others])
    assert torch.equal(rewards[others], paid[others]) and torch.equal(dones[others], ended[others])
    assert (dones[FAULTY], extras["time_outs"][FAULTY], rewards[FAULTY]) == (1, True, 0.0)
    assert obs["policy"][FAULTY].tolist() == [0.0, 1.0]
    assert not torch.isfinite(extras["final_obs"]["policy"][FAULTY]).any()
    assert torch.isfinite(extras["final_obs"]["policy"][others]).all()
    assert env.episode_length_buf[FAULTY] == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        later = steps(env, 6)
    assert all(torch.isfinite(answer[0]["policy"]).all() for answer in later)


@pytest.mark.parametrize("nan_in", ["observation", "reward"])
def test_a_number_beyond_float32_counts_as_infinite_and_is_an_error_outside_of_training(nan_in: str) -> None:
    with pytest.warns(UserWarning, match="NaN or infinity in 1 of 3"):
        *_, (obs, rewards, dones, _) = steps(faulty_clock(nan=1e300, nan_in=nan_in), 3)
    assert torch.isfinite(obs["policy"]).all() and torch.isfinite(rewards).all() and dones[FAULTY] == 1
    with pytest.raises(NonFiniteError, match="is inf in environment 1, 3 steps"):
        steps(faulty_clock(restarts_faulty=False, nan=1e300, nan_in=nan_in), 3)


def test_a_fault_in_all_environments_is_an_error() -> None:
    with pytest.raises(NonFiniteError, match="is nan in environment 0, 3 steps"):
        steps(faulty_clock(nan_seed=None), 3)


@pytest.mark.filterwarnings("ignore:.*NaN or infinity in")
def test_an_environment_that_is_faulty_again_right_after_its_restart_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = faulty_clock()
    task = env.unwrapped.envs[FAULTY].unwrapped
    answer = task.step
    steps(env, 2)
    monkeypatch.setattr(task, "step", lambda action: (answer(action)[0], np.nan, False, False, {}))
    steps(env, 1)
    with pytest.raises(NonFiniteError, match="reward is nan in environment 1, 1 steps into its episode"):
        steps(env, 1)


@pytest.mark.filterwarnings("ignore:.*NaN or infinity in")
def test_training_masks_the_transition_of_a_restarted_environment() -> None:
    runner: Any = OnPolicyRunner(faulty_clock(restarts_faulty=False), runner_cfg(), None, "cpu")
    valid, update = [], runner.alg.learner.update

    def counting_update(batch: Any, *more: Any) -> Any:
        valid.append(batch.target_valid.sum().item())
        return update(batch, *more)

    runner.alg.learner.update = counting_update
    runner.learn(2)
    rollout = runner_cfg()["num_steps_per_env"] * NUM_ENVS
    # Two epochs of two rollouts; one transition of the first rollout has no target.
    assert sum(valid) == 2 * 2 * rollout - 2
