# SPDX-License-Identifier: BSD-3-Clause
"""DIME is TruDi's learner with nothing left of the trust region."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor

from tests.algorithms.builders import actor_critic, config, learner_and_batch, moved, rollout
from trudi_rsl.algorithms import DIMECfg, TruDiCfg
from trudi_rsl.errors import ConfigError
from trudi_rsl.settings import settings_from_dict


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


def test_an_actor_and_a_constraint_make_the_algorithm() -> None:
    assert isinstance(settings_from_dict({"constraint": "none"}), DIMECfg)
    assert type(settings_from_dict({"constraint": "path_kl"})) is TruDiCfg
    trudi, dime = TruDiCfg().to_dict(), DIMECfg().to_dict()
    assert {name for name in trudi if trudi[name] != dime[name]} == {"constraint"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"constraint": "nun"}, r"algorithm\.constraint must be one of \('path_kl', 'none'\); got 'nun'"),
        ({"constraint": "none", "actor": "gaussian"}, "constraint must be path_kl in REPPO"),
        ({"constraint": "none", "kl_bound": 0.2}, r"kl_bound must be left at 0\.1 in DIME, without a trust region"),
        ({"constraint": "none", "kl_chains": "fresh"}, "kl_chains must be left at stored in DIME"),
        ({"constraint": "none", "init_lambda": 1.0}, "init_lambda must be left at 0.01 in DIME"),
        ({"constraint": "none", "actor_gradient": "adjoint"}, "actor_gradient must be pathwise in DIME"),
    ],
)
def test_what_means_nothing_without_a_trust_region_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_from_dict(settings)


def test_settings_of_one_constraint_are_not_taken_for_the_others() -> None:
    with pytest.raises(ConfigError, match=r"constraint must be path_kl in TruDi; .*--algo dime"):
        TruDiCfg(constraint="none")
    with pytest.raises(ConfigError, match=r"constraint must be none in DIME; .*--algo trudi"):
        DIMECfg(constraint="path_kl")
