# SPDX-License-Identifier: BSD-3-Clause
"""Tasks of others: whatever they report or keep, training goes on, or one line says what is wrong and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.hosts.gymnasium.foreign_tasks import GENERATORS, INFOS, name_of
from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.hosts.gymnasium.success import _log_once
from trudi_rsl.runners import OnPolicyRunner


def make(task: str, num_envs: int = 2, **options: Any) -> GymnasiumVecEnv:
    kwargs = {name: options.pop(name) for name in ("kind", "key", "form", "per_class") if name in options}
    return GymnasiumVecEnv(name_of(task), num_envs, env_kwargs=kwargs, **options)


def advance(env: GymnasiumVecEnv, steps: int) -> list[Any]:
    return [env.step(torch.zeros(env.num_envs, env.num_actions)) for _ in range(steps)]


# -- what a task reports --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", INFOS)
def test_whatever_a_task_reports_in_info_it_can_be_stepped(kind: str) -> None:
    env = make("Reporting", kind=kind)
    steps = advance(env, 12)
    assert sum(int(step[2].sum()) for step in steps) == 4
    assert all("success" not in step[3] for step in steps)
    assert env.step_dt is None


def test_a_success_that_cannot_be_read_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    _log_once.cache_clear()
    for _ in range(2):  # those of training and of evaluations
        advance(make("Reporting", kind="success_dict"), 12)
    said = capsys.readouterr().out
    assert said.count("info['is_success'] is a dict") == 1 == said.count("\n")


@pytest.mark.parametrize("form", ["flag", "array", "number"])
@pytest.mark.parametrize(("key", "expected"), [("success", 1.0), ("is_success", 0.0)])
def test_success_counts_at_any_step_and_is_success_at_the_last(key: str, expected: float, form: str) -> None:
    env = make("SuccessAtStep", key=key, form=form)
    for _ in range(2):
        *before, last = advance(env, 5)
        assert all("success" not in step[3] for step in before)
        assert last[3]["success"].tolist() == [expected] * 2
        assert last[3]["log"]["Episode/success"] == expected


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("kind", ["copy", "state"])
def test_a_task_that_writes_to_the_array_it_returned_changes_no_earlier_observation(kind: str, per_class: bool) -> None:
    env = make("SharedBuffer", 1 if per_class else 2, kind=kind, per_class=per_class)
    *_, (obs, _, _, extras) = advance(env, 5)
    assert extras["final_obs"]["policy"].flatten().tolist() == [5.0] * env.num_envs
    assert obs["policy"].flatten().tolist() == [0.0] * env.num_envs


@pytest.mark.parametrize(
    ("task", "limit"), [("InnerMake", 100), ("InnerOnly", 200), ("InnerMujoco", 500), ("Wrapped", 30)]
)
def test_the_shortest_of_several_time_limits_ends_episodes_that_start_at_random_lengths(task: str, limit: int) -> None:
    env = make(task)
    assert env.max_episode_length == limit
    env.episode_length_buf = torch.tensor([limit - 1, limit - 3])
    dones = torch.stack([step[2] for step in advance(env, 3)])
    assert dones.tolist() == [[1, 0], [0, 0], [0, 1]]


def test_a_time_limit_of_the_settings_may_be_the_second() -> None:
    assert make("InnerOnly", max_episode_steps=7).max_episode_length == 7


# -- common mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["RewardOfOne", "IntegerSpace"])
def test_a_reward_in_an_array_of_one_and_another_dtype_than_the_spaces_are_no_obstacle(task: str) -> None:
    env = make(task)
    obs, rewards, _, _ = advance(env, 1)[0]
    assert rewards.shape == (2,)
    positions = [copy.unwrapped.x for copy in env.unwrapped.envs]
    assert obs["policy"][:, 0].tolist() == pytest.approx(positions)


@pytest.mark.parametrize(
    ("task", "method", "remedy"),
    [
        ("RewardVector", "step", r"reward.*float\(reward\)"),
        ("Row", "reset", r"shape \(1, 2\).*observation_space"),
        ("Longer", "reset", r"shape \(3,\).*observation_space"),
        ("Text", "reset", "observation of str"),
        ("NoOptions", "reset", r"'options'.*reset\(self, \*, seed=None, options=None\)"),
        ("OldReset", "reset", r"instead of \(observation, info\)"),
        ("OldStep", "step", "terminated and truncated apart"),
        ("NoFlag", "step", r"terminated.*bool\(terminated\)"),
        ("HugeReward", "step", "breaks Gymnasium's interface"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_mistake_of_a_task_is_one_line_that_names_task_method_and_remedy(task: str, method: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=rf"{task}-v0.*{method}\(\).*{remedy}") as raised:
        advance(make(task), 1)
    assert "\n" not in str(raised.value)


def test_an_error_of_a_tasks_own_keeps_its_type_and_says_where() -> None:
    env = make("FailingStep")
    with pytest.raises(ZeroDivisionError, match="own bug") as raised:
        advance(env, 1)
    assert "FailingStep-v0' in environment 0, 0 steps into its episode" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    ("task", "reason"),
    [("FailingClose", "RuntimeError: already closed"), ("LeavingClose", "SystemExit: the simulator is shut down")],
)
def test_a_task_that_cannot_be_closed_costs_one_line(
    task: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    env = make(task, 3)
    for _ in range(2):
        env.close()
    assert capsys.readouterr().out.count(reason) == 1


def test_a_task_without_a_space_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="NoSpace-v0' breaks Gymnasium's interface: observation space") as raised:
        make("NoSpace")
    assert "\n" not in str(raised.value)


# -- what a task keeps ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GENERATORS)
def test_a_task_with_any_generator_is_trained_saved_and_resumed(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner: Any = OnPolicyRunner(make("OwnGenerator", kind=kind), runner_cfg(), str(tmp_path), "cpu")
    runner.learn(2)
    assert read_checkpoint(tmp_path / "model_1.pt")["env_state"]["exact"] is False
    state = runner.env.state_dict()
    continued = make("OwnGenerator", kind=kind, seed=9)
    with pytest.warns(UserWarning, match="starts new episodes"):
        continued.load_state_dict(state)
    said = capsys.readouterr().out.count("no checkpoint can hold np_random")
    if kind == "SystemRandom":
        assert said == 1
        return
    assert said == 0
    assert torch.equal(continued.get_observations()["policy"], runner.env.reset()[0]["policy"])


@pytest.mark.parametrize("wrapper", ["NormalizeObservation", "NormalizeReward"])
def test_a_wrapper_with_running_statistics_is_refused_by_name(wrapper: str) -> None:
    with pytest.raises(ConfigError, match=f"{wrapper}, whose running statistics.*update_running_mean=False"):
        make(wrapper)


def test_a_wrapper_with_fixed_statistics_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    from gymnasium.wrappers import NormalizeObservation

    constructed = NormalizeObservation.__init__

    def fixed(self: Any, *args: Any, **kwargs: Any) -> None:
        constructed(self, *args, **kwargs)
        self.update_running_mean = False

    monkeypatch.setattr(NormalizeObservation, "__init__", fixed)
    env = make("NormalizeObservation")
    assert np.isfinite(env.get_observations()["policy"].numpy()).all()
