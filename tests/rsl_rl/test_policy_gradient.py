# SPDX-License-Identifier: BSD-3-Clause
"""The update that PPO's relatives share is RSL-RL's PPO, and SPO differs from it by its surrogate."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from rsl_rl.algorithms import PPO
from torch.multiprocessing.spawn import spawn

from tests.rsl_rl.helpers import runner_cfg as trudi_cfg
from tests.rsl_rl.small_policies import RandomTask, built, collect, observations, runner_cfg, state
from trudi_rsl.algorithms.objectives import clipped_surrogate, penalised_surrogate
from trudi_rsl.algorithms.policy_gradient import DPPO, FPO, SPO, PolicyGradient
from trudi_rsl.checkpoints.rebuild import rebuild_policy
from trudi_rsl.errors import CheckpointError, ConfigError, NonFiniteError
from trudi_rsl.health.checkup import describe_skipped_update
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE, PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner

needs_models = pytest.mark.skipif(not PPO_MODELS, reason="RSL-RL 5 has the models and the storage")

SETTINGS: list[dict[str, Any]] = [
    {},
    {"schedule": "fixed", "use_clipped_value_loss": False, "entropy_coef": 0.05},
    {"normalize_advantage_per_mini_batch": True, "desired_kl": 1e-4, "max_grad_norm": 0.1, "value_loss_coef": 0.3},
    {
        "rnd_cfg": {
            **{"weight": 2.0, "num_outputs": 2, "predictor_hidden_dims": [4], "target_hidden_dims": [4]},
            **{"learning_rate": 1e-2, "state_normalization": True, "reward_normalization": True},
        }
    },
]


@needs_models
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_shared_update_takes_ppos_own_steps(settings: dict[str, Any]) -> None:
    stock, ours = (built(cls, **copy.deepcopy(settings)) for cls in (PPO, PolicyGradient))
    before = state(stock)
    for _ in range(2):
        losses = []
        for algorithm in (stock, ours):
            collect(algorithm)
            losses.append(algorithm.update())
        torch.testing.assert_close(state(ours), state(stock), rtol=1e-5, atol=1e-6)
        for name, value in losses[0].items():
            assert losses[1][name] == pytest.approx(value, rel=1e-4, abs=1e-6)
    assert ours.learning_rate == pytest.approx(stock.learning_rate)
    assert not torch.allclose(before["actor.mlp.0.weight"], state(ours)["actor.mlp.0.weight"], atol=1e-3)


@needs_models
def test_spos_steps_are_others() -> None:
    spo, ppo = built(SPO, schedule="fixed"), built(PPO, schedule="fixed")
    for algorithm in (spo, ppo):
        collect(algorithm)
    deviation = spo.update()["ratio_deviation"]
    ppo.update()
    assert 0.0 < deviation < 0.2
    difference = state(spo)["actor.mlp.0.weight"] - state(ppo)["actor.mlp.0.weight"]
    assert difference.abs().max() > 1e-4


def test_spos_surrogate_is_its_formula_and_best_at_one_plus_eps_sign_a() -> None:
    eps = 0.2
    advantages = torch.tensor([2.0, -0.5, 1e-3, -3.0, 0.0], dtype=torch.float64)
    best = 1.0 + eps * advantages.sign()
    ratio = best.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(penalised_surrogate(ratio, advantages, eps).sum(), ratio)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-15)
    for offset in (-0.5, -0.01, 0.01, 1.0):
        r = best + offset
        pairs = zip(r.tolist(), advantages.tolist(), strict=True)
        by_hand = [-(x * a - abs(a) / 0.4 * (x - 1.0) ** 2) for x, a in pairs]
        loss = penalised_surrogate(r, advantages, eps)
        torch.testing.assert_close(loss, torch.tensor(by_hand, dtype=torch.float64), rtol=1e-14, atol=0)
        assert (loss >= penalised_surrogate(best, advantages, eps)).all()


def test_ppos_surrogate_is_its_formula() -> None:
    ratio, advantages = torch.tensor([0.5, 0.9, 1.1, 1.5, 1.5]).double(), torch.tensor([-1.0, 2.0, -3.0, 2.0, -2.0])
    expected = torch.tensor([0.8, -1.8, 3.3, -2.4, 3.0]).double()
    torch.testing.assert_close(clipped_surrogate(ratio, advantages.double(), 0.2), expected, rtol=1e-6, atol=0)


def test_both_surrogates_have_the_policy_gradient_at_ratio_one() -> None:
    advantages = torch.randn(7, dtype=torch.float64)
    for surrogate in (clipped_surrogate, penalised_surrogate):
        ratio = torch.ones(7, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(surrogate(ratio, advantages, 0.2).sum(), ratio)
        torch.testing.assert_close(gradient, -advantages)


DENOISING = {"class_name": "trudi_rsl.policies:DenoisingModel", "num_denoise_steps": 3}
COUNT = "must be an integer of at least 1; got"
IMPOSSIBLE: list[tuple[type[PolicyGradient], dict[str, Any], dict[str, Any], str]] = [
    (DPPO, DENOISING | {"num_denoise_steps": 0}, {}, rf"agent\.actor\.num_denoise_steps {COUNT} 0"),
    (DPPO, DENOISING | {"prior_std": -1.0}, {}, r"agent\.actor\.prior_std must be a number above 0; got -1\.0"),
    (DPPO, DENOISING | {"num_denoising_steps": 4}, {}, r"'agent\.actor\.num_denoising_steps'.*'num_denoise_steps'"),
    (DPPO, DENOISING | {"activation": "mich"}, {}, r"agent\.actor\.activation: .*mich"),
    (DPPO, {"class_name": "CNNModel"}, {}, r"DPPO's actor is a DenoisingModel; agent\.actor\.class_name is CNNModel"),
    (DPPO, DENOISING, {"gamma_denoise": 0.0}, r"algorithm\.gamma_denoise must be in \(0, 1\]; got 0\.0"),
    (FPO, {"num_flow_steps": 0}, {}, rf"agent\.actor\.num_flow_steps {COUNT} 0"),
    (FPO, {"num_matching_samples": 1.5}, {}, rf"agent\.actor\.num_matching_samples {COUNT} 1\.5"),
    (FPO, {"num_denoise_steps": 4}, {}, r"FPO has no setting 'agent\.actor\.num_denoise_steps'"),
    (FPO, DENOISING, {}, r"FPO's actor is a FlowModel; .* is DenoisingModel"),
]


@needs_models
@pytest.mark.parametrize(("algorithm", "actor", "settings", "message"), IMPOSSIBLE)
def test_impossible_settings_are_refused_by_name(
    algorithm: type[PolicyGradient], actor: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        built(algorithm, actor, **settings)


@needs_models
def test_recurrent_models_are_refused() -> None:
    cfg = runner_cfg(SPO)
    cfg["critic"] |= {"class_name": "RNNModel", "rnn_type": "gru", "rnn_hidden_dim": 4, "rnn_num_layers": 1}
    with pytest.raises(ConfigError, match="SPO does not support recurrent models"):
        SPO.construct_algorithm(observations(), RandomTask(), cfg, "cpu")  # type: ignore[arg-type]


@pytest.mark.skipif(PPO_MODELS, reason="RSL-RL 5 trains them")
@pytest.mark.parametrize("algorithm", [SPO, DPPO, FPO])
def test_older_versions_of_rsl_rl_are_refused_in_one_sentence(algorithm: type[PolicyGradient]) -> None:
    with pytest.raises(ConfigError, match=rf"{algorithm.__name__} needs rsl-rl-lib 5; installed is [34]\."):
        built(algorithm)


@pytest.mark.skipif(not POLICY_STYLE, reason="RSL-RL 3's runner builds the policy itself")
def test_the_runner_for_rsl_rl_3_refuses_them_too() -> None:
    cfg = trudi_cfg() | {"algorithm": {"class_name": "trudi_rsl.algorithms:SPO"}}
    with pytest.raises(ConfigError, match=r"SPO needs rsl-rl-lib 5; installed is 3\."):
        OnPolicyRunner(GymnasiumVecEnv("InvertedPendulum-v5", 2), cfg)


@needs_models
@pytest.mark.parametrize("algorithm", [SPO, DPPO, FPO])
@pytest.mark.filterwarnings("ignore:.*(no use for|closed form)")
def test_a_checkpoint_continues_where_it_was_saved_and_is_refused_by_others(algorithm: type[PolicyGradient]) -> None:
    first = built(algorithm, schedule="adaptive")
    collect(first)
    first.update()
    first.learning_rate = first.optimizer.param_groups[0]["lr"] = 0.0042  # as adapted
    saved = copy.deepcopy(first.save())
    assert saved["trudi_rsl"]["algorithm"] == algorithm.algo
    collect(first)
    first.update()
    second = built(algorithm, schedule="adaptive")
    assert second.load(saved, None, strict=True)
    assert second.learning_rate == second.optimizer.param_groups[0]["lr"] == 0.0042
    collect(second)
    second.update()
    torch.testing.assert_close(state(second), state(first), rtol=0, atol=0)
    saved["trudi_rsl"]["task"] = "Other-v0"
    with pytest.raises(CheckpointError, match="trained on task 'Other-v0', not on 'Random-v0'"):
        second.load(saved, None, strict=True)
    del saved["trudi_rsl"]
    with pytest.raises(CheckpointError, match=f"is of ppo, not of {algorithm.algo}; load it with --algo ppo"):
        second.load(saved, None, strict=True)


@needs_models
@pytest.mark.parametrize("algorithm", [SPO, DPPO, FPO])
@pytest.mark.filterwarnings("ignore:.*(no use for|closed form)")
def test_a_gradient_that_is_not_finite_ends_the_update_and_after_five_iterations_training(
    algorithm: type[PolicyGradient], tmp_path: Path
) -> None:
    trained = built(algorithm, num_mini_batches=1)
    trained.guard.folder = tmp_path
    for iteration in range(1, 6):
        collect(trained)
        before = state(trained)
        trained.storage.returns[3, 2] = torch.nan
        if iteration == 5:
            with pytest.raises(NonFiniteError, match=r"gave a non-finite gradient .*5 iterations in a row"):
                trained.update()
        else:
            assert trained.update()["skipped_updates"] == 1.0
        after = state(trained)
        assert [k for k in before if "normalizer" not in k and not torch.equal(before[k], after[k])] == []
    kept = torch.load(tmp_path / "skipped_update_1.pt", weights_only=True)
    assert kept["cause"]["minibatch"]["returns"].isnan().any() and "value" in kept["cause"]["not_finite"]
    assert describe_skipped_update(tmp_path / "skipped_update_1.pt").endswith("value; in the minibatch, returns.")


@needs_models
def test_one_whole_update_forgives_those_that_were_skipped() -> None:
    trained = built(SPO, num_mini_batches=1)
    for _ in range(4):
        collect(trained)
        trained.storage.returns[3, 2] = torch.nan
        trained.update()
    assert trained.guard.in_a_row == 4
    collect(trained)
    assert trained.update()["skipped_updates"] == 0.0
    assert trained.guard.in_a_row == 0


@needs_models
def test_a_checkpoint_alone_rebuilds_the_actor_as_often_as_asked() -> None:
    trained = built(SPO)
    collect(trained)
    saved = {**copy.deepcopy(trained.save()), "infos": None}
    obs = observations()
    for _ in range(2):
        policy, _ = rebuild_policy(saved)
        trained.eval_mode()
        torch.testing.assert_close(policy.deterministic_actions(policy.actor_obs(obs)), trained.actor(obs))


WORLD_SIZE = 2


def learn(rank: int, folder: str) -> None:
    """Take one update on a rollout of this process's own and keep the parameters."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=WORLD_SIZE
    )
    torch.manual_seed(1)
    cfg = runner_cfg(DPPO, DENOISING, desired_kl=1e-4)
    cfg["multi_gpu"] = {"global_rank": rank, "local_rank": rank, "world_size": WORLD_SIZE}
    algorithm = DPPO.construct_algorithm(observations(), RandomTask(), cfg, "cpu")  # type: ignore[arg-type]
    collect(algorithm)
    storage: Any = algorithm.storage
    # a rollout in which other actions were good
    storage.advantages = storage.advantages * (1.0 - 2.0 * rank)
    losses = algorithm.update()
    torch.save({"state": state(algorithm), "lr": algorithm.learning_rate, "losses": losses}, f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
@needs_models
def test_processes_with_different_data_stay_identical(tmp_path: Path) -> None:
    spawn(learn, (str(tmp_path),), nprocs=WORLD_SIZE)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(WORLD_SIZE))
    assert first["losses"]["surrogate"] != second["losses"]["surrogate"]
    assert first["lr"] == second["lr"] < 1e-3
    assert [name for name, value in first["state"].items() if not torch.equal(value, second["state"][name])] == []
