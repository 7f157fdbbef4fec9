# SPDX-License-Identifier: BSD-3-Clause
"""DIME's loss against the densities of the chain's kernels, and against TruDi's inside its trust region."""

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from tests.algorithms.builders import NUM_OBS, actor_critic, moved
from trudi_rsl.algorithms.objectives import ActorTerms, pathwise_objective
from trudi_rsl.algorithms.trust_region import TrustRegion, fresh_chains
from trudi_rsl.policies import DiffusionActorCritic

pytestmark = pytest.mark.usefixtures("float64")

ALPHA = 0.3


def loss_by_hand(model: DiffusionActorCritic, obs: Tensor, noise: Tensor) -> Tensor:
    """Return ``mean(alpha lp - Q)`` from the densities of the chain's kernels, one by one."""
    actor, steps = model.actor, model.actor.step_sizes()
    x = actor.prior_std * noise[0]
    bound = Normal(0.0, actor.prior_std).log_prob(x).sum(-1)
    for k, step in enumerate(steps):
        control = actor.controls(obs, x[None], torch.tensor([k]))[0]
        denoising = Normal(x + step * (control - x / actor.prior_std**2), (2.0 * step).sqrt())
        reached = denoising.mean + denoising.stddev * noise[k + 1]
        noising = Normal(reached - step * reached / actor.prior_std**2, (2.0 * step).sqrt())
        bound = bound + (denoising.log_prob(reached) - noising.log_prob(x)).sum(-1)
        x = reached
    log_prob = bound - (1.0 - x.tanh().square()).log().sum(-1)
    return (ALPHA * log_prob - model.critic.value(obs, x.tanh())).mean()


def test_the_loss_is_that_of_the_chains_own_kernels_with_trudis_gradient_within_an_infinite_trust_region() -> None:
    model, obs = moved(actor_critic()), torch.randn(7, NUM_OBS)
    old = fresh_chains(model.old_actor, obs, model.old_actor.draw_noise(7))
    terms = ActorTerms(obs, obs, model.actor.draw_noise(7), None, torch.tensor(ALPHA), torch.tensor(0.7))
    dime = pathwise_objective(model.actor, model.critic, terms, None)
    torch.testing.assert_close(dime.loss, loss_by_hand(model, obs, terms.noise), rtol=1e-12, atol=0)
    region = TrustRegion(torch.inf, "closed_form", model.old_actor)
    trudi = pathwise_objective(model.actor, model.critic, terms._replace(old=old), region)
    assert trudi.metrics["path_kl"] > 0.1
    parameters = list(model.actor.parameters())
    gradients = (torch.autograd.grad(o.loss, parameters, materialize_grads=True) for o in (dime, trudi))
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(dime.metrics["entropy"], trudi.metrics["entropy"])
