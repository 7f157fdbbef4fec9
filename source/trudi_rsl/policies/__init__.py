# SPDX-License-Identifier: BSD-3-Clause
"""Policies: the actor-critics of TruDi's family, the actors of DPPO and FPO, and their deployable forms."""

from __future__ import annotations

from trudi_rsl.policies.actor_critic import ActorCritic
from trudi_rsl.policies.base import ChainOptions
from trudi_rsl.policies.denoising import DenoisingModel
from trudi_rsl.policies.deployable import ChainInferencePolicy, DeployablePolicy, InferencePolicy, LatentInputPolicy
from trudi_rsl.policies.diffusion import DiffusionActorCritic, DiffusionPolicy
from trudi_rsl.policies.flow import FlowModel
from trudi_rsl.policies.gaussian import GaussianActorCritic, GaussianPolicy, MLPPolicy
from trudi_rsl.policies.generative import GenerativeModel

__all__ = [
    "ActorCritic",
    "ChainInferencePolicy",
    "ChainOptions",
    "DenoisingModel",
    "DeployablePolicy",
    "DiffusionActorCritic",
    "DiffusionPolicy",
    "FlowModel",
    "GaussianActorCritic",
    "GaussianPolicy",
    "GenerativeModel",
    "InferencePolicy",
    "LatentInputPolicy",
    "MLPPolicy",
]
