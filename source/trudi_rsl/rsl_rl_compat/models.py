# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's models and the classes that its versions keep in different places."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import rsl_rl.modules
from torch import nn

from trudi_rsl.errors import ConfigError, one_line
from trudi_rsl.model_sections import ENCODER_KEYS
from trudi_rsl.rsl_rl_compat.version import INSTALLED, POLICY_STYLE, PPO_MODELS

if POLICY_STYLE:
    from rsl_rl.networks import EmpiricalNormalization  # pyright: ignore[reportMissingImports]
else:
    from rsl_rl.modules import EmpiricalNormalization

try:
    from rsl_rl.utils import resolve_callable
except ImportError:  # before 3.3, which resolve ``module:name`` alone
    from rsl_rl.utils import string_to_callable as resolve_callable  # pyright: ignore[reportAttributeAccessIssue]

MLPModel: Any = None
"""PPO's model, None before RSL-RL 5."""
if PPO_MODELS:
    from rsl_rl.models import MLPModel

ENCODERS: dict[str, Any] = {}
"""RSL-RL's models that encode observations by name, none before RSL-RL 4."""
if not POLICY_STYLE:
    import rsl_rl.models

    ENCODERS |= {name: vars(rsl_rl.models)[name] for name in ENCODER_KEYS}

DISTRIBUTIONS: dict[str, Any] = {
    name: vars(rsl_rl.modules)[name]
    for name in ("GaussianDistribution", "HeteroscedasticGaussianDistribution", "BetaDistribution")
    if name in vars(rsl_rl.modules)
}
"""Output distributions of :data:`MLPModel` by name, as far as the installed version has them."""

__all__ = [
    "DISTRIBUTIONS",
    "ENCODERS",
    "EmpiricalNormalization",
    "MLPModel",
    "check_encoder",
    "encoder_class",
    "fresh_hidden_states",
    "is_cnn_subclass",
    "policy_of",
    "resolve_callable",
]

HIDDEN_STATES = ("hidden_state", "hidden_states")
"""Attributes of recurrent networks that hold their memory: in RSL-RL 4 and newer, and in 3."""


def check_encoder(name: str) -> None:
    """Raise a ConfigError if the installed RSL-RL has no models that a setting of this name could be, as version 3."""
    if not ENCODERS:
        raise ConfigError(f"algorithm.{name} needs rsl-rl-lib 4 or newer; installed is {INSTALLED}.")


def encoder_class(name: Any) -> Any:
    """Return RSL-RL's model of this name, or a subclass of its ``CNNModel``, given as itself or as ``module:name``.

    Raises:
        ConfigError: If there is no such class, or it is none of these.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    try:
        cls: Any = name if isinstance(name, type) else resolve_callable(name)
    except Exception as error:  # a project's module may raise anything
        raise ConfigError(f"The model {name!r} cannot be imported: {one_line(error)}") from error
    if "CNNModel" not in ENCODERS or not (isinstance(cls, type) and issubclass(cls, ENCODERS["CNNModel"])):
        raise ConfigError(f"{name!r} is no subclass of RSL-RL's CNNModel.")
    return cls


def is_cnn_subclass(name: Any) -> bool:
    """Return whether a class, given as itself or as text, can be imported and derives from RSL-RL's ``CNNModel``."""
    try:
        return issubclass(encoder_class(name), ENCODERS["CNNModel"])
    except (ConfigError, KeyError):
        return False


def policy_of(algorithm: Any) -> nn.Module:
    """Return the policy of an algorithm of this package or of RSL-RL."""
    return algorithm.policy if POLICY_STYLE else algorithm.get_policy()


@contextlib.contextmanager
def fresh_hidden_states(model: nn.Module) -> Iterator[None]:
    """Clear the hidden states of a model, if it is recurrent, for the block and restore them afterwards."""
    places = [(module, name) for module in model.modules() for name in HIDDEN_STATES if hasattr(module, name)]
    kept = [(module, name, getattr(module, name)) for module, name in places]
    for module, name in places:
        setattr(module, name, None)
    try:
        yield
    finally:
        for module, name, state in kept:
            setattr(module, name, state)
