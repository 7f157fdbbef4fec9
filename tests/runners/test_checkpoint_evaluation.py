# SPDX-License-Identifier: BSD-3-Clause
"""Evaluations during training decide which checkpoint is the best, and training notices nothing of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from tests.deploy import drift
from tests.rsl_rl.helpers import runner_cfg
from tests.runners.evaluated import EPISODES, STEPS, cheetah, logged, trained
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.kept import KeptCheckpoints
from trudi_rsl.errors import ConfigError, NonFiniteError
from trudi_rsl.evaluation.episodes import EVALUATION_SEED, evaluate
from trudi_rsl.evaluation.policies import load_policy
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner

ENDLESS = "tests.hosts.gymnasium_tasks:trudi-tests/Clock-v0"


def require_same(one: Any, other: Any, where: str = "") -> None:
    """Check that two nested structures of tensors and plain values are equal, but for what tells time."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for name in one.keys() - {"tot_time"}:
            require_same(one[name], other[name], f"{where}/{name}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            require_same(a, b, f"{where}/{index}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other or one != one, where


def ppo_cfg(**model: Any) -> dict[str, Any]:
    """Return a small configuration of RSL-RL's PPO; ``model`` overrides what its two models have in common."""
    cfg = drift.ppo_cfg() | {"obs_groups": {"actor": ["policy"], "critic": ["policy"]}, "num_steps_per_env": 6}
    cfg["algorithm"] = cfg["algorithm"] | {"num_mini_batches": 2}
    return cfg | {name: cfg[name] | model for name in ("actor", "critic")}


@pytest.mark.parametrize(
    "algorithm",
    [
        "trudi",
        *(
            pytest.param(name, marks=pytest.mark.skipif(not PPO_MODELS, reason="rsl-rl-lib 5"))
            for name in ("ppo", "recurrent ppo")
        ),
    ],
)
def test_training_with_and_without_evaluations_ends_in_the_same_checkpoint(tmp_path: Path, algorithm: str) -> None:
    cfg = {
        "trudi": None,
        "ppo": ppo_cfg(),
        "recurrent ppo": ppo_cfg(class_name="RNNModel", rnn_hidden_dim=8),
    }[algorithm]
    last = {}
    for name, episodes in (("with", EPISODES), ("without", None)):
        trained(tmp_path / name, episodes, cfg=cfg)
        last[name] = read_checkpoint(tmp_path / name / "model_3.pt")
    require_same(last["with"], last["without"])
    assert len(logged(tmp_path / "with")) == 4
    assert not logged(tmp_path / "without")


def test_the_logged_return_is_that_of_the_checkpoint_as_it_is_exported_and_the_highest_is_best(tmp_path: Path) -> None:
    runner = trained(tmp_path, EPISODES)
    returns = logged(tmp_path)
    assert sorted(returns) == [0, 1, 2, 3]
    for iteration, value in returns.items():
        env = cheetah(EPISODES, EVALUATION_SEED)
        checkpoint = tmp_path / f"model_{iteration}.pt"
        sampler = SamplerCfg("ode", initial_latent="zeros")
        policy = load_policy(checkpoint, "trudi", env, runner.cfg, sampler, "cpu", OnPolicyRunner)
        results = evaluate(env, policy, EPISODES, progress=False)
        assert value == pytest.approx(results.returns.mean().item(), rel=1e-5)
    best = max(returns, key=lambda iteration: returns[iteration])
    assert (tmp_path / "best.pt").resolve().name == f"model_{best}.pt"
    assert set(logged(tmp_path, "Evaluation/mean_episode_length").values()) == {STEPS}


def test_of_the_checkpoints_that_do_not_stay_the_best_by_evaluation_does(tmp_path: Path) -> None:
    cfg = runner_cfg(learning_rate=0.02) | {"keep_checkpoints": 1}
    trained(tmp_path, EPISODES, cfg=cfg)
    returns = logged(tmp_path)
    stay = {path.name for path in tmp_path.glob("model_*.pt")}
    assert stay == {"model_3.pt", f"model_{max(returns, key=lambda iteration: returns[iteration])}.pt"}


def test_a_checkpoint_that_a_second_training_writes_anew_is_evaluated_anew(tmp_path: Path) -> None:
    runner = trained(tmp_path, EPISODES)
    runner.current_learning_iteration = max(first := logged(tmp_path), key=lambda iteration: first[iteration])
    with torch.no_grad():
        for parameter in runner.alg.get_policy().parameters():
            parameter.mul_(-5.0)
    again = runner.current_learning_iteration
    runner.learn(1)
    returns = first | {again: logged(tmp_path)[again]}
    assert returns[again] < first[again]
    best = max(returns, key=lambda iteration: returns[iteration])
    assert (tmp_path / "best.pt").resolve().name == f"model_{best}.pt"


def test_a_best_checkpoint_that_was_written_anew_and_has_no_rating_yields_to_the_second_best(tmp_path: Path) -> None:
    kept = KeptCheckpoints(None)
    ratings = {"model_0.pt": 1.0, "model_1.pt": 3.0, "model_2.pt": 2.0}
    for name, rating in ratings.items():
        (tmp_path / name).touch()
        kept.add(tmp_path / name)
        assert kept.rate(tmp_path / name, rating) == (name != "model_2.pt")
    assert not kept.rate(tmp_path / "model_1.pt", None)
    assert (tmp_path / "best.pt").readlink() == Path("model_2.pt")


class Tenfold(VecEnv):
    """Environments that are paid tenfold; knows nothing of evaluations."""

    def __init__(self) -> None:
        self.wrapped = cheetah()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["wrapped"], name)

    def get_observations(self) -> TensorDict:
        """Return what the wrapped ones do."""
        return self.wrapped.get_observations()

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Step the wrapped ones."""
        obs, rewards, dones, extras = self.wrapped.step(actions)
        return obs, 10.0 * rewards, dones, extras


@pytest.mark.parametrize(
    ("env", "why"),
    [
        (drift.DriftEnv, "no second set of its environments can be made in this process"),
        (Tenfold, "no second set of its environments can be made in this process"),
        (lambda: GymnasiumVecEnv(ENDLESS, 2), f"{ENDLESS} has no time limit; env.max_episode_steps gives it one"),
    ],
    ids=["no second environments", "a wrapper of them", "no time limit"],
)
def test_where_checkpoints_cannot_be_evaluated_that_is_told_and_the_training_return_decides(
    tmp_path: Path, env: Any, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = env()
    cfg = drift.runner_cfg() if isinstance(made, drift.DriftEnv) else None
    trained(tmp_path, EPISODES, env=made, cfg=cfg)
    assert f"not evaluated during this training: {why}" in capsys.readouterr().out
    assert not logged(tmp_path)
    # no episode of the endless task ends
    assert (tmp_path / "best.pt").exists() != isinstance(made, GymnasiumVecEnv)


@pytest.mark.parametrize("episodes", [0, -1, 2.5, "10", True])
def test_a_number_of_episodes_that_is_none_is_refused_before_training(tmp_path: Path, episodes: Any) -> None:
    with pytest.raises(ConfigError, match=f"at least 1, or None for no evaluations, not {episodes!r}"):
        trained(tmp_path, episodes)
    assert not list(tmp_path.glob("model_*"))


class Breaking(GymnasiumVecEnv):
    """Environments whose copies for evaluations give NaN from the second evaluation on."""

    starts = 0
    evaluates = False

    def alike(self, num_envs: int, seed: int) -> GymnasiumVecEnv:
        made = super().alike(num_envs, seed)
        assert isinstance(made, Breaking)
        made.evaluates = True
        return made

    def reset(self) -> Any:
        self.starts += self.evaluates
        if self.starts > 1:
            raise NonFiniteError("the simulator's reward is nan")
        return super().reset()


def test_an_evaluation_that_fails_is_told_rates_nothing_and_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = trained(tmp_path, EPISODES, env=Breaking("HalfCheetah-v5", 2, max_episode_steps=STEPS))
    assert runner.current_learning_iteration == 3
    told = "The evaluation of this checkpoint failed; training continues: the simulator's reward is nan"
    assert capsys.readouterr().out.count(told) == 3
    assert list(logged(tmp_path)) == [0]
    assert (tmp_path / "best.pt").resolve().name == "model_0.pt"
    assert (tmp_path / "latest.pt").resolve().name == "model_3.pt"
