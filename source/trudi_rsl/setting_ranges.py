# SPDX-License-Identifier: BSD-3-Clause
"""Allowed values of settings: of TruDi, REPPO and DIME, and of PPO and its relatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from trudi_rsl.errors import ConfigError, setting

MAX_ENTROPY_PER_DIM = math.log(2.0)
"""Entropy of the uniform distribution on [-1, 1], the largest that any distribution on it can have."""

Check = tuple[Callable[[Any], bool], str]
"""Whether a value is allowed, and what is."""


def _integer(lowest: int) -> Check:
    return (lambda value: type(value) is int and value >= lowest), f"an integer of at least {lowest}"


def _are_widths(values: object) -> bool:
    if not isinstance(values, Sequence) or isinstance(values, str):
        return False
    return all(isinstance(v, int) and v > 0 for v in values)


_ABOVE_0: Check = (lambda value: value > 0, "above 0")
ALLOWED: dict[str, Check] = {
    **dict.fromkeys(("num_learning_epochs", "num_mini_batches", "num_denoise_steps", "num_kl_chains"), _integer(1)),
    **dict.fromkeys(("critic_hidden_dim", "max_skipped_updates"), _integer(1)),
    "num_bins": _integer(2),
    "num_adjoint_steps": _integer(0),
    "sequence_length": (lambda value: value is None or (type(value) is int and value >= 1), "an integer of at least 1"),
    **dict.fromkeys(("learning_rate", "max_grad_norm", "init_alpha", "init_lambda", "kl_bound"), _ABOVE_0),
    **dict.fromkeys(("prior_std", "init_friction"), _ABOVE_0),
    "gamma": (lambda value: 0 <= value < 1, "in [0, 1)"),
    "lam": (lambda value: 0 <= value <= 1, "in [0, 1]"),
    "aux_loss_coef": (lambda value: value >= 0, "at least 0"),
    "entropy_target_per_dim": (
        lambda value: value <= MAX_ENTROPY_PER_DIM,
        f"at most ln 2 = {MAX_ENTROPY_PER_DIM:.4f}: no distribution on [-1, 1] has more entropy, and the temperature "
        "would grow without bound",
    ),
    "actor_hidden_dims": (lambda value: _are_widths(value) and len(value) > 0, "a non-empty list of positive widths"),
    "state_encoder_dims": (_are_widths, "a list of positive widths, empty for none"),
}
"""Field to whether a value is allowed, and which are."""

PPO_ALLOWED: dict[str, Check] = {
    **{
        name: ALLOWED[name]
        for name in ("num_learning_epochs", "num_mini_batches", "learning_rate", "max_grad_norm", "lam")
    },
    **dict.fromkeys(("clip_param", "desired_kl"), _ABOVE_0),
    "gamma": (lambda value: 0 <= value <= 1, "in [0, 1]"),
    "gamma_denoise": (lambda value: 0 < value <= 1, "in (0, 1]"),
    "value_loss_coef": (lambda value: value >= 0, "at least 0"),
    "schedule": (lambda value: value in ("adaptive", "fixed"), "adaptive or fixed"),
    # RSL-RL replaces -1 by the size of the input
    "hidden_dims": (
        lambda value: (
            _are_widths([abs(v) if v == -1 else v for v in value] if isinstance(value, list) else value)
            and len(value) > 0
        ),
        "a non-empty list of positive integers, as [256,256]",
    ),
}
"""The same of PPO, SPO, DPPO and FPO, of which RSL-RL checks none."""


def sequence_length(length: int | None, num_mini_batches: int, num_steps: int, num_envs: int) -> int:
    """Return the steps of the sequences through which recurrent encoders learn.

    Args:
        length: The setting ``sequence_length``; None is the whole rollout.
        num_mini_batches: The setting.
        num_steps: Steps of a rollout.
        num_envs: Number of environments.

    Raises:
        ConfigError: If sequences of this length do not make up the rollout, or are fewer than the minibatches.
    """
    length = length or num_steps
    if num_steps % length:
        raise ConfigError(
            f"algorithm.sequence_length must divide num_steps_per_env ({num_steps}), which is cut into sequences; got "
            f"{length}."
        )
    if num_mini_batches > (sequences := num_envs * num_steps // length):
        raise ConfigError(
            f"algorithm.num_mini_batches must be at most {sequences} with a recurrent encoder, got {num_mini_batches}: "
            f"a minibatch consists of whole sequences, and each of {num_envs} environments has {num_steps // length}. "
            f"Lower it, raise num_envs, or lower {setting('algorithm.sequence_length')}."
        )
    return length
