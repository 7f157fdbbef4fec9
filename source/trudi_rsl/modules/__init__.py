# SPDX-License-Identifier: BSD-3-Clause
"""What a user holds: the actor-critic and its deployable form."""

from trudi_rsl.modules.diffusion_actor_critic import DiffusionActorCritic
from trudi_rsl.modules.inference_policy import InferencePolicy

__all__ = ["DiffusionActorCritic", "InferencePolicy"]
