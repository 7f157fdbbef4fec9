# SPDX-License-Identifier: BSD-3-Clause
"""Commands on the real CartpoleBalance and CheetahRun: train, resume, play, evaluate, export; RSL-RL's own runner."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rsl_rl.runners import OnPolicyRunner as RslRlOnPolicyRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.deploy.drift import ppo_cfg, runner_cfg
from tests.hosts.mjlab.running import assert_acts_as, onnx_metadata
from tests.hosts.playground.plain import PlainMuJoCo, largest_differences, lively_checkpoint
from tests.hosts.playground.running import CARTPOLE, CHEETAH, ENVS, LENGTH, SETTINGS, arguments, newest_run, train
from tests.hosts.shared import add_checkpoints, check_every_checkpoint
from tests.scripts.running import ScriptHere, run_script
from trudi_rsl.algorithms import load_actor_critic
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.deploy import Policy, export_checkpoint
from trudi_rsl.hosts.playground import PlaygroundVecEnv


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the test, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def cheetah_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run folder of two iterations of TruDi on CheetahRun."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("cheetah"))
        yield train(CHEETAH, "trudi")


def script(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ScriptHere:
    return ScriptHere(name, folder, monkeypatch, capsys)


def scalars(run: Path) -> dict[str, list[float]]:
    """Return the values of every scalar in a run's log."""
    events = EventAccumulator(str(run)).Reload()
    return {tag: [event.value for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.mark.parametrize(
    ("task", "algo"),
    [(CARTPOLE, "trudi"), (CARTPOLE, "ppo"), pytest.param(CHEETAH, "ppo", marks=pytest.mark.nightly)],
)
def test_two_iterations_train_evaluate_and_log_episodes(task: str, algo: str, here: Path) -> None:
    run = train(task, algo)
    logged = scalars(run)
    assert {"Episode/return", "Episode/length", "Evaluation/mean_return"} <= set(logged)
    assert ("Episode_Reward/upright" in logged) == (task == CARTPOLE)
    assert logged["Evaluation/mean_episode_length"] == [LENGTH] * 2
    assert all(math.isfinite(value) for values in logged.values() for value in values)
    first, last = (read_checkpoint(run / f"model_{i}.pt")["actor_state_dict"] for i in (0, 1))
    assert any(not torch.equal(first[name], last[name]) for name in first)


@pytest.mark.slow
def test_a_run_resumed_in_another_process_is_bitwise_the_uninterrupted_one(
    here: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = train(CARTPOLE, "trudi", "--seed", "3", iterations=3)
    other = tmp_path_factory.mktemp("resumed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(other)
        train(CARTPOLE, "trudi", "--seed", "3", iterations=2)
    done = run_script("train.py", *arguments(CARTPOLE, "trudi", "--seed", "3", "--resume", iterations=3), cwd=other)
    assert done.returncode == 0, done.stderr
    expected, resumed = (read_checkpoint(run / "model_2.pt") for run in (whole, newest_run(other)))
    for part in ("actor_state_dict", "critic_state_dict"):
        assert all(torch.equal(value, resumed[part][name]) for name, value in expected[part].items())
    leaves = expected["env_state"]["leaves"], resumed["env_state"]["leaves"]
    assert leaves[0] and all(torch.equal(a, b) for a, b in zip(*leaves, strict=True))


@pytest.mark.slow
def test_a_policy_is_played_evaluated_and_exported(
    cheetah_run: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play = script("play.py", here, monkeypatch, capsys)
    assert "Returns on CheetahRun, trudi" in play(
        *("--task", CHEETAH, "--checkpoint", cheetah_run, "--episodes", str(ENVS), "--device", "cpu", *SETTINGS)
    )
    evaluate = script("evaluate.py", here, monkeypatch, capsys)
    assert CHEETAH in evaluate(cheetah_run, "--episodes", str(ENVS), "--by_task", *SETTINGS)
    script("export.py", here, monkeypatch, capsys)("--checkpoint", cheetah_run / "model_1.pt", "--output", here / "out")
    assert_acts_as(here / "out" / "policy.onnx", cheetah_run / "model_1.pt")
    metadata = onnx_metadata(here / "out" / "policy.onnx")
    assert float(metadata["control_period_s"]) == 0.01
    assert [term in metadata["obs_terms"] for term in ("qpos[1:]", "qvel")] == [True, True]


@pytest.mark.slow
def test_every_checkpoint_is_played_from_the_same_episodes(
    cheetah_run: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    add_checkpoints(cheetah_run)
    play = script("play.py", here, monkeypatch, capsys)
    flags = ("--device", "cpu", "--episodes", "10", "--every_checkpoint")
    output = play("--task", CHEETAH, "--checkpoint", cheetah_run, *flags, *SETTINGS)
    check_every_checkpoint(cheetah_run, output)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_plain_mujoco_gives_playgrounds_observations_and_speed(cheetah_run: Path, tmp_path: Path, seed: int) -> None:
    checkpoint = lively_checkpoint(cheetah_run, tmp_path)
    policy, (original, _) = Policy(export_checkpoint(checkpoint).onnx), load_actor_critic(checkpoint)
    env = PlaygroundVecEnv(CHEETAH, ENVS, episode_length=LENGTH, seed=seed)
    plain = PlainMuJoCo(env, tmp_path)
    rewards = []

    def step_plain() -> np.ndarray:
        frames = {"qpos[1:]": plain.data.qpos[1:], "qvel": plain.data.qvel}
        seen = np.concatenate([frames[term.name] for term in policy.contract.terms])
        plain.step(policy(frames))
        rewards.append(np.clip(plain.sensor("torso_subtreelinvel")[0] / 10.0, 0.0, 1.0))
        return seen

    differences, actions = largest_differences(env, original, step_plain, LENGTH - 1)
    assert actions.std() > 0.1, "the policy must act on what it sees"
    assert differences.max() < 0.05, differences
    expected = env._carry.sums[0, 0]
    assert sum(rewards) == pytest.approx(float(expected), rel=0.02, abs=1e-3)


@pytest.mark.parametrize("cfg", [ppo_cfg, runner_cfg], ids=["ppo", "trudi"])
def test_rsl_rls_own_runner_takes_the_environments(cfg: Any, tmp_path: Path) -> None:
    env = PlaygroundVecEnv(CHEETAH, ENVS, episode_length=LENGTH)
    groups = {"actor": ["policy"], "critic": ["policy"]}
    runner: Any = RslRlOnPolicyRunner(env, cfg() | {"obs_groups": groups}, str(tmp_path), "cpu")
    before = {name: value.clone() for name, value in runner.alg.get_policy().state_dict().items()}
    runner.learn(1, init_at_random_ep_len=True)
    after = runner.alg.get_policy().state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    runner.logger.writer.close()
    assert "Episode/return" in scalars(tmp_path)
