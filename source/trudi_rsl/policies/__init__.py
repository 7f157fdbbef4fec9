# SPDX-License-Identifier: BSD-3-Clause
"""Policies: the actor-critics of TruDi's family, the actors of DPPO and FPO, and their deployable forms."""

from __future__ import annotations

from trudi_rsl.policies.actor_critic import SAMPLERS, ActorCritic, InitialLatent, Sampler
from trudi_rsl.policies.base import ChainOptions, Decision, Policy
from trudi_rsl.policies.denoising import DenoisingModel
from trudi_rsl.policies.deployable import (
    ChainInferencePolicy,
    DeployablePolicy,
    InferencePolicy,
    LatentInputPolicy,
    MeanInferencePolicy,
)
from trudi_rsl.policies.diffusion import DiffusionActorCritic, DiffusionPolicy
from trudi_rsl.policies.flow import FlowModel
from trudi_rsl.policies.gaussian import GaussianActorCritic, GaussianPolicy, MLPPolicy
from trudi_rsl.policies.generative import GenerativeModel

__all__ = [
    "SAMPLERS",
    "ActorCritic",
    "ChainInferencePolicy",
    "ChainOptions",
    "Decision",
    "DenoisingModel",
    "DeployablePolicy",
    "DiffusionActorCritic",
    "DiffusionPolicy",
    "FlowModel",
    "GaussianActorCritic",
    "GaussianPolicy",
    "GenerativeModel",
    "InferencePolicy",
    "InitialLatent",
    "LatentInputPolicy",
    "MLPPolicy",
    "MeanInferencePolicy",
    "Policy",
    "Sampler",
]
