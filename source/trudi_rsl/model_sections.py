# SPDX-License-Identifier: BSD-3-Clause
"""The sections of RSL-RL's models that encode observations, checked before a simulator starts.

A section is that of PPO's ``actor`` or ``critic`` without the part behind the encoder (``hidden_dims``, ``activation``,
``distribution_cfg``), in whose place TruDi's own networks are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.plain_values import is_count, with_lists

PPO_MODEL_KEYS = {
    "CNNModel": ("cnn_cfg",),
    "RNNModel": ("rnn_type", "rnn_hidden_dim", "rnn_num_layers"),
}
"""Keys that a section of PPO may have beyond those of an MLPModel, by RSL-RL's models."""

ENCODER_KEYS = {model: (*keys, "obs_normalization") for model, keys in PPO_MODEL_KEYS.items()}
"""Names of RSL-RL's models that encode observations, and the keys that their sections may have."""

RNN_TYPES = ("lstm", "gru")
"""Values of ``rnn_type``; RSL-RL takes any other for an LSTM."""

MOST_RNN_LAYERS = 16
"""Largest ``rnn_num_layers``; a file with millions of layers would be built before its weights are compared."""

HOST_MODELS = frozenset({"mjlab.rl.spatial_softmax:SpatialSoftmaxCNNModel"})
"""Subclasses of ``CNNModel`` that hosts bring along, which may be imported because a file names them."""

CNN_REQUIRED = ("output_channels", "kernel_size")
CNN_OPTIONAL = ("stride", "dilation", "padding", "norm", "activation", "max_pool", "global_pool", "flatten")
"""Keys of a ``cnn_cfg``, those of ``rsl_rl.modules.CNN``."""


def model_for_images(shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return ``class_name`` and ``cnn_cfg`` of a CNNModel for image groups ``(C, H, W)`` by name.

    From 64 pixels on, the convolutions are those of Mnih et al. (2015), for smaller images two or one with less stride.
    """
    return {"class_name": "CNNModel", "cnn_cfg": {name: _cnn_for(min(shape[1:])) for name, shape in shapes.items()}}


def _cnn_for(side: int) -> dict[str, Any]:
    if side >= 64:
        layers = {"output_channels": [32, 64, 64], "kernel_size": [8, 4, 3], "stride": [4, 2, 1]}
    elif side >= 16:
        layers = {"output_channels": [16, 32], "kernel_size": [5, 3], "stride": [2, 2]}
    else:
        layers = {"output_channels": [16], "kernel_size": [min(side, 3)], "stride": [1]}
    return layers | {"activation": "relu"}


def check_ppo_models(agent: Mapping[str, Any]) -> None:
    """Check the model sections of an agent of PPO or a relative, which may have the keys of all models.

    Raises:
        ConfigError: If a section has a key of another model than its own.
    """
    for name in ("actor", "critic"):
        section = agent[name]
        for model, keys in PPO_MODEL_KEYS.items():
            wrong = [key for key in keys if section.get(key) is not None and section["class_name"] != model]
            if wrong:
                raise ConfigError(
                    f"agent.{name}.{wrong[0]} belongs to a {model}: add agent.{name}.class_name={model}, "
                    f"which is {section['class_name']}."
                )


def without_unset(agent: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of an agent whose model sections lack the keys of other models, which are None."""
    others = {key for keys in PPO_MODEL_KEYS.values() for key in keys}
    sections = {
        name: {key: value for key, value in agent[name].items() if value is not None or key not in others}
        for name in ("actor", "critic")
        if isinstance(agent.get(name), Mapping)
    }
    return {**agent, **sections}


def kind_of(class_name: object) -> str | None:
    """Return which of RSL-RL's models a class named in an encoder's section is or derives from, None for no such name.

    A class of another package is named ``module:name`` and can only derive from ``CNNModel``.
    """
    if class_name in ENCODER_KEYS:
        return str(class_name)
    return "CNNModel" if isinstance(class_name, str) and class_name.count(":") == 1 else None


def checked_encoder(name: str, section: object) -> dict[str, Any] | None:
    """Return a copy of the setting ``actor_encoder`` or ``critic_encoder`` as plain values, None for one that is empty.

    Raises:
        ConfigError: If the class is not one that encodes, a key is missing or unknown, or a value impossible.
    """
    if section in (None, {}):
        return None
    if not isinstance(section, Mapping):
        raise ConfigError(f"algorithm.{name} must be a section with class_name, or none; got {section!r}.")
    values: dict[str, Any] = with_lists(section)
    kind = kind_of(values.get("class_name"))
    if kind is None:
        known = f"{', '.join(ENCODER_KEYS)} or 'module:name' of a subclass of CNNModel"
        given = values.get("class_name")
        raise ConfigError(f"algorithm.{name}.class_name must be one of {known}; got {given!r}. None is an MLPModel.")
    _check_names(name, values, ("class_name", *ENCODER_KEYS[kind]))
    if not isinstance(values.get("obs_normalization", False), bool):
        raise ConfigError(f"algorithm.{name}.obs_normalization must be true or false.")
    if kind == "CNNModel":
        _check_cnn(f"{name}.cnn_cfg", values.get("cnn_cfg"), is_own=kind != values["class_name"])
    else:
        _check_rnn(name, values)
    return values


def is_recurrent(section: Mapping[str, Any] | None) -> bool:
    """Return whether a checked section describes an encoder that remembers."""
    return section is not None and section["class_name"] == "RNNModel"


def _check_rnn(name: str, section: Mapping[str, Any]) -> None:
    if (kind := section.get("rnn_type", "lstm")) not in RNN_TYPES:
        raise ConfigError(f"algorithm.{name}.rnn_type must be one of {', '.join(RNN_TYPES)}; got {kind!r}.")
    if not is_count(width := section.get("rnn_hidden_dim", 256)):
        raise ConfigError(f"algorithm.{name}.rnn_hidden_dim must be an integer of at least 1; got {width!r}.")
    if not is_count(layers := section.get("rnn_num_layers", 1)) or layers > MOST_RNN_LAYERS:
        raise ConfigError(f"algorithm.{name}.rnn_num_layers must be 1 to {MOST_RNN_LAYERS}; got {layers!r}.")


def _check_cnn(name: str, section: object, is_own: bool) -> None:
    """Check a ``cnn_cfg``; the names and widths of a subclass's own are its own affair."""
    if not isinstance(section, Mapping) or not section:
        raise ConfigError(f"algorithm.{name} must describe the convolutions; got {section!r}.")
    if all(isinstance(part, Mapping) for part in section.values()):
        for group, part in section.items():
            _check_cnn(f"{name}.{group}", part, is_own)
        return
    if not is_own:
        _check_layers(name, section)
    norms = section.get("norm", "none")
    if "batch" in (norms if isinstance(norms, list) else [norms]):
        raise ConfigError(
            f"algorithm.{name}.norm must not be batch: an action would depend on the other environments, and the trust "
            "region compares the policy in batches of other rows. Use layer or none."
        )
    if section.get("flatten", True) is not True:
        raise ConfigError(f"algorithm.{name}.flatten must be true: networks stand on a vector.")


def _check_layers(name: str, section: Mapping[str, Any]) -> None:
    _check_names(name, section, (*CNN_REQUIRED, *CNN_OPTIONAL))
    if missing := [key for key in CNN_REQUIRED if key not in section]:
        raise ConfigError(f"algorithm.{name} has no {missing[0]!r}, which RSL-RL needs and has no default for.")
    channels = section["output_channels"]
    if not isinstance(channels, list) or not channels or not all(map(is_count, channels)):
        raise ConfigError(f"algorithm.{name}.output_channels must be a list of positive numbers; got {channels!r}.")


def _check_names(name: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in given:
        if key not in known:
            raise ConfigError(f"algorithm.{name} has no setting {key!r}. {nearest(str(key), known)}")
