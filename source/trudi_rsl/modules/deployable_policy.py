# SPDX-License-Identifier: BSD-3-Clause
"""What every policy without memory offers, whatever trains it: RSL-RL's model interface, and a form to deploy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from trudi_rsl.modules.chain_options import WHOLE_CHAIN, ChainOptions
from trudi_rsl.modules.inference_policy import InferencePolicy
from trudi_rsl.modules.observations import ObservationEncoder


class DeployablePolicy(nn.Module, ABC):
    """A policy that acts deterministically, from a network without memory."""

    is_recurrent = False
    actor_obs: ObservationEncoder
    """The observation groups that it sees, and their normaliser."""

    @abstractmethod
    def deterministic_actions(
        self, actor_obs: Tensor, options: ChainOptions = WHOLE_CHAIN, start: Tensor | None = None
    ) -> Tensor:
        """Return the simulator actions ``[B, A]`` of the deterministic policy.

        Args:
            actor_obs: Normalised observations ``[B, O]``.
            options: How a chain runs; policies without one have the defaults only.
            start: Initial latents ``[B, A]`` of a chain; None is the fixed one of the options.

        Raises:
            ValueError: If the policy cannot act so.
        """

    @abstractmethod
    def deployable(self, options: ChainOptions = WHOLE_CHAIN) -> InferencePolicy:
        """Freeze the current policy; later training does not reach the copy.

        Args:
            options: As in :meth:`deterministic_actions`.

        Raises:
            ValueError: If the policy cannot act so.
        """

    @abstractmethod
    def describe(self, options: ChainOptions = WHOLE_CHAIN) -> dict[str, Any]:
        """Return metadata of what :meth:`deployable` returns for these options."""

    # -- RSL-RL's model interface ---------------------------------------------------------------------------------

    def reset(self, dones: Tensor | None = None, hidden_state: object = None) -> None:
        """Do nothing: the policy has no memory."""

    def get_hidden_state(self) -> None:
        """Return None: the policy has no memory."""

    def as_jit(self) -> InferencePolicy:
        """Return the deployable policy, ``obs [1, O] -> actions [1, A]``, ready for ``torch.jit.script``."""
        return self.deployable()

    def as_onnx(self, verbose: bool = False) -> InferencePolicy:
        """Return the deployable policy, with the input and output names that RSL-RL's ONNX exporter reads."""
        return self.deployable()
