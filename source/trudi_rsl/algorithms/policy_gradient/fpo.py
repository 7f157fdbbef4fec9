# SPDX-License-Identifier: BSD-3-Clause
"""Flow Policy Optimization (FPO, arXiv 2507.21053)."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from trudi_rsl.algorithms.model_checkpoint import PolicyGradientAlgorithm
from trudi_rsl.algorithms.policy_gradient.generative import GenerativePolicyGradient
from trudi_rsl.modules import FlowModel, GenerativeModel


class FPO(GenerativePolicyGradient):
    """PPO whose ratio is ``exp(cfm_old - cfm)``, by how much an action's flow-matching loss has fallen.

    The loss bounds the action's negative log-density up to a constant, and is estimated at times and noises that are
    drawn once for each action. The flow has neither entropy nor KL in closed form: ``entropy_coef`` and the adaptive
    learning rate have no meaning, and are ignored with one warning that names them.

    Args:
        settings: PPO's, positional and by name.
    """

    algo: ClassVar[PolicyGradientAlgorithm] = "fpo"
    model: ClassVar[type[GenerativeModel]] = FlowModel
    has_closed_forms: ClassVar[bool] = False

    def __init__(self, *settings: Any, **named_settings: Any) -> None:
        super().__init__(*settings, **named_settings)
        ignored = []
        if self.schedule == "adaptive":
            self.schedule = "fixed"
            ignored.append("schedule: adaptive")
        if self.entropy_coef != 0.0:
            self.entropy_coef = 0.0
            ignored.append("entropy_coef")
        if ignored:
            warnings.warn(
                f"FPO has neither KL nor entropy in closed form and ignores {' and '.join(ignored)}; the learning rate "
                f"stays {self.learning_rate}.",
                stacklevel=2,
            )
