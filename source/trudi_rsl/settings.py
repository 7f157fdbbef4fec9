# SPDX-License-Identifier: BSD-3-Clause
"""Settings of TruDi, REPPO and DIME: one dataclass per algorithm, from which every other schema is derived."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from trudi_rsl.acceleration import CompileMode, Precision
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.plain_values import is_finite

Actor = Literal["diffusion", "gaussian"]
Constraint = Literal["path_kl", "none"]
KLEstimator = Literal["closed_form", "mean_only", "log_ratio", "reverse"]
KLChains = Literal["stored", "fresh"]
ActorGradientKind = Literal["pathwise", "adjoint"]

MAX_ENTROPY_PER_DIM = math.log(2.0)
"""Entropy of the uniform distribution on [-1, 1], the largest any action in it can have."""

PPO_ONLY_FIELDS = frozenset(
    {
        "clip_param",
        "desired_kl",
        "entropy_coef",
        "grad_reduce_bucket_mb",
        "normalize_advantage_per_mini_batch",
        "optimizer",
        "rnd_cfg",
        "schedule",
        "share_cnn_encoders",
        "symmetry_cfg",
        "use_clipped_value_loss",
        "use_mixed_precision",
        "value_loss_coef",
    }
)
"""Fields of RSL-RL's PPO that have no meaning here and may remain in a project's config."""


@dataclass
class TruDiCfg:
    """Settings of TruDi; method numbers refer to the paper (arXiv 2606.15260)."""

    num_learning_epochs: int = 4
    """Passes over the rollout per iteration, at least 1."""
    num_mini_batches: int = 16
    """Minibatches per pass, at least 1."""
    learning_rate: float = 3e-4
    """Adam step size of actor, critic and duals, above 0 (authors' implementation)."""
    max_grad_norm: float = 0.5
    """Gradient-norm clip, applied to actor and critic separately, above 0 (authors' implementation)."""
    gamma: float = 0.99
    """Discount per environment step, in [0, 1)."""
    lam: float = 0.95
    """TD(lambda) mixing, in [0, 1]."""

    actor: Actor = "diffusion"
    """The policy: a denoising chain, or REPPO's tanh-Gaussian (arXiv 2507.11019) with the settings of
    :class:`~trudi_rsl.settings.REPPOCfg`. A Gaussian has no use for `num_denoise_steps`, `prior_std` and
    `init_friction`."""
    constraint: Constraint = "path_kl"
    """Whether the policy stays near the one that collected the rollout: the trust region on the path KL, or none, which
    is DIME with the settings of :class:`~trudi_rsl.settings.DIMECfg`."""
    num_denoise_steps: int = 8
    """Denoising steps N, at least 1; the paper finds that 1 fails and 8 saturates."""
    prior_std: float = 2.5
    """Standard deviation of the chain's Gaussian start, above 0."""
    init_friction: float = 1.0
    """Initial friction per action dimension, above 0; learned."""
    actor_hidden_dims: Sequence[int] = (512, 512, 512)
    """Widths of the actor's network: the first layer, then one hidden block each."""
    state_encoder_dims: Sequence[int] = ()
    """Widths of an encoder of the observation in front of the score network, none by default. It is evaluated once per
    state and not in every denoising step, so that `actor_hidden_dims` can be small."""
    residual: bool = False
    """Skip connections around the hidden blocks (the paper's text; the authors' implementation has none)."""

    kl_bound: float = 0.1
    """Trust region eps on the path KL per state, nats, above 0; the paper finds 0.1 to 0.4 best. For a Gaussian the KL
    between its distributions before `tanh`."""
    kl_estimator: KLEstimator = "closed_form"
    """Path KL per state: per-step closed form along old chains, means only, sampled log-ratio, or KL(new || old)
    along the policy's own chain. A Gaussian has the closed form only."""
    kl_chains: KLChains = "stored"
    """Where the old chains come from: the rollout's own, or resampled from the old policy in every minibatch. A
    Gaussian's old distributions are stored."""
    num_kl_chains: int = 1
    """Chains K per state, at least 1; more than 1 needs fresh chains."""
    init_lambda: float = 0.01
    """Initial multiplier of the trust region, above 0."""

    actor_gradient: ActorGradientKind = "pathwise"
    """Through the whole denoising chain, or by adjoint matching (arXiv 2409.08861), which differentiates the network at
    single steps and costs less."""
    num_adjoint_steps: int = 0
    """Denoising steps that adjoint matching draws in each minibatch, at least 0; all for 0, and for N or more."""

    entropy_target_per_dim: float = -1.665
    """Target of the entropy bound in nats per action dimension, for unit actions in [-1, 1]; at most ln 2."""
    init_alpha: float = 0.01
    """Initial temperature, above 0; the paper uses 0.01 or 1.0 by benchmark."""

    value_range: tuple[float, float] | Literal["auto"] = "auto"
    """Lower and upper end of the critic's values, or `auto` (or None): start from the first rollout's rewards and widen
    while targets come near the ends."""
    num_bins: int = 151
    """Value bins, at least 2."""
    critic_hidden_dim: int = 512
    """Width of the critic, at least 1."""
    aux_loss_coef: float = 1.0
    """Weight of the feature-prediction loss, at least 0 (REPPO, arXiv 2507.11019)."""

    action_bounds: tuple[float, float] | None = None
    """Lower and upper action bound for all dimensions of the policy; None takes the environment's own."""
    obs_normalization: bool = True
    """Normalise observations with running statistics."""
    final_observations: bool = True
    """Ask the simulator for the true last observation of each episode where it offers them; costs one more computation
    of observations in steps where an episode ends. Without them, targets stop before an episode's last step."""

    max_skipped_updates: int = 5
    """Iterations in a row, at least 1, whose update may be skipped because of NaN or infinity in the rollout or in a
    gradient; after so many training stops."""

    compile: CompileMode = "auto"
    """Compile with inductor (`default`), also replay updates as CUDA graphs (`cudagraphs`), or neither (`off`). `auto`
    takes `cudagraphs` on CUDA and `default` elsewhere, and `off` for trainings too short to repay compiling."""

    precision: Precision = "fp32"
    """Matrix products of the networks: float32, TF32 (CUDA only) or bfloat16. Chains, log-probs, path KLs, targets and
    the optimisers' state are float32 in any case."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        self._check_kind()
        for name in (
            "num_learning_epochs", "num_mini_batches", "num_denoise_steps", "num_kl_chains", "critic_hidden_dim",
            "max_skipped_updates",
        ):  # fmt: skip
            self._require_int(name, 1)
        for name in (
            "learning_rate", "max_grad_norm", "prior_std", "init_friction", "kl_bound", "init_lambda", "init_alpha",
        ):  # fmt: skip
            self._require(name, self._number(name) > 0, "above 0")
        self._require("gamma", 0 <= self._number("gamma") < 1, "in [0, 1)")
        self._require("lam", 0 <= self._number("lam") <= 1, "in [0, 1]")
        self._require("aux_loss_coef", self._number("aux_loss_coef") >= 0, "at least 0")
        self._require_int("num_bins", 2)
        for name in ("residual", "obs_normalization", "final_observations"):
            self._require(name, isinstance(getattr(self, name), bool), "true or false")
        self._require(
            "entropy_target_per_dim",
            self._number("entropy_target_per_dim") <= MAX_ENTROPY_PER_DIM,
            f"at most ln 2 = {MAX_ENTROPY_PER_DIM:.4f}: no distribution on [-1, 1] has more entropy, and the "
            "temperature would grow without bound",
        )
        self._require("kl_estimator", self.kl_estimator in get_args(KLEstimator), f"one of {get_args(KLEstimator)}")
        self._require("compile", self.compile in get_args(CompileMode), f"one of {get_args(CompileMode)}")
        self._require("precision", self.precision in get_args(Precision), f"one of {get_args(Precision)}")
        self._require("kl_chains", self.kl_chains in get_args(KLChains), f"one of {get_args(KLChains)}")
        self._require(
            "num_kl_chains",
            self.num_kl_chains == 1 or (self.kl_chains == "fresh" and self.kl_estimator != "reverse"),
            "1 unless kl_chains is fresh and kl_estimator is not reverse: the rollout stores one chain per state",
        )
        self._require(
            "actor_gradient",
            self.actor_gradient in get_args(ActorGradientKind),
            f"one of {get_args(ActorGradientKind)}",
        )
        self._require(
            "actor_gradient",
            self.actor_gradient == "pathwise" or (self.kl_estimator != "reverse" and self.num_kl_chains == 1),
            "pathwise unless the path KL runs along one old chain per state: kl_estimator other than reverse and "
            "num_kl_chains 1",
        )
        self._require_int("num_adjoint_steps", 0)
        self._require(
            "actor_hidden_dims",
            _positive_ints(self.actor_hidden_dims, at_least=1),
            "a non-empty list of positive widths",
        )
        self._require(
            "state_encoder_dims",
            _positive_ints(self.state_encoder_dims, at_least=0),
            "a list of positive widths, empty for none",
        )
        # a checkpoint's list and the default must compare equal
        self.state_encoder_dims = tuple(self.state_encoder_dims)
        self._require(
            "residual",
            not self.residual or len(set(self.actor_hidden_dims)) == 1,
            "false unless all actor_hidden_dims are equal",
        )
        if self.value_range is None:
            # the only way to say `auto` where a host checks an override's type against a list
            self.value_range = "auto"
        if self.value_range != "auto":
            self.value_range = self._interval("value_range")
        if self.action_bounds is not None:
            self.action_bounds = self._interval("action_bounds")

    def _check_kind(self) -> None:
        """Refuse what makes this another algorithm, and what the algorithm has no use for."""
        self._require("actor", self.actor in get_args(Actor), f"one of {get_args(Actor)}")
        self._require("constraint", self.constraint in get_args(Constraint), f"one of {get_args(Constraint)}")
        # REPPO's entropy target would otherwise be that of a diffusion policy's bound
        self._require("actor", self.actor == "diffusion", "diffusion in TruDi; a Gaussian is REPPO's (--algo reppo)")
        self._require("constraint", self.constraint == "path_kl", "path_kl in TruDi; none is DIME's (--algo dime)")

    @property
    def has_trust_region(self) -> bool:
        """Whether the actor's loss is gated by the path KL."""
        return self.constraint == "path_kl"

    @property
    def stores_chains(self) -> bool:
        """Whether the rollout must keep its denoising chains, or a Gaussian's distributions."""
        return self.has_trust_region and self.kl_chains == "stored" and self.kl_estimator != "reverse"

    @property
    def draws_old_chains(self) -> bool:
        """Whether each minibatch draws chains from the old policy."""
        return self.has_trust_region and self.kl_chains == "fresh" and self.kl_estimator != "reverse"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build the configuration from an RSL-RL ``algorithm`` section.

        PPO's own fields are ignored with one warning that names them, so that a project can swap the class name
        alone.

        Raises:
            ConfigError: If a field does not exist, with the nearest names, or holds an impossible value.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        given = {k: v for k, v in values.items() if k != "class_name"}
        ignored = sorted(k for k in given if k in PPO_ONLY_FIELDS and given[k] is not None)
        for name in given:
            if name not in known and name not in PPO_ONLY_FIELDS:
                raise ConfigError(f"TruDi has no setting 'algorithm.{name}'. {nearest(name, known)}")
        if ignored:
            warnings.warn(
                f"TruDi has no use for these PPO settings and ignores them: {', '.join(ignored)}.", stacklevel=2
            )
        return cls(**{k: v for k, v in given.items() if k in known})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for a checkpoint or a YAML file."""
        values = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, (tuple, list)) else v for k, v in values.items()}

    def _require(self, name: str, ok: bool, allowed: str) -> None:
        if not ok:
            raise ConfigError(f"algorithm.{name} must be {allowed}; got {getattr(self, name)!r}.")

    def _require_int(self, name: str, lowest: int) -> None:
        value = getattr(self, name)
        self._require(name, type(value) is int and value >= lowest, f"an integer of at least {lowest}")

    def _number(self, name: str) -> float:
        value = getattr(self, name)
        if not is_finite(value):
            raise ConfigError(f"algorithm.{name} must be a finite number; got {value!r}.{_yaml_hint(value)}")
        return value

    def _interval(self, name: str) -> tuple[float, float]:
        value = getattr(self, name)
        pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
        if not pair or not all(is_finite(v) for v in value) or value[0] >= value[1]:
            auto = " or 'auto'" if name == "value_range" else ""
            hint = "".join({_yaml_hint(v) for v in value}) if pair else ""
            raise ConfigError(
                f"algorithm.{name} must be [low, high] with low < high, both finite{auto}; got {value!r}.{hint}"
            )
        return float(value[0]), float(value[1])


def _yaml_hint(value: object) -> str:
    return " YAML reads 1.0e4 as text; write 10000.0 or 1.0e+4." if isinstance(value, str) else ""


def _positive_ints(values: object, at_least: int) -> bool:
    return (
        isinstance(values, Sequence)
        and not isinstance(values, str)
        and len(values) >= at_least
        and all(isinstance(v, int) and v > 0 for v in values)
    )


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
