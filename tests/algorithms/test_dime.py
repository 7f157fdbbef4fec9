# SPDX-License-Identifier: BSD-3-Clause
"""DIME is TruDi's learner with nothing left of the trust region."""

from __future__ import annotations

from torch import Tensor

from tests.algorithms.builders import actor_critic, config, learner_and_batch, moved, rollout


def test_no_chain_is_stored_or_drawn_and_no_multiplier_trained() -> None:
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
    assert rollout(model, store_chains=config(constraint="none").stores_chains).trace is None


def test_dime_climbs_q_however_far_it_is_from_the_old_policy() -> None:
    model = moved(actor_critic(), 0.5)
    learner, batch, old_steps = learner_and_batch(model, constraint="none", init_alpha=1e-8, learning_rate=0.01)
    noise = model.actor.draw_noise(len(batch.actor_obs))

    def mean_q() -> Tensor:
        return model.critic.value(batch.critic_obs, model.actor.decide(batch.actor_obs, noise).action).mean()

    before = mean_q()
    for _ in range(40):
        learner._actor_step(batch, old_steps)
    assert mean_q() > before + 0.1
