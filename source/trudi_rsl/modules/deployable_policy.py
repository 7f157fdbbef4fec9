# SPDX-License-Identifier: BSD-3-Clause
"""What every policy without memory offers, whatever trains it: RSL-RL's model interface, and a form to deploy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from trudi_rsl.modules.inference_policy import InferencePolicy
from trudi_rsl.modules.observations import ObservationEncoder


class DeployablePolicy(nn.Module, ABC):
    """A policy that acts deterministically, from a network without memory."""

    is_recurrent = False
    actor_obs: ObservationEncoder
    """The observation groups that it sees, and their normaliser."""

    @abstractmethod
    def deterministic_actions(self, actor_obs: Tensor, score_scale: float = 1.0, start: Tensor | None = None) -> Tensor:
        """Return the simulator actions ``[B, A]`` of the deterministic policy.

        Args:
            actor_obs: Normalised observations ``[B, O]``.
            score_scale: Score scale ``c`` of a diffusion policy's ODE, above 0; other policies have 1 only.
            start: Initial latents ``[B, A]`` where actions come out of a chain; None is zeros.

        Raises:
            ValueError: If an option is out of range.
        """

    @abstractmethod
    def deployable(self, score_scale: float = 1.0, seed: int | None = None) -> InferencePolicy:
        """Freeze the current policy; later training does not reach the copy.

        Args:
            score_scale: As in :meth:`deterministic_actions`.
            seed: Seed of a chain's fixed start; None starts at zeros. Policies without a chain have None only.

        Raises:
            ValueError: If an option is out of range.
        """

    @abstractmethod
    def describe(self, score_scale: float = 1.0, seed: int | None = None) -> dict[str, Any]:
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


def describe_chain(num_steps: int, score_scale: float, seed: int | None) -> dict[str, Any]:
    """Return metadata of a chain of ``num_steps`` from a fixed start."""
    return {
        "num_denoise_steps": num_steps,
        "score_scale": score_scale,
        "initial_latent": describe_start(seed),
    }


def describe_start(seed: int | None) -> str:
    """Return what a chain's fixed start is."""
    return "zeros" if seed is None else f"normal, seed {seed}"


def refuse_ode_options(score_scale: float, start: object) -> None:
    """Refuse options of a chain.

    Raises:
        ValueError: If one is given.
    """
    if score_scale != 1.0 or start is not None:
        raise ValueError(
            "A Gaussian policy acts by its mean, which has no score scale and no initial latent. Leave both at their "
            f"defaults; got score_scale={score_scale} and {'no' if start is None else 'an'} initial latent."
        )
