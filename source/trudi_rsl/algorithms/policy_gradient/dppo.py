# SPDX-License-Identifier: BSD-3-Clause
"""Diffusion Policy Policy Optimization (DPPO, arXiv 2409.00588)."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from trudi_rsl.algorithms.model_checkpoint import PolicyGradientAlgorithm
from trudi_rsl.algorithms.policy_gradient.generative import GenerativePolicyGradient
from trudi_rsl.algorithms.policy_gradient.surrogates import clipped_surrogate
from trudi_rsl.errors import ConfigError
from trudi_rsl.modules import DenoisingModel, GenerativeModel


class DPPO(GenerativePolicyGradient):
    """PPO over the decision process in which every denoising step is a decision.

    A step's ratio is that of its Gaussian density; each is clipped by itself. All steps of a chain share the advantage
    of the action that they lead to, discounted by ``gamma_denoise`` for each step that follows. With one denoising step
    it is PPO on the Gaussian of that step.

    Args:
        settings: PPO's, positional and by name.
        gamma_denoise: Discount per denoising step, in (0, 1].

    Raises:
        ConfigError: If it is out of range.
    """

    algo: ClassVar[PolicyGradientAlgorithm] = "dppo"
    model: ClassVar[type[GenerativeModel]] = DenoisingModel

    def __init__(self, *settings: Any, gamma_denoise: float = 0.99, **named_settings: Any) -> None:
        super().__init__(*settings, **named_settings)
        if not 0.0 < gamma_denoise <= 1.0:
            raise ConfigError(f"algorithm.gamma_denoise must be in (0, 1]; got {gamma_denoise!r}.")
        num_steps = cast(DenoisingModel, self.get_policy()).num_steps
        steps_after = torch.arange(num_steps - 1, -1, -1, device=self.device)
        self._discounts = gamma_denoise**steps_after

    def surrogate(self, ratio: Tensor, advantages: Tensor) -> Tensor:
        """Return PPO's loss of every denoising step, ``[B, N]``; see :class:`PolicyGradient`."""
        return clipped_surrogate(ratio, advantages[:, None] * self._discounts, self.clip_param)
