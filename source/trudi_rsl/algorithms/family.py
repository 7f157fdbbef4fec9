# SPDX-License-Identifier: BSD-3-Clause
"""The algorithms that are one learner with another actor, and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from trudi_rsl.algorithms.config import Actor, TruDiCfg

ALGORITHM_OF_ACTOR: dict[str, Literal["trudi", "reppo"]] = {"diffusion": "trudi", "gaussian": "reppo"}
"""What ``--algo`` calls the algorithm that trains each kind of actor."""


@dataclass
class REPPOCfg(TruDiCfg):
    """Settings of REPPO (arXiv 2507.11019): those of TruDi, with a Gaussian actor and its entropy target."""

    actor: Actor = "gaussian"
    """The policy, a tanh-Gaussian."""
    entropy_target_per_dim: float = -0.5
    """Target of the entropy in nats per action dimension, for unit actions in [-1, 1]; at most ln 2. The paper's."""

    def _check_actor(self) -> None:
        self._require("actor", self.actor in get_args(Actor), f"one of {get_args(Actor)}")
        self._require("actor", self.actor == "gaussian", "gaussian in REPPO; diffusion is TruDi's (--algo trudi)")
        chains = "for a Gaussian, whose KL needs no denoising chains"
        self._require("kl_estimator", self.kl_estimator == "closed_form", f"closed_form {chains}")
        self._require("kl_chains", self.kl_chains == "stored", f"stored {chains}")
        self._require("num_kl_chains", self.num_kl_chains == 1, f"1 {chains}")
        self._require(
            "actor_gradient", self.actor_gradient == "pathwise", "pathwise for a Gaussian, which has no chain"
        )
        self._require("state_encoder_dims", not self.state_encoder_dims, "empty for a Gaussian")


SETTINGS: dict[str, type[TruDiCfg]] = {"trudi": TruDiCfg, "reppo": REPPOCfg}
"""The settings of each algorithm of this package, by what ``--algo`` calls it."""

OF_ACTOR = (
    *("actor", "entropy_target_per_dim", "kl_estimator", "kl_chains", "num_kl_chains", "actor_gradient"),
    *("num_adjoint_steps", "state_encoder_dims"),
)
"""Settings that belong to one kind of actor: a preset's say nothing of the other kind."""


def settings_from_dict(values: Mapping[str, Any]) -> TruDiCfg:
    """Build the configuration of the algorithm that ``values["actor"]`` belongs to, TruDi's where it is absent.

    Args:
        values: An RSL-RL ``algorithm`` section; see :meth:`TruDiCfg.from_dict`.

    Raises:
        ConfigError: If a field does not exist, with the nearest names, or holds an impossible value.
    """
    algo = ALGORITHM_OF_ACTOR.get(values.get("actor", TruDiCfg.actor), "trudi")
    return SETTINGS[algo].from_dict(values)


def reppo_overrides() -> dict[str, Any]:
    """Return what makes a TruDi configuration, such as a task's preset, one of REPPO."""
    values = REPPOCfg().to_dict()
    return {name: values[name] for name in OF_ACTOR}
