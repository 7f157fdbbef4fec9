# SPDX-License-Identifier: BSD-3-Clause
"""From a setting to the encoder of actor or critic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensordict import TensorDict

from trudi_rsl.errors import ConfigError
from trudi_rsl.model_sections import kind_of
from trudi_rsl.policies.encoders import ImageEncoder
from trudi_rsl.policies.observations import ObservationEncoder
from trudi_rsl.policies.recurrent import RecurrentEncoder
from trudi_rsl.rsl_rl_compat.models import check_encoder

CLASSES: dict[str, Any] = {"CNNModel": ImageEncoder, "RNNModel": RecurrentEncoder}
"""Encoders by the name of RSL-RL's model, or of the one that a class derives from."""


def make_encoder(
    obs: TensorDict, groups: Sequence[str], section: Mapping[str, Any] | None, name: str, normalize: bool
) -> ObservationEncoder:
    """Return the encoder of observation groups that a setting describes; None is one without parameters.

    Args:
        obs: Example observations.
        groups: Names of the groups.
        section: The setting.
        name: Its name, ``actor_encoder`` or ``critic_encoder``.
        normalize: Whether to normalise vectors, unless the section says it.

    Raises:
        ConfigError: If the observations do not fit the section, or the installed RSL-RL has no such models.
    """
    if section is None:
        return ObservationEncoder(groups, sum(obs[group].shape[-1] for group in groups), normalize)
    check_encoder(name)
    try:
        return CLASSES[str(kind_of(section["class_name"]))](obs, groups, section, normalize)
    except (RuntimeError, TypeError, ValueError) as error:
        shapes = ", ".join(f"{group} {tuple(obs[group].shape[1:])}" for group in groups)
        raise ConfigError(f"algorithm.{name} does not fit the observation groups {shapes}: {error}") from error
