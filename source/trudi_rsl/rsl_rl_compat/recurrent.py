# SPDX-License-Identifier: BSD-3-Clause
"""What recurrent models of RSL-RL remember of the episodes under way, put aside while they act elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

HIDDEN_STATES = ("hidden_state", "hidden_states")
"""Attributes of recurrent networks that hold it: of RSL-RL 4 and newer, and of 3."""


@contextlib.contextmanager
def fresh_hidden_states(model: nn.Module) -> Iterator[None]:
    """Let a model remember nothing as the block begins, and afterwards what it remembered before.

    Args:
        model: Of any kind; one that is not recurrent stays as it is.
    """
    kept = [
        (module, name, getattr(module, name))
        for module in model.modules()
        for name in HIDDEN_STATES
        if hasattr(module, name)
    ]
    for module, name, _ in kept:
        setattr(module, name, None)
    try:
        yield
    finally:
        for module, name, state in kept:
            setattr(module, name, state)
