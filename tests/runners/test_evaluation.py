# SPDX-License-Identifier: BSD-3-Clause
"""Evaluations decide which checkpoint is the best, and leave training bitwise unaffected."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.deploy import drift
from tests.properties.drawn import same
from tests.rsl_rl.helpers import runner_cfg
from tests.runners.test_stopping import At, logged
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.choices import EVALUATION_SEED
from trudi_rsl.errors import ConfigError, NonFiniteError
from trudi_rsl.evaluation.episodes import evaluate
from trudi_rsl.evaluation.policies import load_policy
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner

ENDLESS = "tests.hosts.gymnasium_tasks:trudi-tests/Clock-v0"
EPISODES, STEPS = 3, 12


def cheetah(num_envs: int = 2, seed: int = 1, kind: type[GymnasiumVecEnv] = GymnasiumVecEnv) -> GymnasiumVecEnv:
    return kind("HalfCheetah-v5", num_envs, seed=seed, max_episode_steps=STEPS)


def make_runner(folder: Path, *, env: Any = None, cfg: dict[str, Any] | None = None, **settings: Any) -> OnPolicyRunner:
    """Return a runner that saves and evaluates in each iteration."""
    torch.manual_seed(7)
    every = {"save_interval": 1, "evaluation_episodes": EPISODES}
    cfg = (cfg or runner_cfg(learning_rate=0.02)) | every | settings
    return OnPolicyRunner(env or cheetah(), cfg, log_dir=str(folder), device="cpu")


def train(folder: Path, **settings: Any) -> OnPolicyRunner:
    """Return a runner after four iterations."""
    runner = make_runner(folder, **settings)
    runner.learn(4, init_at_random_ep_len=True)
    return runner


def evaluated(folder: Path, name: str = "mean_return") -> dict[int, float]:
    """Return what evaluations logged, by iteration."""
    return dict(logged(folder, f"Evaluation/{name}"))


def best(folder: Path) -> str:
    return (folder / "best.pt").resolve().name


def highest(returns: dict[int, float]) -> str:
    return f"model_{max(returns, key=lambda iteration: returns[iteration])}.pt"


def ppo_cfg(**model: Any) -> dict[str, Any]:
    """Return a small configuration of RSL-RL's PPO; ``model`` overrides settings of both models."""
    cfg = drift.ppo_cfg() | {"obs_groups": {"actor": ["policy"], "critic": ["policy"]}, "num_steps_per_env": 6}
    cfg["algorithm"] = cfg["algorithm"] | {"num_mini_batches": 2}
    return cfg | {name: cfg[name] | model for name in ("actor", "critic")}


# overrides of PPO's models, or None for TruDi
MODELS = {"trudi": None, "ppo": {}, "recurrent ppo": {"class_name": "RNNModel", "rnn_hidden_dim": 8}}


@pytest.mark.parametrize("algo", MODELS if PPO_MODELS else ["trudi"])
def test_training_with_and_without_evaluations_ends_in_the_same_checkpoint(tmp_path: Path, algo: str) -> None:
    last, model = {}, MODELS[algo]
    for name, episodes in (("with", EPISODES), ("without", None)):
        cfg = None if model is None else ppo_cfg(**model)
        train(tmp_path / name, cfg=cfg, evaluation_episodes=episodes)
        last[name] = read_checkpoint(tmp_path / name / "model_3.pt")
        del last[name]["infos"]["logger"]["tot_time"]  # as measured
        del last[name]["run"]  # another name and other settings
    assert same(last["with"], last["without"])
    assert len(evaluated(tmp_path / "with")) == 4
    assert not evaluated(tmp_path / "without")


def test_the_logged_return_is_that_of_the_exported_policy_and_the_highest_is_best(tmp_path: Path) -> None:
    runner = train(tmp_path)
    returns = evaluated(tmp_path)
    assert sorted(returns) == [0, 1, 2, 3]
    for iteration, value in returns.items():
        env = cheetah(EPISODES, EVALUATION_SEED)
        checkpoint = tmp_path / f"model_{iteration}.pt"
        sampler = SamplerCfg("ode", initial_latent="zeros")
        policy = load_policy(checkpoint, "trudi", env, runner.cfg, sampler, "cpu", OnPolicyRunner)
        results = evaluate(env, policy, EPISODES, progress=False)
        assert value == pytest.approx(results.returns.mean().item(), rel=1e-5)
    assert best(tmp_path) == highest(returns)
    assert set(evaluated(tmp_path, "mean_episode_length").values()) == {STEPS}


def test_a_checkpoint_that_is_overwritten_is_evaluated_again(tmp_path: Path) -> None:
    runner = train(tmp_path)
    first = evaluated(tmp_path)
    again = max(first, key=lambda iteration: first[iteration])
    runner.current_learning_iteration = again - 1
    with torch.no_grad():
        for parameter in runner.alg.get_policy().parameters():
            parameter.mul_(-5.0)
    time.sleep(1.0)  # event files of one second have no order: the tenth's name sorts before the ninth's
    runner.learn(1)
    returns = first | {again: evaluated(tmp_path)[again]}
    assert returns[again] < first[again]
    assert best(tmp_path) == highest(returns)


class Tenfold:
    """A wrapper that multiplies rewards by ten and has no method ``alike``."""

    def __init__(self) -> None:
        self.wrapped = cheetah()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["wrapped"], name)

    def step(self, actions: torch.Tensor) -> Any:
        obs, rewards, dones, extras = self.wrapped.step(actions)
        return obs, 10.0 * rewards, dones, extras


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        (drift.DriftEnv, "no second set of its environments"),
        (Tenfold, "no second set of its environments"),
        (lambda: GymnasiumVecEnv(ENDLESS, 2), "env.max_episode_steps"),
    ],
    ids=["no second environments", "a wrapper of them", "no time limit"],
)
def test_where_checkpoints_cannot_be_evaluated_the_training_return_decides(
    tmp_path: Path, env: Any, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = env()
    train(tmp_path, env=made, cfg=drift.runner_cfg() if isinstance(made, drift.DriftEnv) else None)
    assert reason in capsys.readouterr().out
    assert not evaluated(tmp_path)
    # no episode of the endless task ends
    assert (tmp_path / "best.pt").exists() != isinstance(made, GymnasiumVecEnv)


@pytest.mark.parametrize("episodes", [0, -1, 2.5, "10", True])
def test_an_impossible_number_of_episodes_is_refused_before_training(tmp_path: Path, episodes: Any) -> None:
    with pytest.raises(ConfigError, match=f"evaluation_episodes .*{episodes!r}"):
        train(tmp_path, evaluation_episodes=episodes)
    assert not list(tmp_path.glob("model_*"))


class Watched(GymnasiumVecEnv):
    """Environments that know whether they are those of evaluations, which are counted when they are closed."""

    evaluates = False
    closed = 0

    def close(self) -> None:
        Watched.closed += self.evaluates
        super().close()

    def alike(self, num_envs: int, seed: int) -> GymnasiumVecEnv:
        made = super().alike(num_envs, seed)
        assert isinstance(made, Watched)
        made.evaluates = True
        return made


class FailsInEvaluations(Watched):
    """Fails from the second evaluation on."""

    starts = 0

    def reset(self) -> Any:
        self.starts += self.evaluates
        if self.starts > 1:
            raise NonFiniteError("the simulator's reward is nan")
        return super().reset()


def test_a_failed_evaluation_is_reported_and_does_not_end_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = train(tmp_path, env=cheetah(kind=FailsInEvaluations))
    assert runner.current_learning_iteration == 3
    assert capsys.readouterr().out.count("the simulator's reward is nan") == 3
    assert list(evaluated(tmp_path)) == [0]
    assert best(tmp_path) == "model_0.pt"
    assert (tmp_path / "latest.pt").resolve().name == "model_3.pt"


def test_the_last_checkpoint_is_evaluated_after_a_time_limit(tmp_path: Path) -> None:
    make_runner(tmp_path, max_seconds=1e-9, save_interval=1000).learn(1000)
    assert list(evaluated(tmp_path)) == [0]


def test_the_last_checkpoint_is_not_evaluated_after_a_signal(tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    runner.hooks.append(At(2, lambda: signal.raise_signal(signal.SIGTERM)))
    with pytest.raises(SystemExit):
        runner.learn(1000)
    assert list(evaluated(tmp_path)) == [0]
    assert (tmp_path / "latest.pt").resolve().name == "model_1.pt"


class SignalsInEvaluations(Watched):
    """Sends SIGTERM in the first step of an evaluation."""

    def step(self, actions: torch.Tensor) -> Any:
        if self.evaluates:
            self.evaluates = False
            signal.raise_signal(signal.SIGTERM)
        return super().step(actions)


def test_a_signal_during_an_evaluation_ends_evaluation_and_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path, env=cheetah(kind=SignalsInEvaluations))
    assert not evaluated(tmp_path)
    assert "SIGTERM: training ends" in capsys.readouterr().out
    assert [path.name for path in tmp_path.glob("model_*.pt")] == ["model_0.pt"]


class FailsInTraining(Watched):
    """Fails in the third iteration."""

    def step(self, actions: torch.Tensor) -> Any:
        if not self.evaluates and self._total_steps == 14:
            raise NonFiniteError("the simulator's reward is nan.")
        return super().step(actions)


@pytest.mark.parametrize("kind", [Watched, FailsInTraining])
def test_evaluation_environments_are_closed_when_training_ends_or_fails(tmp_path: Path, kind: Any) -> None:
    before = Watched.closed
    with contextlib.suppress(NonFiniteError):
        train(tmp_path, env=cheetah(kind=kind))
    assert Watched.closed == before + 1


def test_a_rescued_checkpoint_is_not_evaluated(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="model_1_rescued"):
        make_runner(tmp_path, env=cheetah(kind=FailsInTraining), save_interval=1000).learn(4)
    assert list(evaluated(tmp_path)) == [0]
    assert best(tmp_path) == "model_0.pt"
