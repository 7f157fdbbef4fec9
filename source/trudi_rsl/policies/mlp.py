# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's own MLP model, which PPO and SPO train, as a policy to deploy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from trudi_rsl.policies.deployable import (
    WHOLE_CHAIN,
    ChainOptions,
    DeployablePolicy,
    MeanInferencePolicy,
    refuse_chain_options,
)
from trudi_rsl.policies.observations import ObservationEncoder

if TYPE_CHECKING:
    from rsl_rl.models import MLPModel


class MLPPolicy(DeployablePolicy):
    """The deterministic output of an RSL-RL model: a Gaussian's mean, in the simulator's units and without bounds.

    Args:
        model: The model, of which parameters and normaliser are shared.
    """

    def __init__(self, model: MLPModel) -> None:
        super().__init__()
        self.actor_obs = ObservationEncoder(model.obs_groups, model.obs_dim, normalize=False)
        self.actor_obs.normalizer = model.obs_normalizer
        output = nn.Identity() if model.distribution is None else model.distribution.as_deterministic_output_module()
        self.network = nn.Sequential(model.mlp, output)

    def deterministic_actions(
        self, actor_obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None
    ) -> Tensor:
        """Return the mean ``[B, A]``; see :class:`DeployablePolicy`."""
        refuse_chain_options(options, start)
        return self.network(actor_obs)

    def deployable(self, options: ChainOptions = WHOLE_CHAIN) -> MeanInferencePolicy:
        """Freeze the current policy's mean; see :class:`DeployablePolicy`."""
        refuse_chain_options(options)
        return MeanInferencePolicy(self.actor_obs, self.network)

    def describe(self, options: ChainOptions = WHOLE_CHAIN) -> dict[str, Any]:
        """Return no metadata: there are no bounds and no chain."""
        return {}
