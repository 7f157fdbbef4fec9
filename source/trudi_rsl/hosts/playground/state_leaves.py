# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Which leaves of a state have to be kept between two steps.

MuJoCo's data has about 90 arrays, nearly all of which a step computes from positions and velocities: of CheetahRun's
8 kB per environment, 0.4 kB are needed. What no step reads is not written, passed between JAX and Python, copied for
prepared episodes or stored in checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax.interpreters.partial_eval import dce_jaxpr

READ_BY_HOST = ("qpos", "qvel", "ctrl", "mocap_pos", "mocap_quat", "xfrc_applied")
"""Fields of MuJoCo's data that renderings and descriptions of actions read."""


def kept_leaves(step: Callable[[Any, jax.Array], Any], state: Any, action: jax.ShapeDtypeStruct) -> tuple[bool, ...]:
    """Return for each leaf of a state whether it is kept: the host reads it, or it influences a later step's results.

    Leaves without entries are not kept.

    Args:
        step: Playground's step of one environment, ``step(state, action) -> state``.
        state: Shapes of its ``State``.
        action: Shape of an action ``[A]``.
    """
    leaves, structure = jax.tree.flatten(state)
    position = jax.tree.unflatten(structure, range(len(leaves)))
    by_host = [getattr(position.data, name) for name in READ_BY_HOST if hasattr(position.data, name)]
    kept = set(jax.tree.leaves((position.obs, by_host)))
    results = set(jax.tree.leaves((position.reward, position.done, position.metrics)))

    def step_leaves(before: list[Any], action: Any) -> list[Any]:
        return jax.tree.leaves(step(jax.tree.unflatten(structure, before), action))

    jaxpr = jax.make_jaxpr(step_leaves)(leaves, action).jaxpr
    while True:
        needed = [i in kept or i in results for i in range(len(leaves))]
        _, is_read = dce_jaxpr(jaxpr, needed)
        read = {i for i in range(len(leaves)) if is_read[i]}
        if read <= kept:
            return tuple(i in kept and leaf.size > 0 for i, leaf in enumerate(leaves))
        kept |= read
