# SPDX-License-Identifier: BSD-3-Clause
"""The algorithms that are one learner with another actor or constraint, and their settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from trudi_rsl.algorithms.config import Actor, Constraint, TruDiCfg

LearnerAlgorithm = Literal["trudi", "reppo", "dime"]
"""What ``--algo`` calls the algorithms of TruDi's learner."""

OF_ACTOR = (
    *("actor", "entropy_target_per_dim", "kl_estimator", "kl_chains", "num_kl_chains", "actor_gradient"),
    *("num_adjoint_steps", "state_encoder_dims"),
)
"""Settings that belong to one kind of actor: a preset's say nothing of the other kind."""

OF_TRUST_REGION = ("kl_bound", "kl_estimator", "kl_chains", "num_kl_chains", "init_lambda")
"""Settings that mean nothing without a trust region."""


@dataclass
class REPPOCfg(TruDiCfg):
    """Settings of REPPO (arXiv 2507.11019): those of TruDi, with a Gaussian actor and its entropy target."""

    actor: Actor = "gaussian"
    """The policy, a tanh-Gaussian."""
    entropy_target_per_dim: float = -0.5
    """Target of the entropy in nats per action dimension, for unit actions in [-1, 1]; at most ln 2. The paper's."""

    def _check_kind(self) -> None:
        self._require("actor", self.actor in get_args(Actor), f"one of {get_args(Actor)}")
        self._require("constraint", self.constraint in get_args(Constraint), f"one of {get_args(Constraint)}")
        self._require("actor", self.actor == "gaussian", "gaussian in REPPO; diffusion is TruDi's (--algo trudi)")
        self._require("constraint", self.constraint == "path_kl", "path_kl in REPPO, which is a trust region method")
        chains = "for a Gaussian, whose KL needs no denoising chains"
        self._require("kl_estimator", self.kl_estimator == "closed_form", f"closed_form {chains}")
        self._require("kl_chains", self.kl_chains == "stored", f"stored {chains}")
        self._require("num_kl_chains", self.num_kl_chains == 1, f"1 {chains}")
        self._require(
            "actor_gradient", self.actor_gradient == "pathwise", "pathwise for a Gaussian, which has no chain"
        )
        self._require("state_encoder_dims", not self.state_encoder_dims, "empty for a Gaussian")


@dataclass
class DIMECfg(TruDiCfg):
    """Settings of on-policy DIME (after arXiv 2502.02316): those of TruDi, without the trust region."""

    constraint: Constraint = "none"
    """Nothing keeps the policy near the one that collected the rollout."""

    def _check_kind(self) -> None:
        self._require("constraint", self.constraint in get_args(Constraint), f"one of {get_args(Constraint)}")
        self._require("actor", self.actor == "diffusion", "diffusion in DIME; a Gaussian is REPPO's (--algo reppo)")
        self._require("constraint", self.constraint == "none", "none in DIME; path_kl is TruDi's (--algo trudi)")
        for name in OF_TRUST_REGION:
            default = getattr(TruDiCfg, name)
            self._require(name, getattr(self, name) == default, f"left at {default} in DIME, without a trust region")
        self._require(
            "actor_gradient", self.actor_gradient == "pathwise", "pathwise in DIME: adjoint matching is TruDi's"
        )


SETTINGS: dict[LearnerAlgorithm, type[TruDiCfg]] = {"trudi": TruDiCfg, "reppo": REPPOCfg, "dime": DIMECfg}
"""The settings of each algorithm of TruDi's learner."""

_OWN: dict[LearnerAlgorithm, tuple[str, ...]] = {
    "trudi": (),
    "reppo": OF_ACTOR,
    "dime": ("constraint", *OF_TRUST_REGION, "actor_gradient", "num_adjoint_steps"),
}
"""Settings that an algorithm does not take over from TruDi's presets."""


def algorithm_of_settings(values: Mapping[str, Any]) -> LearnerAlgorithm:
    """Return which algorithm an actor and a constraint make; for a pair that no algorithm has, one that refuses it.

    Args:
        values: Settings. Checkpoints from before there was another actor or constraint do not name them; TruDi's count.
    """
    kind = (values.get("actor", TruDiCfg.actor), values.get("constraint", TruDiCfg.constraint))
    for name, cfg in SETTINGS.items():
        if kind == (cfg.actor, cfg.constraint):
            return name
    return "reppo" if kind[0] == REPPOCfg.actor else "trudi"


def settings_from_dict(values: Mapping[str, Any]) -> TruDiCfg:
    """Build the configuration of the algorithm that ``values`` belong to (:func:`algorithm_of_settings`).

    Args:
        values: An RSL-RL ``algorithm`` section; see :meth:`TruDiCfg.from_dict`.

    Raises:
        ConfigError: If a field does not exist, with the nearest names, or holds an impossible value.
    """
    return SETTINGS[algorithm_of_settings(values)].from_dict(values)


def family_overrides(algo: LearnerAlgorithm) -> dict[str, Any]:
    """Return what makes a TruDi configuration, such as a task's preset, one of another algorithm of its learner."""
    values = SETTINGS[algo]().to_dict()
    return {name: values[name] for name in _OWN[algo]}
