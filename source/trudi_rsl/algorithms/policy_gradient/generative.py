# SPDX-License-Identifier: BSD-3-Clause
"""What DPPO and FPO share: their actor replaces PPO's Gaussian and evaluates its own ratio."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms.policy_gradient.policy_gradient import PolicyGradient
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.modules import GenerativeModel
from trudi_rsl.rsl_rl_compat.moved import resolve_callable

if TYPE_CHECKING:
    from rsl_rl.storage import RolloutStorage


class GenerativePolicyGradient(PolicyGradient):
    """A policy gradient whose actor is a :class:`~trudi_rsl.modules.GenerativeModel`."""

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
            section["class_name"] = f"trudi_rsl.modules:{cls.model.__name__}"
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
