# SPDX-License-Identifier: BSD-3-Clause
"""One configuration factory per task and algorithm: Isaac Lab resolves ``...isaaclab.agents:<task>@<algo>`` to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from trudi_rsl.hosts.isaaclab.registration import FROM_PPO, FROM_TRUDI, PPO_KEY, TRUDI_KEY

if TYPE_CHECKING:
    from trudi_rsl.checkpoints.format import PolicyGradientAlgorithm
    from trudi_rsl.settings import LearnerAlgorithm


def __getattr__(name: str) -> Callable[[], Any]:
    """Return a function without arguments that makes an algorithm's configuration from another one of the task.

    Args:
        name: A registered Gymnasium id, ``@``, and the algorithm as ``--algo`` calls it.

    Raises:
        AttributeError: If no task of that name has a configuration to make it from.
    """
    import gymnasium

    task, _, algo = name.rpartition("@")
    source: dict[str, str] = {**dict.fromkeys(FROM_PPO, PPO_KEY), **dict.fromkeys(FROM_TRUDI, TRUDI_KEY)}
    spec = gymnasium.registry.get(task)
    if spec is None or source.get(algo) not in spec.kwargs:
        raise AttributeError(
            f"module {__name__!r} has no attribute {name!r}: no such task with an RSL-RL configuration"
        )

    def agent_cfg() -> Any:
        from isaaclab_tasks.utils.parse_cfg import (  # pyright: ignore[reportMissingImports]
            load_cfg_from_registry,
        )

        from trudi_rsl.hosts.isaaclab.conversion import relative_of_ppo, sibling_of_trudi, trudi_from_ppo

        given = load_cfg_from_registry(task, source[algo])
        if algo == "trudi":
            return trudi_from_ppo(task, given)
        if algo in FROM_TRUDI:
            return sibling_of_trudi(given, cast("LearnerAlgorithm", algo))
        return relative_of_ppo(task, given, cast("PolicyGradientAlgorithm", algo))

    return agent_cfg
