# SPDX-License-Identifier: BSD-3-Clause
"""DPPO (arXiv 2409.00588) and FPO (arXiv 2507.21053): a generative actor in place of PPO's Gaussian."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms.policy_gradient.policy_gradient import PolicyGradient, clipped_surrogate
from trudi_rsl.checkpoints.format import PolicyGradientAlgorithm
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.policies import DenoisingModel, FlowModel, GenerativeModel
from trudi_rsl.rsl_rl_compat.models import resolve_callable

if TYPE_CHECKING:
    from rsl_rl.storage import RolloutStorage


class GenerativePolicyGradient(PolicyGradient):
    """A policy gradient whose actor is a :class:`~trudi_rsl.policies.GenerativeModel`."""

    model: ClassVar[type[GenerativeModel]]
    """Class of the actor."""

    @classmethod
    def construct_algorithm(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, obs: TensorDict, env: VecEnv, cfg: dict[str, Any], device: str
    ) -> Self:
        """Build the algorithm; an ``actor`` section of PPO is taken for one of this algorithm's actor.

        Raises:
            ConfigError: As in :meth:`PolicyGradient.construct_algorithm`, or if the actor is of another class or has an
                unknown or impossible setting.
        """
        cls.check_version()
        cfg["actor"] = cls.actor_section(cfg["actor"])
        if cfg["algorithm"].pop("share_cnn_encoders", None):
            raise ConfigError(f"{cls.__name__} does not support algorithm.share_cnn_encoders: its actor takes vectors.")
        return super().construct_algorithm(obs, env, cfg, device)

    @classmethod
    def actor_section(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the ``actor`` section of a runner configuration for this algorithm's actor.

        Of PPO's ``MLPModel`` the widths, the activation and the normalisation stay, and its Gaussian's initial
        deviation becomes that of the noise that actions start from.

        Raises:
            ConfigError: If the section is of another model, or names an unknown setting.
        """
        section = {name: value for name, value in given.items() if value is not None}
        model: Any = resolve_callable(section["class_name"])
        if model.__name__ == "MLPModel":
            section["class_name"] = f"trudi_rsl.policies:{cls.model.__name__}"
            if (distribution := section.pop("distribution_cfg", None)) is not None:
                section.setdefault("prior_std", distribution.get("init_std", 1.0))
                warnings.warn(
                    f"{cls.__name__}'s actor is a {cls.model.__name__} and has no use for actor.distribution_cfg, but "
                    f"for its init_std: prior_std={section['prior_std']}.",
                    stacklevel=2,
                )
        elif not issubclass(model, cls.model):
            raise ConfigError(
                f"{cls.__name__}'s actor is a {cls.model.__name__}; agent.actor.class_name is {model.__name__}. Leave "
                "it out or write MLPModel."
            )
        known = inspect.signature(cls.model).parameters
        for name in section:
            if name not in known and name != "class_name":
                raise ConfigError(f"{cls.__name__} has no setting 'agent.actor.{name}'. {nearest(name, known)}")
        return section

    def log_ratios(self, batch: RolloutStorage.Batch) -> Tensor:
        """Return the actor's own log-ratios; see :class:`PolicyGradient`."""
        actor = cast(GenerativeModel, self.actor)
        return actor.log_ratios(
            cast(TensorDict, batch.observations),
            cast(Tensor, batch.actions),
            cast("Sequence[Tensor]", batch.old_distribution_params),
        )


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
