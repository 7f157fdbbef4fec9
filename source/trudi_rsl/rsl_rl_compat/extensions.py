# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's random network distillation (RND), whose optimiser and loss its versions keep in different places."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.errors import ConfigError
from trudi_rsl.rsl_rl_compat.version import INSTALLED, POLICY_STYLE

RandomNetworkDistillation: Any = None
"""RSL-RL's module, None before version 4."""
if not POLICY_STYLE:
    from rsl_rl.extensions import RandomNetworkDistillation

try:
    from rsl_rl.extensions import Symmetry
except ImportError:
    Symmetry: Any = None

LEARNING_RATE = 1e-3
"""RSL-RL's default for the predictor."""


def check_rnd() -> None:
    """Raise a ConfigError if the installed RSL-RL builds its extensions in the runner, as version 3 does."""
    if POLICY_STYLE:
        raise ConfigError(
            f"algorithm.rnd_cfg needs rsl-rl-lib 4 or newer with this algorithm; installed is {INSTALLED}. Leave it "
            "out, or train with PPO."
        )


def check_symmetry(name: str) -> None:
    """Raise a ConfigError if RSL-RL has symmetry inside of PPO's update alone, which ``name`` replaces."""
    if Symmetry is None:
        raise ConfigError(
            f"algorithm.symmetry_cfg needs rsl-rl-lib 5.1 or newer with {name}; installed is {INSTALLED}."
        )


def build_rnd(
    section: Mapping[str, Any],
    num_states: int,
    obs_groups: Mapping[str, list[str]],
    control_period: float,
    device: torch.device | str,
) -> tuple[Any, torch.optim.Optimizer]:
    """Return RND's module and the optimiser of its predictor. The global random generator is left as it was.

    Args:
        section: A checked ``rnd_cfg``.
        num_states: Size of the observations that it rewards.
        obs_groups: Observation sets, with ``rnd_state``.
        control_period: Seconds per step, by which RSL-RL multiplies ``weight``.
        device: Device of training.
    """
    options = {**section, "weight": section.get("weight", 0.0) * control_period}
    options |= {"num_states": num_states, "obs_groups": dict(obs_groups), "device": device}
    rate = options.pop("learning_rate", LEARNING_RATE)
    if "learning_rate" in inspect.signature(RandomNetworkDistillation).parameters:
        options["learning_rate"] = rate
    # RSL-RL draws the parameters on the CPU
    with torch.random.fork_rng(devices=[]):
        rnd = RandomNetworkDistillation(**options)
    return rnd, getattr(rnd, "optimizer", None) or torch.optim.Adam(rnd.predictor.parameters(), lr=rate)


def rnd_loss(rnd: Any, obs: TensorDict) -> Tensor:
    """Return the predictor's mean squared error at observation groups of batch ``[B]``, a scalar with gradient."""
    if hasattr(rnd, "compute_loss"):
        return rnd.compute_loss(obs)
    with torch.no_grad():
        states = rnd.state_normalizer(rnd.get_rnd_state(obs))
    return torch.nn.functional.mse_loss(rnd.predictor(states), rnd.target(states).detach())
