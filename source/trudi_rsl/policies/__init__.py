# SPDX-License-Identifier: BSD-3-Clause
"""What a user holds: the actor-critic and its deployable form."""

from __future__ import annotations

from trudi_rsl.policies.actor_critic import ActorCritic
from trudi_rsl.policies.denoising import DenoisingModel
from trudi_rsl.policies.deployable import (
    ChainInferencePolicy,
    ChainOptions,
    DeployablePolicy,
    InferencePolicy,
    LatentInputPolicy,
    MeanInferencePolicy,
)
from trudi_rsl.policies.diffusion import DiffusionActorCritic
from trudi_rsl.policies.flow import FlowModel
from trudi_rsl.policies.gaussian import GaussianActorCritic
from trudi_rsl.policies.generative import GenerativeModel
from trudi_rsl.policies.mlp import MLPPolicy

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
