# SPDX-License-Identifier: BSD-3-Clause
"""What our runner adds to RSL-RL's: kept checkpoints, refused checkpoints, the same training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.rsl_rl.helpers import runner_cfg, stock
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.errors import CheckpointError, NonFiniteError
from trudi_rsl.evaluation.policies import load_into, policy_for
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.hosts.gymnasium.faults import Faults
from trudi_rsl.policies.actor_critic import Sampler
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE, PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner

TASK = "Pendulum-v1"


class Exploding(gymnasium.Wrapper):
    """A task whose reward becomes infinite at one of its steps and stays so."""

    steps = 0
    last = 10

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = super().step(action)
        self.steps += 1
        return obs, np.inf if self.steps >= self.last else reward, terminated, truncated, info


def make_exploding(**kwargs: Any) -> gymnasium.Env:
    return Exploding(PendulumEnv(**kwargs))


class Unchecked(Faults):
    """Finds nothing."""

    def __init__(self) -> None:
        pass

    def filter_nonfinite(self, envs: Any, step: Any, restart: bool) -> Any:
        return step

    def require_finite(self, values: np.ndarray, what: str) -> None:
        pass


class UncheckedVecEnv(GymnasiumVecEnv):
    """A host that lets non-finite numbers through and resets nothing, as some GPU simulators do."""

    def __init__(self, task: str, num_envs: int, **options: Any) -> None:
        super().__init__(task, num_envs, **options)
        self._faults = Unchecked()


def ppo_cfg() -> dict[str, Any]:
    algorithm = {"class_name": "PPO", "num_learning_epochs": 1, "num_mini_batches": 1, "rnd_cfg": None}
    if POLICY_STYLE:
        policy = {"class_name": "ActorCritic", "actor_hidden_dims": [8], "critic_hidden_dims": [8]}
        return runner_cfg() | {"algorithm": algorithm, "policy": policy}
    model = {"class_name": "MLPModel", "hidden_dims": [8], "activation": "elu", "obs_normalization": True}
    gaussian = {"class_name": "GaussianDistribution", "init_std": 1.0}
    actor = {"distribution_cfg": gaussian} if PPO_MODELS else {"stochastic": True}
    return runner_cfg() | {"algorithm": algorithm, "actor": model | actor, "critic": model}


def impatient_cfg() -> dict[str, Any]:
    """Return a configuration under which the first update that cannot be made ends training."""
    cfg = runner_cfg()
    cfg["algorithm"]["max_skipped_updates"] = 1
    return cfg


@pytest.fixture
def exploding() -> Iterator[str]:
    gymnasium.register("ExplodingPendulum-v0", make_exploding, max_episode_steps=200)
    yield "ExplodingPendulum-v0"
    gymnasium.registry.pop("ExplodingPendulum-v0")


@pytest.mark.parametrize("host", [GymnasiumVecEnv, UncheckedVecEnv])
def test_a_checkpoint_is_kept_when_the_simulator_explodes(host: type, exploding: str, tmp_path: Path) -> None:
    runner = OnPolicyRunner(host(exploding, 3), impatient_cfg(), str(tmp_path), "cpu")
    with pytest.raises(NonFiniteError, match=r"environment 0.*model_\d_rescued\.pt"):
        runner.learn(5)
    (rescued,) = tmp_path.glob("*_rescued.pt")
    kept = read_checkpoint(rescued)
    weights = {**kept["actor_state_dict"], **kept["critic_state_dict"]}
    assert all(torch.isfinite(v).all() for v in weights.values())
    assert "env_state" not in kept


def test_the_state_of_an_exploding_simulator_is_never_kept(
    exploding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps_per_rollout = runner_cfg()["num_steps_per_env"]
    monkeypatch.setattr(Exploding, "last", steps_per_rollout + 1)
    runner = OnPolicyRunner(GymnasiumVecEnv(exploding, 3), runner_cfg(), str(tmp_path), "cpu")
    with pytest.raises(NonFiniteError, match=r"model_0_rescued\.pt"):
        runner.learn(5)
    assert "env_state" not in read_checkpoint(tmp_path / "model_0_rescued.pt")
    assert "env_state" in read_checkpoint(tmp_path / "model_0.pt")


def test_damaged_weights_are_blamed_on_the_policy_and_not_kept(tmp_path: Path) -> None:
    runner = OnPolicyRunner(UncheckedVecEnv(TASK, 3), runner_cfg(), str(tmp_path), "cpu")
    runner.learn(1)
    runner.alg.get_policy().actor.raw_friction.data.fill_(torch.nan)  # pyright: ignore
    with pytest.raises(NonFiniteError, match=r"policy .* action in environment 0 at step 0 .*not finite"):
        runner.learn(1)
    assert not list(tmp_path.glob("*_rescued.pt"))


def test_learning_goes_on_after_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = GymnasiumVecEnv(TASK, 3)
    runner = OnPolicyRunner(env, runner_cfg(), str(tmp_path), "cpu")
    step, calls = env.step, []

    def interrupted(actions: torch.Tensor) -> Any:
        calls.append(actions)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(actions)

    monkeypatch.setattr(env, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.learn(1)
    runner.learn(1)
    assert len(calls) == 3 + runner_cfg()["num_steps_per_env"]


@pytest.mark.parametrize("cfg", [runner_cfg, *([ppo_cfg] if PPO_MODELS else [])])
def test_our_runner_trains_as_the_stock_one(cfg: Callable[[], dict[str, Any]], tmp_path: Path) -> None:
    weights, logs = [], []
    makers: list[tuple[Any, str]] = [(stock, "stock"), (OnPolicyRunner, "ours")]
    for make, name in makers:
        torch.manual_seed(5)
        runner: Any = make(GymnasiumVecEnv(TASK, 4, seed=1, max_episode_steps=5), cfg(), str(tmp_path / name))
        runner.learn(3, init_at_random_ep_len=True)
        # a second call continues, and starts from other episode lengths
        runner.learn(2, init_at_random_ep_len=True)
        weights.append(runner.alg.get_policy().state_dict())
        if not POLICY_STYLE:
            logs.append((list(runner.logger.rewbuffer), list(runner.logger.lenbuffer), runner.logger.tot_timesteps))
    plain, ours = weights
    assert [name for name in plain if not torch.equal(plain[name], ours[name])] == []
    assert not logs or logs[0] == logs[1]


def test_checkpoints_of_another_algorithm_or_task_are_refused(tmp_path: Path) -> None:
    def runner(cfg: dict[str, Any], task: str = TASK) -> OnPolicyRunner:
        return OnPolicyRunner(GymnasiumVecEnv(task, 2), cfg, None, "cpu")

    paths = {name: str(tmp_path / f"{name}.pt") for name in ("trudi", "ppo")}
    runner(runner_cfg()).save(paths["trudi"])
    runner(ppo_cfg()).save(paths["ppo"])
    with pytest.raises(CheckpointError, match="PPO"):
        runner(runner_cfg()).load(paths["ppo"])
    with pytest.raises(CheckpointError, match="--algo trudi"):
        runner(ppo_cfg()).load(paths["trudi"])
    with pytest.raises(CheckpointError, match="trained on task 'Pendulum-v1', not on 'InvertedPendulum-v5'"):
        runner(ppo_cfg(), "InvertedPendulum-v5").load(paths["ppo"])


@pytest.mark.parametrize(("cfg", "sampler"), [(runner_cfg, "best_of_k"), (ppo_cfg, "ode")])
def test_a_policy_loaded_into_a_runner_is_its_checkpoints_and_the_simulator_and_random_numbers_stay(
    cfg: Callable[[], dict[str, Any]], sampler: Sampler, tmp_path: Path
) -> None:
    OnPolicyRunner(GymnasiumVecEnv(TASK, 3), cfg() | {"save_interval": 1}, str(tmp_path), "cpu").learn(2)
    runner = OnPolicyRunner(GymnasiumVecEnv(TASK, 3), cfg(), None, "cpu")
    obs, acted = runner.env.get_observations(), []
    steps, numbers = runner.env.episode_length_buf.clone(), torch.get_rng_state()
    for name in ("model_1.pt", "model_0.pt", "model_1.pt"):
        policy = load_into(runner, tmp_path / name, SamplerCfg(sampler))
        assert torch.equal(torch.get_rng_state(), numbers) and torch.equal(runner.env.episode_length_buf, steps)
        other = OnPolicyRunner(GymnasiumVecEnv(TASK, 3), cfg(), None, "cpu")
        other.load(str(tmp_path / name))
        torch.set_rng_state(numbers)
        expected = policy_for(other.alg, SamplerCfg(sampler))(obs)
        torch.set_rng_state(numbers)
        acted.append(policy(obs))
        assert torch.equal(acted[-1], expected)
        torch.set_rng_state(numbers)
    assert torch.equal(acted[0], acted[2]) and not torch.equal(acted[0], acted[1])


def test_the_last_scalars_are_on_disk_when_training_ends(tmp_path: Path) -> None:
    runner = OnPolicyRunner(GymnasiumVecEnv(TASK, 2), runner_cfg(), str(tmp_path), "cpu")
    runner.learn(3)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.step for event in events.Scalars("TrustRegion/path_kl")] == [0, 1, 2]
    # an open writer may still hold some back, which only the end of the process would show
    assert runner.logger.writer.file_writer is None  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]


def test_the_log_of_an_exact_resume_goes_on_as_if_not_stopped(tmp_path: Path) -> None:
    def runner(folder: str) -> OnPolicyRunner:
        env = GymnasiumVecEnv("InvertedPendulum-v5", 4, seed=2)
        return OnPolicyRunner(env, runner_cfg(), str(tmp_path / folder), "cpu")

    def rewards(folder: str) -> list[tuple[int, float]]:
        # each learn() writes a file of its own, and the reader takes them in the order of their names
        events = EventAccumulator(str(tmp_path / folder), purge_orphaned_data=False)
        events.Reload()
        in_time = sorted(events.Scalars("Train/mean_reward"), key=lambda event: event.wall_time)
        return [(event.step, event.value) for event in in_time]

    straight, resumed = runner("straight"), runner("resumed")
    straight.learn(4)
    straight.learn(3)
    resumed.load(str(tmp_path / "straight" / "model_3.pt"))
    resumed.learn(3)
    assert len(rewards("resumed")) == 3
    assert rewards("resumed") == rewards("straight")[-3:]
    assert resumed.logger.tot_timesteps == straight.logger.tot_timesteps


@pytest.mark.parametrize("name", ["TruDi", "REPPO", "DIME"])
def test_an_algorithm_is_found_by_its_bare_name_as_rsl_rls_own_are(name: str) -> None:
    runner = OnPolicyRunner(GymnasiumVecEnv(TASK, 2), runner_cfg(class_name=name), None, "cpu")
    assert type(runner.alg).__name__ == name
