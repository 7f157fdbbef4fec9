# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
"""Tasks of dm_control's suite: the same episodes as dm_control's own, an exact resume, and the whole product."""

from __future__ import annotations

import json
import re
import subprocess
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from dm_control import suite

from tests.hosts.gymnasium.test_resume import record, through_a_file
from tests.scripts.running import run_script
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.dm_control.env import DmControlVecEnv, SuiteTask, import_suite
from trudi_rsl.hosts.registry import find_host

PAPER = (
    *("acrobot-swingup", "acrobot-swingup_sparse", "ball_in_cup-catch", "cartpole-balance", "cartpole-balance_sparse"),
    *("cartpole-swingup", "cartpole-swingup_sparse", "cheetah-run", "finger-spin", "finger-turn_easy"),
    *("finger-turn_hard", "fish-swim", "hopper-hop", "hopper-stand", "pendulum-swingup", "reacher-easy"),
    *("reacher-hard", "walker-run", "walker-stand", "walker-walk"),
)


def actions_for(env: DmControlVecEnv, steps: int) -> torch.Tensor:
    """Return random actions ``[steps, E, A]`` inside the bounds."""
    return env.action_low + (env.action_high - env.action_low) * torch.rand(steps, env.num_envs, env.num_actions)


@pytest.mark.parametrize("task", ["walker-walk", "reacher-hard", "finger-turn_easy"])
def test_every_output_equals_plain_dm_control_with_the_same_seed_and_actions(task: str) -> None:
    env = DmControlVecEnv(task, 2, seed=7, max_episode_steps=20)
    plain = [suite.load(*task.split("-"), task_kwargs={"random": 7 + i, "time_limit": np.inf}) for i in range(2)]

    def flat(result: Any) -> np.ndarray:
        return np.concatenate([np.ravel(value) for value in result.observation.values()]).astype(np.float32)

    first = np.stack([flat(p.reset()) for p in plain])
    np.testing.assert_array_equal(env.get_observations()["policy"], first)
    for step, action in enumerate(actions_for(env, 45), 1):
        obs, rewards, dones, extras = env.step(action)
        results = [p.step(action[i].double().numpy()) for i, p in enumerate(plain)]
        assert rewards.tolist() == [np.float32(result.reward) for result in results]
        assert dones.tolist() == [step % 20 == 0] * 2 == extras["time_outs"].tolist()
        if step % 20 == 0:
            np.testing.assert_array_equal(extras["final_obs"]["policy"], np.stack([flat(r) for r in results]))
            results = [p.reset() for p in plain]
        np.testing.assert_array_equal(obs["policy"], np.stack([flat(result) for result in results]))


@pytest.mark.parametrize("task", PAPER)
def test_a_resumed_task_continues_bitwise(task: str) -> None:
    env = DmControlVecEnv(task, 2, seed=1, max_episode_steps=12)
    env.episode_length_buf = torch.tensor([0, 5])
    actions = actions_for(env, 34)
    for action in actions[:16]:
        env.step(action)
    saved = through_a_file(env.state_dict())
    assert saved["exact"] is True
    never_stopped = record(env, actions[16:])
    resumed = DmControlVecEnv(task, 2, seed=99, max_episode_steps=12)
    for action in actions[:3]:
        resumed.step(action)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.load_state_dict(saved)
    assert record(resumed, actions[16:]) == never_stopped


def test_observations_keep_dm_controls_names_and_order() -> None:
    walker = DmControlVecEnv("walker-run", 1)
    terms = [(term["name"], term["size"]) for term in walker.describe(["policy"])["obs_terms"]]
    assert terms == [("orientations", 14), ("height", 1), ("velocity", 9)]
    groups = DmControlVecEnv("walker-run", 1, obs="groups").get_observations()
    assert {name: group.shape[1] for name, group in groups.items()} == dict(terms)


def test_episodes_have_1000_steps_and_a_termination_at_the_limit_is_no_time_out(monkeypatch: Any) -> None:
    env = DmControlVecEnv("cartpole-balance", 1)
    assert env.max_episode_length == 1000
    assert env.step_dt == pytest.approx(0.01)
    env.episode_length_buf = torch.tensor([999])
    task = env.unwrapped.envs[0].unwrapped._env.task
    monkeypatch.setattr(task, "get_termination", lambda physics: 0.0)
    _, _, dones, extras = env.step(torch.zeros(1, 1))
    assert (dones.tolist(), extras["time_outs"].tolist()) == ([1], [False])


def test_wrong_names_options_and_missing_bounds_are_answered() -> None:
    with pytest.raises(ConfigError, match=r"no task 'walker-rum'.*'walker-run'"):
        DmControlVecEnv("walker-rum", 1)
    with pytest.raises(ConfigError, match="no option 'environment_kwarg'"):
        DmControlVecEnv("walker-run", 1, env_kwargs={"environment_kwarg": {}})
    with pytest.raises(ConfigError, match=r"no finite bounds.*env\.action_bounds"):
        DmControlVecEnv("lqr-lqr_2_1", 1)


def test_a_mujoco_that_does_not_fit_is_answered_with_a_pair_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise AttributeError("'MjModel' object has no attribute 'flex_vertedge'")

    import_suite.cache_clear()
    monkeypatch.setattr(suite, "load", load)
    pair = r"dm_control 1\.0\.50 with mujoco 3\.17\.0 does not work .*flex_vertedge.*mujoco==3\.17\.0"
    with pytest.raises(ImportError, match=pair):
        DmControlVecEnv("walker-run", 1)


def test_a_task_can_be_made_by_its_own_seed_of_any_size() -> None:
    env = SuiteTask("cartpole", "balance")
    first, _ = env.reset(seed=2**32 + 3)
    same, _ = env.reset(seed=3)
    assert all(np.array_equal(first[name], same[name]) for name in first)


def test_training_play_export_and_resume_work_by_the_tasks_name(tmp_path: Path) -> None:
    task = ("--task", "dm_control:cartpole-balance", "--num_envs", "4")
    small = ("env.max_episode_steps=20", "agent.evaluation_episodes=2", "agent.num_steps_per_env=16")
    few = "agent.algorithm.num_mini_batches=2"
    run = run_folder(run_script("train.py", *task, *small, few, "--max_iterations", "1", cwd=tmp_path))
    resumed = run_script("train.py", *task, *small, few, "--resume", "--more_iterations", "1", cwd=tmp_path)
    assert run_folder(resumed) != run and "starts new episodes" not in resumed.stdout + resumed.stderr
    assert_done(run_script("play.py", *task, "--episodes", "2", cwd=tmp_path))
    (checkpoint,) = (tmp_path / run).glob("model_*.pt")
    assert_done(run_script("export.py", "--checkpoint", checkpoint, cwd=tmp_path))
    metadata = {
        entry.key: entry.value for entry in onnx.load(tmp_path / run / "exported" / "policy.onnx").metadata_props
    }
    assert [term["name"] for term in json.loads(metadata["obs_terms"])] == ["position", "velocity"]
    assert float(metadata["control_period_s"]) == pytest.approx(0.01)


def assert_done(done: subprocess.CompletedProcess[str]) -> str:
    """Check that a script succeeded and return what it printed."""
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def run_folder(done: subprocess.CompletedProcess[str]) -> Path:
    """Return the run folder that a training printed."""
    return Path(re.findall(r"^Run folder: (.+)$", assert_done(done), re.MULTILINE)[-1].strip())


def test_all_tasks_are_listed_with_the_hosts_prefix() -> None:
    assert set(find_host("dm_control:walker-run").tasks()) >= {f"dm_control:{task}" for task in PAPER}
