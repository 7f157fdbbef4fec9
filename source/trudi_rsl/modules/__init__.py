# SPDX-License-Identifier: BSD-3-Clause
"""What a user holds: the actor-critic and its deployable form."""

from trudi_rsl.modules.actor_critic import ActorCritic
from trudi_rsl.modules.diffusion_actor_critic import DiffusionActorCritic
from trudi_rsl.modules.gaussian_actor_critic import GaussianActorCritic
from trudi_rsl.modules.inference_policy import DiffusionInferencePolicy, GaussianInferencePolicy, InferencePolicy

__all__ = [
    "ActorCritic",
    "DiffusionActorCritic",
    "DiffusionInferencePolicy",
    "GaussianActorCritic",
    "GaussianInferencePolicy",
    "InferencePolicy",
]
