# SPDX-License-Identifier: BSD-3-Clause
"""The networks of a PPO configuration as TruDi, REPPO and DIME take them over, and what they cannot, refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trudi_rsl.choices import SHORT_NAMES
from trudi_rsl.errors import ConfigError, setting
from trudi_rsl.extensions import checked_symmetry
from trudi_rsl.model_sections import ENCODER_KEYS, kind_of
from trudi_rsl.rsl_rl_compat.extensions import check_rnd
from trudi_rsl.rsl_rl_compat.models import check_encoder, encoder_class, is_cnn_subclass

MODEL_SECTIONS = ("actor", "critic", "policy")
"""Sections of a PPO configuration that describe its networks; ``policy`` is that of RSL-RL 3."""

_ONE_OF_EACH = "TruDi has one actor and one critic, of which none may be left out unasked. Train this task with PPO."

FEED_FORWARD = ("MLPModel", "ActorCritic", "DiffusionActorCritic")
"""Classes of networks on vectors, whose widths may be taken over: RSL-RL's, and this package's own for RSL-RL 3."""


def encoder_settings(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings ``actor_encoder`` and ``critic_encoder`` of a PPO configuration, those that it has.

    Args:
        cfg: RSL-RL's runner configuration as plain values, which :func:`refuse_unsupported` has accepted.
    """
    settings = {}
    for name in ("actor", "critic"):
        section = cfg.get(name)
        if isinstance(section, Mapping) and (encoder := _encoder_name(section.get("class_name"))) is not None:
            keys = ENCODER_KEYS[str(kind_of(encoder))]
            own = {key: section[key] for key in keys if section.get(key) is not None}
            settings[f"{name}_encoder"] = {"class_name": encoder, **own}
    return settings


def refuse_unsupported(cfg: Mapping[str, Any]) -> None:
    """Refuse a PPO configuration with something that would be lost if TruDi took its place.

    Args:
        cfg: RSL-RL's runner configuration as plain values; settings may be absent or None.

    Raises:
        ConfigError: If it is for distillation, its networks are of a project's own class, it has networks beside one
            actor and one critic, its symmetry is incomplete, or it has RND, a recurrent network or one for images and
            RSL-RL is too old for that.
    """
    if _class_name(cfg.get("class_name")) == "DistillationRunner":
        raise ConfigError("The configuration is for distillation, which TruDi cannot replace.")
    for name in MODEL_SECTIONS:
        section = cfg.get(name)
        if isinstance(section, Mapping):
            _refuse_network(name, section)
        elif isinstance(section, (list, tuple)) and section:
            raise ConfigError(f"The configuration has {len(section)} {name} networks. {_ONE_OF_EACH}")
    for name, section in cfg.items():
        is_network = isinstance(section, Mapping) and "hidden_dims" in section
        if name not in MODEL_SECTIONS and is_network:
            raise ConfigError(f"The {name} section describes one more network. {_ONE_OF_EACH}")
    algorithm = cfg.get("algorithm") or {}
    checked_symmetry(algorithm.get("symmetry_cfg"))
    if algorithm.get("rnd_cfg"):
        check_rnd()


def refuse_foreign_algorithm(section: Mapping[str, Any], name: str) -> None:
    """Refuse an ``algorithm`` section of anything but RSL-RL's PPO and this package's algorithms.

    Args:
        section: The section as plain values.
        name: Name of the algorithm that would take its place.

    Raises:
        ConfigError: If it names an algorithm of a project's own, such as one with several critics, or distillation.
    """
    given = section.get("class_name")
    kind = _class_name(given)
    module = given.__module__ if isinstance(given, type) else str(given or "").rpartition(":")[0] or str(given or "")
    package = module.partition(".")[0]
    if kind == "Distillation":
        raise ConfigError(f"The configuration is for distillation, which {name} cannot replace.")
    if package not in ("", "rsl_rl", "trudi_rsl", *SHORT_NAMES):
        raise ConfigError(
            f"The algorithm section describes a {kind} of {package}, and {name} can take the place of RSL-RL's PPO "
            f"alone: what {kind} does beside it, such as more critics or losses, would be lost. Train this task with "
            f"its own algorithm, or set {setting('algorithm.class_name', repr('PPO'))} if it may be left out."
        )


def _refuse_network(name: str, section: Mapping[str, Any]) -> None:
    kind, place = _class_name(section.get("class_name")), setting(f"{name}.class_name", "'MLPModel'")
    is_rsl_rl = _is_rsl_rls(section.get("class_name"))
    if kind in ENCODER_KEYS and is_rsl_rl and name != "policy":
        check_encoder(f"{name}_encoder")
        return
    if not is_rsl_rl and name != "policy" and is_cnn_subclass(section["class_name"]):
        return
    if kind == "ActorCriticRecurrent" or section.get("rnn_type") or (kind == "RNNModel" and is_rsl_rl):
        raise ConfigError(
            f"The {name} section describes a recurrent network ({kind or section['rnn_type']}), which TruDi takes over "
            f"from an actor or critic section with {setting(f'{name}.class_name', repr('RNNModel'))}, in rsl-rl-lib 4 "
            "and newer."
        )
    if section.get("cnn_cfg") or (kind in ENCODER_KEYS and is_rsl_rl) or kind == "ActorCriticCNN":
        raise ConfigError(
            f"The {name} section describes a network for images ({kind or 'cnn_cfg'}), which TruDi takes over from an "
            f"actor or critic section with {setting(f'{name}.class_name', repr('CNNModel'))}, of rsl-rl-lib 4 or newer."
        )
    if kind and kind not in FEED_FORWARD:
        raise ConfigError(
            f"The {name} section describes a {kind}, and TruDi takes over RSL-RL's MLPModel, RNNModel, CNNModel and "
            f"subclasses of the latter. Train this task with PPO, or set {place} if its sizes may be taken over."
        )


def _class_name(value: object) -> str:
    """Return the name of a class, given as itself or as text with or without its module; empty for None."""
    if isinstance(value, type):
        return value.__name__
    # RSL-RL 3 evaluates names, as in DiffusionActorCritic.for_env(self.env)
    text = str(value or "").rpartition(":")[2].partition(".for_env(")[0]
    return text.rpartition(".")[2]


def _encoder_name(value: object) -> str | None:
    """Return the name by which an encoder's section names a class that can be one, None for any other class."""
    kind = _class_name(value)
    if _is_rsl_rls(value):
        return kind if kind in ENCODER_KEYS else None
    if kind in FEED_FORWARD or not is_cnn_subclass(value):
        return None
    cls = encoder_class(value)
    return f"{cls.__module__}:{cls.__qualname__}"


def _is_rsl_rls(value: object) -> bool:
    return _module(value).partition(".")[0] in ("", "rsl_rl")


def _module(value: object) -> str:
    """Return the module of a class, given as itself or as text; empty for text without one."""
    if isinstance(value, type):
        return value.__module__
    text = str(value or "").partition(".for_env(")[0]
    return text.rpartition(":")[0] or text.rpartition(".")[0]
