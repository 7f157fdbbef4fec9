# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's random network distillation under TruDi's learner."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from rsl_rl.runners import OnPolicyRunner as StockRunner
from tensordict import TensorDict
from torch import Tensor

from tests.properties.small_env import SmallEnv, iteration, make
from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.targets import compute_targets
from trudi_rsl.checkpoints.file import read_checkpoint, write_checkpoint
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.settings import SETTINGS, settings_from_dict

NUM_ENVS, NUM_STEPS, STEP_DT, WEIGHT = 4, 5, 0.5, 3.0
NETWORKS: dict[str, Any] = {"num_outputs": 2, "predictor_hidden_dims": [6], "target_hidden_dims": [5]}
NORMALIZED: dict[str, Any] = {"state_normalization": True, "reward_normalization": True}
LINEAR = {"mode": "linear", "initial_step": 2, "final_step": 12, "final_value": 0.5}

needs_extension = pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3 has its extensions in the runner")


class TimedEnv(SmallEnv):
    """A simulator with a control period and observations that only RND reads."""

    step_dt = STEP_DT

    def __init__(self) -> None:
        super().__init__(NUM_ENVS, 2, {"policy": 3, "rnd_state": 2})


def section(**rnd: Any) -> dict[str, Any]:
    return {
        **{"num_denoise_steps": 2, "actor_hidden_dims": [8], "critic_hidden_dim": 8, "num_bins": 11, "compile": "off"},
        **{"num_learning_epochs": 1, "num_mini_batches": 2, "value_range": [-100.0, 100.0]},
        "rnd_cfg": {"weight": WEIGHT, **NETWORKS, **rnd},
    }


def build(env: SmallEnv | None = None, settings: dict[str, Any] | None = None, **rnd: Any) -> TruDi:
    torch.manual_seed(0)
    return make(env or TimedEnv(), NUM_STEPS, section(**rnd) | (settings or {}), ["policy"], ["policy"])


def collect(trudi: TruDi, env: SmallEnv, alter: Any = lambda obs: obs) -> tuple[Tensor, list[TensorDict]]:
    """Fill the rollout, and return the environment's rewards ``[T, E]`` and the observations after each step."""
    trudi.train_mode()
    obs, rewards, later = env.get_observations(), [], []
    with torch.inference_mode():
        for _ in range(NUM_STEPS):
            obs, reward, dones, extras = env.step(trudi.act(obs))
            obs = alter(obs)
            trudi.process_env_step(obs, reward, dones, extras)
            rewards.append(reward)
            later.append(obs)
        trudi.compute_returns(obs)
    return torch.stack(rewards), later


def state(trudi: TruDi) -> dict[str, Tensor]:
    """Return copies of all that is learned, and of RND."""
    learned = {**trudi.actor_critic.state_dict()}
    if trudi.rnd is not None:
        learned |= {f"rnd.{name}": value for name, value in trudi.rnd.state_dict().items()}
    return {name: value.clone() for name, value in learned.items()}


@needs_extension
@pytest.mark.parametrize(
    "algorithm", [{}, {"actor": "gaussian"}, {"constraint": "none"}], ids=["trudi", "reppo", "dime"]
)
def test_targets_are_those_of_the_rewards_plus_weight_times_the_predictors_error(algorithm: dict[str, Any]) -> None:
    env = TimedEnv()
    # with final observations, new decisions would be drawn for the targets
    trudi = build(env, {**algorithm, "final_observations": False}, weight_schedule=LINEAR)
    rewards, later = collect(trudi, env)
    rnd, targets = trudi.rnd, trudi.storage.targets.clone()
    expected, weight, error = rewards.clone(), 0.0, rewards[0]
    for t, obs in enumerate(later):
        done = min(max((t + 1 - 2) / 10, 0.0), 1.0)
        weight = WEIGHT * STEP_DT + (0.5 - WEIGHT * STEP_DT) * done
        with torch.no_grad():
            error = (rnd.target(obs["rnd_state"]) - rnd.predictor(obs["rnd_state"])).norm(dim=1)
        expected[t] += weight * error
    assert rnd.weight == pytest.approx(weight)
    torch.testing.assert_close(trudi.storage.rewards, expected)
    torch.testing.assert_close(trudi.intrinsic_rewards, weight * error)
    trudi.storage.rewards.copy_(expected)
    compute_targets(trudi.actor_critic, trudi.storage, trudi.learner.alpha, trudi.cfg.gamma, trudi.cfg.lam)
    torch.testing.assert_close(trudi.storage.targets, targets)
    trudi.storage.rewards.copy_(rewards)
    compute_targets(trudi.actor_critic, trudi.storage, trudi.learner.alpha, trudi.cfg.gamma, trudi.cfg.lam)
    assert not torch.allclose(trudi.storage.targets, targets, atol=1e-2)


@needs_extension
def test_a_weight_of_zero_trains_bitwise_what_no_rnd_trains() -> None:
    learned, metrics = [], {}
    for rnd in (None, {"weight": 0.0, **NETWORKS, **NORMALIZED}):
        env = TimedEnv()
        trudi = build(env, {"rnd_cfg": rnd})
        for _ in range(2):
            metrics = iteration(trudi, env, NUM_STEPS)
        learned.append(state(trudi))
    assert metrics["rnd"] > 0.0
    assert all(torch.equal(value, learned[1][name]) for name, value in learned[0].items())


@needs_extension
def test_the_predictor_comes_nearer_to_the_target_which_stays() -> None:
    env = TimedEnv()
    trudi = build(env, {"num_learning_epochs": 4}, learning_rate=2e-2)
    before = state(trudi)
    losses = [iteration(trudi, env, NUM_STEPS)["rnd"] for _ in range(4)]
    after = state(trudi)
    assert losses[-1] < 0.5 * losses[0]
    assert torch.equal(before["rnd.target.0.weight"], after["rnd.target.0.weight"])


@needs_extension
def test_a_resumed_run_goes_on_bitwise_with_the_schedule_and_the_normalisers(tmp_path: Path) -> None:
    env = TimedEnv()
    trudi, resumed = (build(env, weight_schedule=LINEAR, **NORMALIZED) for _ in range(2))
    iteration(trudi, env, NUM_STEPS)
    write_checkpoint({**trudi.save(), "iter": 0}, tmp_path / "model_0.pt")
    iteration(trudi, env, NUM_STEPS)
    resumed.load(read_checkpoint(tmp_path / "model_0.pt"), None, strict=True)
    iteration(resumed, env, NUM_STEPS)
    assert resumed.rnd.weight == trudi.rnd.weight != WEIGHT * STEP_DT
    assert all(torch.equal(value, state(resumed)[name]) for name, value in state(trudi).items())
    assert resumed.rnd.state_normalizer.count == 2 * NUM_STEPS * NUM_ENVS
    assert torch.equal(resumed.rnd.reward_normalizer.disc_avg.avg, trudi.rnd.reward_normalizer.disc_avg.avg)


@needs_extension
def test_load_cfg_leaves_rnd_out_and_a_checkpoint_without_it_is_refused() -> None:
    env = TimedEnv()
    trudi, plain = build(env), build(env, {"rnd_cfg": None})
    for algorithm in (trudi, plain):
        iteration(algorithm, env, NUM_STEPS)
    fresh = build(env)
    before = state(fresh)
    fresh.load(trudi.save(), {"actor": True, "critic": True}, strict=True)
    assert all(torch.equal(state(fresh)[name], before[name]) for name in before if name.startswith("rnd."))
    with pytest.raises(CheckpointError, match="of a training without RND"), pytest.warns(UserWarning, match="rnd_cfg"):
        fresh.load(plain.save(), None, strict=True)


@needs_extension
def test_the_stock_runner_and_ours_train_the_same_with_rnd() -> None:
    learned = []
    for runner_class in (StockRunner, OnPolicyRunner):
        torch.manual_seed(0)
        cfg = {
            **{"num_steps_per_env": NUM_STEPS, "save_interval": 100, "max_iterations": 2},
            "obs_groups": {"actor": ["policy"], "critic": ["policy"]},
            "algorithm": {"class_name": "trudi_rsl.algorithms:TruDi", **section(**NORMALIZED)},
        }
        runner: Any = runner_class(TimedEnv(), cfg, None, "cpu")
        runner.learn(2)
        learned.append(state(runner.alg))
    assert all(torch.equal(value, learned[1][name]) for name, value in learned[0].items())


@needs_extension
def test_an_automatic_value_range_holds_the_intrinsic_rewards() -> None:
    tops = []
    for weight in (0.0, 500.0):
        env = TimedEnv()
        trudi = build(env, {"value_range": "auto"}, weight=weight)
        collect(trudi, env)
        tops.append(trudi.actor_critic.critic.hl_gauss.vmax.item())
        assert trudi.storage.targets.max() < tops[-1]
    assert tops[1] > 10.0 * tops[0]


@needs_extension
def test_observations_that_are_not_finite_are_not_rewarded_and_leave_rnd_sound() -> None:
    def alter(obs: TensorDict) -> TensorDict:
        obs["rnd_state"][1, 0] = float("nan")
        return obs

    env = TimedEnv()
    trudi = build(env, **NORMALIZED)
    rewards, _ = collect(trudi, env, alter)
    assert torch.equal(trudi.storage.rewards[:, 1], rewards[:, 1])
    trudi.update()
    assert all(torch.isfinite(value).all() for value in state(trudi).values())


@needs_extension
def test_an_environment_without_a_control_period_has_the_weight_as_it_is() -> None:
    env = SmallEnv(NUM_ENVS, 2, {"policy": 3})
    trudi = build(env)
    collect(trudi, env)
    assert trudi.rnd.weight == WEIGHT
    assert trudi.rnd.obs_groups["rnd_state"] == ["policy"]


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"wieght": 1.0}, r"rnd_cfg has no setting 'wieght'.*'weight'"),
    ({"num_states": 3}, "RSL-RL has built a PPO from this very section"),
    ({"weight": "much"}, r"rnd_cfg\.weight must be a finite number; got 'much'"),
    ({"learning_rate": 0.0}, r"rnd_cfg\.learning_rate must be above 0"),
    ({"num_outputs": 0}, r"rnd_cfg\.num_outputs must be an integer above 0"),
    ({"predictor_hidden_dims": []}, r"rnd_cfg\.predictor_hidden_dims must be a list of widths"),
    ({"target_hidden_dims": [0]}, r"rnd_cfg\.target_hidden_dims must be a list of widths"),
    ({"weight_schedule": {"mode": "cosine"}}, r"mode must be one of constant, step, linear; got 'cosine'"),
    ({"weight_schedule": {"mode": "step", "final_step": 3}}, "weight_schedule has no 'final_value'"),
    ({"weight_schedule": LINEAR | {"final_step": 2}}, "must have initial_step < final_step; got initial_step 2"),
]


@pytest.mark.parametrize("algo", SETTINGS)
@pytest.mark.parametrize(("wrong", "words"), IMPOSSIBLE, ids=lambda part: str(part)[:30])
def test_an_impossible_section_is_refused_by_its_key(algo: Any, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^algorithm\.rnd_cfg.*{words}|^algorithm\.{words}"):
        SETTINGS[algo].from_dict({"rnd_cfg": {**NETWORKS, **wrong}})


def test_an_empty_section_is_none_and_tuples_become_lists() -> None:
    assert settings_from_dict({"rnd_cfg": {}}).rnd_cfg is None
    given = {**NETWORKS, "target_hidden_dims": (5,)}
    cfg = settings_from_dict({"rnd_cfg": copy.deepcopy(given)})
    assert cfg.rnd_cfg == NETWORKS
    assert settings_from_dict(cfg.to_dict()).to_dict() == cfg.to_dict()


@pytest.mark.skipif(not POLICY_STYLE, reason="newer versions let the algorithm build its extensions")
def test_rnd_is_refused_by_name_under_rsl_rl_3() -> None:
    with pytest.raises(ConfigError, match=r'"rnd_cfg"\] needs rsl-rl-lib 4 or newer'):
        build()
