# SPDX-License-Identifier: BSD-3-Clause
"""What a user holds: the actor-critic and its deployable form."""

from trudi_rsl.modules.actor_critic import ActorCritic
from trudi_rsl.modules.chain_options import ChainOptions
from trudi_rsl.modules.denoising_model import DenoisingModel
from trudi_rsl.modules.deployable_policy import DeployablePolicy
from trudi_rsl.modules.diffusion_actor_critic import DiffusionActorCritic
from trudi_rsl.modules.flow_model import FlowModel
from trudi_rsl.modules.gaussian_actor_critic import GaussianActorCritic
from trudi_rsl.modules.generative_model import GenerativeModel
from trudi_rsl.modules.inference_policy import (
    ChainInferencePolicy,
    InferencePolicy,
    LatentInputPolicy,
    MeanInferencePolicy,
)
from trudi_rsl.modules.mlp_policy import MLPPolicy

__all__ = [
    "ActorCritic",
    "ChainInferencePolicy",
    "ChainOptions",
    "DenoisingModel",
    "DeployablePolicy",
    "DiffusionActorCritic",
    "FlowModel",
    "GaussianActorCritic",
    "GenerativeModel",
    "InferencePolicy",
    "LatentInputPolicy",
    "MLPPolicy",
    "MeanInferencePolicy",
]
