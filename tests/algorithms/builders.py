# SPDX-License-Identifier: BSD-3-Clause
"""Small real actor-critics, rollouts and learners."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms.learner import Learner
from trudi_rsl.algorithms.trust_region import OldPolicy, step_sizes_of
from trudi_rsl.policies import ActorCritic, DiffusionActorCritic, GaussianActorCritic
from trudi_rsl.settings import TruDiCfg, settings_from_dict
from trudi_rsl.storage import Minibatch, RolloutBuffer

ModelT = TypeVar("ModelT", bound=ActorCritic[Any])

NUM_OBS, NUM_PRIVILEGED, NUM_ACTIONS, NUM_DENOISE_STEPS, WIDTH = 3, 2, 2, 4, 8


def observations(batch: int) -> TensorDict:
    """Return random observation groups ``policy`` and ``privileged``."""
    return TensorDict(
        {"policy": torch.randn(batch, NUM_OBS), "privileged": torch.randn(batch, NUM_PRIVILEGED)}, batch_size=[batch]
    )


def actor_critic(asymmetric: bool = False, perturbed: bool = True) -> DiffusionActorCritic:
    """Return a tiny module with uneven action bounds; ``perturbed`` gives its control and Q values some life."""
    model = DiffusionActorCritic(
        observations(1), **_shared(asymmetric), num_denoise_steps=NUM_DENOISE_STEPS, actor_hidden_dims=[WIDTH, WIDTH]
    )
    return _perturbed(model) if perturbed else model


def gaussian_actor_critic(asymmetric: bool = False) -> GaussianActorCritic:
    """Return what :func:`actor_critic` does with a Gaussian actor, whose mean and deviation depend on the state."""
    return _perturbed(GaussianActorCritic(observations(1), **_shared(asymmetric), actor_hidden_dims=[WIDTH, WIDTH]))


def _shared(asymmetric: bool) -> dict[str, Any]:
    return {
        "obs_groups": {"actor": ["policy"], "critic": ["policy", "privileged"] if asymmetric else ["policy"]},
        "action_low": torch.tensor([-1.0, 0.0]),
        "action_high": torch.tensor([1.0, 4.0]),
        "critic_hidden_dim": WIDTH,
        "num_bins": 21,
    }


def _perturbed(model: ModelT) -> ModelT:
    torch.nn.init.normal_(model.actor.output_layer.weight)
    torch.nn.init.normal_(model.critic.value_head[-1].weight)  # type: ignore[arg-type]
    # the learned code of 0 outweighs any fresh head
    torch.nn.init.zeros_(model.critic.zero_code)
    model.sync_old_actor()
    return model


def moved(model: ModelT, scale: float = 0.1) -> ModelT:
    """Move the actor away from the old actor, in place."""
    with torch.no_grad():
        for parameter in model.actor.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def config(actor: str = "diffusion", **settings: Any) -> Any:
    """Return settings for the tiny module; only what the learner reads matters."""
    tiny = {"num_denoise_steps": NUM_DENOISE_STEPS, "critic_hidden_dim": WIDTH, "value_range": (-10, 10)}
    tiny["compile"] = "off"
    return settings_from_dict({"actor": actor} | tiny | settings)


def rollout(model: ActorCritic[Any], num_steps: int = 4, num_envs: int = 5, store_chains: bool = True) -> RolloutBuffer:
    """Return a full rollout of random observations and rewards, without ends of episodes."""
    buffer = RolloutBuffer(
        num_steps, num_envs, model.actor_obs.num_obs, model.critic_obs.num_obs if model.asymmetric else None,
        NUM_ACTIONS, WIDTH, model.actor.trace_length if store_chains else 0, "cpu", model.actor.trace_dtype,
    )  # fmt: skip
    for t in range(num_steps + 1):
        decide(model, buffer, observations(num_envs))
        if t < num_steps:
            none = torch.zeros(num_envs, dtype=torch.bool)
            buffer.add_outcome(torch.randn(num_envs), none, none)
    return buffer


@torch.no_grad()
def decide(model: ActorCritic[Any], buffer: RolloutBuffer, obs: TensorDict) -> Tensor:
    """Write one decision of the actor and return its unit actions."""
    actor_obs = model.actor_obs(obs)
    decision = model.decide(actor_obs)
    buffer.add_decision(actor_obs, model.critic_obs(obs), decision)
    return decision.action


def learner_and_batch(model: ActorCritic[Any], **settings: Any) -> tuple[Learner, Minibatch, Any]:
    """Return a learner on ``model``, a minibatch that its old actor drew, and the old actor's step sizes or None."""
    cfg = config("gaussian" if isinstance(model, GaussianActorCritic) else "diffusion", **settings)
    current = {name: value.clone() for name, value in model.actor.state_dict().items()}
    model.actor.load_state_dict(model.old_actor.state_dict())
    buffer = rollout(model, store_chains=cfg.stores_chains)
    model.actor.load_state_dict(current)
    buffer.targets.normal_()
    buffer.next_features.normal_()
    return Learner(model, cfg), next(buffer.minibatches(1, 1)), step_sizes_of(model.old_actor)


def old_policy(learner: Learner, batch: Minibatch, old_steps: Tensor | None) -> OldPolicy | None:
    """Return the learner's data of the old policy; draws chains if they are not stored."""
    noise = None
    if isinstance(learner.cfg, TruDiCfg) and learner.cfg.draws_old_chains:
        noise = learner.actor_critic.old_actor.draw_noise(learner.cfg.num_kl_chains * len(batch.actions))
    return learner._old_policy(batch, old_steps, noise)


def parameters(learner: Learner) -> dict[str, Tensor]:
    """Return a copy of all parameters and multipliers."""
    duals = {"alpha": learner.log_alpha, "lambda": learner.log_lambda}
    return {name: p.detach().clone() for name, p in [*learner.actor_critic.named_parameters(), *duals.items()]}
