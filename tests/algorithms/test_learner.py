# SPDX-License-Identifier: BSD-3-Clause
"""Each of the learner's steps moves its own parameters only, and in the right direction."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.algorithms.builders import actor_critic, gaussian_actor_critic, learner_and_batch, moved
from trudi_rsl.algorithms.learner import Learner
from trudi_rsl.errors import ConfigError
from trudi_rsl.policies import ActorCritic


def everything(learner: Learner) -> dict[str, Tensor]:
    """Return a copy of all parameters, buffers and multipliers."""
    state = {**learner.actor_critic.state_dict(), "alpha": learner.log_alpha, "lambda": learner.log_lambda}
    return {name: value.detach().clone() for name, value in state.items()}


def moved_names(learner: Learner, before: dict[str, Tensor]) -> set[str]:
    after = everything(learner)
    return {name for name in before if not torch.equal(before[name], after[name])}


def names(learner: Learner, part: str) -> set[str]:
    return {name for name, _ in learner.actor_critic.named_parameters() if name.startswith(f"{part}.")}


Build = Callable[[], ActorCritic[Any]]
ESTIMATORS = ("closed_form", "mean_only", "log_ratio", "reverse")
CASES: list[tuple[Build, dict[str, Any]]] = [
    *((actor_critic, {"kl_estimator": estimator}) for estimator in ESTIMATORS),
    (actor_critic, {"kl_chains": "fresh", "num_kl_chains": 2}),
    (gaussian_actor_critic, {}),
]
WIDE = {"kl_bound": 1e6}


def test_critic_steps_move_the_critic_only_and_fit_the_targets() -> None:
    learner, batch, _ = learner_and_batch(moved(actor_critic()), learning_rate=0.01)
    before = everything(learner)
    first = learner._critic_step(batch)
    for _ in range(100):
        learner._critic_step(batch)
    last = learner._critic_step(batch)
    assert last["td_error"] < 0.5 * first["td_error"]
    assert last["feature"] < first["feature"]
    assert moved_names(learner, before) == names(learner, "critic")


@pytest.mark.parametrize(("build", "settings"), CASES)
def test_actor_step_moves_the_actor_only(build: Build, settings: dict[str, Any]) -> None:
    learner, batch, old_steps = learner_and_batch(moved(build()), **settings)
    mean_kl = copy.deepcopy(learner)._actor_step(batch, old_steps)["path_kl"]
    learner.cfg.kl_bound = mean_kl.item()  # type: ignore[attr-defined]
    before = everything(learner)
    metrics = learner._actor_step(batch, old_steps)
    assert 0.0 < metrics["gated_share"] < 1.0, "both branches of the gate must take part"
    assert moved_names(learner, before) == names(learner, "actor")


@pytest.mark.parametrize("above", [True, False])
def test_dual_step_moves_the_multipliers_only_against_target_and_bound(above: bool) -> None:
    learner, *_ = learner_and_batch(actor_critic(), entropy_target_per_dim=-1.5)
    before = everything(learner)
    # two action dimensions
    learner._dual_step(torch.tensor(-3.0 + (0.1 if above else -0.1)), torch.tensor(0.5 * above))
    assert moved_names(learner, before) == {"alpha", "lambda"}
    assert (learner.log_alpha < before["alpha"]) == above
    assert (learner.log_lambda > before["lambda"]) == above


def test_the_logged_entropy_of_a_gaussian_is_minus_its_mean_log_prob() -> None:
    model = gaussian_actor_critic()
    learner, batch, old_steps = learner_and_batch(model)
    torch.manual_seed(3)
    entropy = learner._actor_step(batch, old_steps)["entropy"]
    model.actor.load_state_dict(model.old_actor.state_dict())
    torch.manual_seed(3)
    torch.testing.assert_close(entropy, -model.decide(batch.actor_obs).log_prob.mean().detach())


def test_actor_step_uses_the_critic_just_updated() -> None:
    model = actor_critic()
    learner, batch, old_steps = learner_and_batch(model, learning_rate=0.05)
    torch.manual_seed(3)
    metrics = learner.update(batch, old_steps)
    torch.manual_seed(3)
    # the actor has moved, but the old one still is what it was during its step
    chain = model.old_actor.sample(batch.actor_obs, model.old_actor.draw_noise(len(batch.actor_obs)))
    q = model.critic.value(batch.critic_obs, chain.latents[-1].tanh())
    expected = (torch.tensor(0.01) * model.old_actor.log_prob_bound(chain) - q).mean()
    torch.testing.assert_close(metrics["actor"], expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [actor_critic, gaussian_actor_critic])
def test_first_actor_step_starts_inside_the_trust_region(build: Build) -> None:
    learner, batch, old_steps = learner_and_batch(build())
    metrics = learner._actor_step(batch, old_steps)
    assert metrics["path_kl_max"] < 1e-5
    assert metrics["gated_share"] == 0.0


@pytest.mark.parametrize(("build", "settings"), CASES)
def test_gated_actor_steps_return_to_the_trust_region(build: Build, settings: dict[str, Any]) -> None:
    learner, batch, old_steps = learner_and_batch(
        moved(build()), kl_bound=1e-6, init_lambda=1.0, learning_rate=0.01, **settings
    )
    first = learner._actor_step(batch, old_steps)["path_kl"]
    for _ in range(60):
        learner._actor_step(batch, old_steps)
    assert learner._actor_step(batch, old_steps)["path_kl"] < 0.3 * first


@pytest.mark.parametrize(
    ("build", "settings"),
    [(actor_critic, WIDE), (gaussian_actor_critic, WIDE), (actor_critic, {"constraint": "none"})],
)
def test_actor_steps_that_no_trust_region_limits_raise_q(build: Build, settings: dict[str, Any]) -> None:
    model = moved(build(), 0.5)
    learner, batch, old_steps = learner_and_batch(model, init_alpha=1e-8, learning_rate=0.01, **settings)

    def mean_q() -> Tensor:
        torch.manual_seed(0)
        actions = model.decide(batch.actor_obs).action
        return model.critic.value(batch.critic_obs, actions).mean()

    before = mean_q()
    for _ in range(60):
        learner._actor_step(batch, old_steps)
    assert mean_q() > before + 0.1


def test_gradients_are_clipped_for_actor_and_critic_separately_and_logged_unclipped() -> None:
    learner, batch, old_steps = learner_and_batch(actor_critic(), max_grad_norm=1e-3)
    logged = {"critic": learner._critic_step(batch)["critic_grad_norm"]}
    logged["actor"] = learner._actor_step(batch, old_steps)["actor_grad_norm"]
    for name, norm in logged.items():
        assert norm > 1e-2
        gradients = [p.grad for p in learner.optimizers[name].param_groups[0]["params"]]
        torch.testing.assert_close(torch.nn.utils.get_total_norm(gradients), torch.tensor(1e-3), rtol=1e-3, atol=0)


def test_dime_stores_and_draws_no_chain_and_trains_no_multiplier() -> None:
    model = moved(actor_critic())
    learner, batch, old_steps = learner_and_batch(model, constraint="none", init_alpha=1.0)
    assert batch.trace is None

    def refuse(*_: object) -> None:
        raise AssertionError("chains of the old policy were drawn")

    learner._fresh_chains = refuse  # type: ignore[assignment]
    before = learner.multiplier, learner.alpha
    metrics = learner.update(batch, old_steps)
    assert metrics.keys().isdisjoint({"path_kl", "path_kl_max", "gated_share"})
    assert learner.multiplier == before[0] and learner.alpha != before[1]


def test_a_checkpoint_of_a_cpu_leaves_the_optimisers_ready_for_cuda_graphs() -> None:
    saved, *_ = learner_and_batch(actor_critic())
    learner, *_ = learner_and_batch(actor_critic(), learning_rate=0.5)
    for optimizer in learner.optimizers.values():
        optimizer.param_groups[0]["capturable"] = True  # as on a GPU
    learner.load_state_dict(saved.state_dict())
    for optimizer in learner.optimizers.values():
        assert optimizer.param_groups[0]["capturable"] and optimizer.param_groups[0]["lr"] == 0.5


def test_a_minibatch_that_does_not_fit_is_an_error_with_the_setting_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, batch, old_steps = learner_and_batch(actor_critic())

    def runs_out(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(learner, "_critic_step", runs_out)
    with pytest.raises(ConfigError, match=r"of 20 transitions: raise .*num_mini_batches.* 2\.00 GiB"):
        learner.update(batch, old_steps)
