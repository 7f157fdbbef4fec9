# SPDX-License-Identifier: BSD-3-Clause
"""Settings of TruDi, REPPO and DIME: one dataclass per algorithm, from which every other schema is derived.

TruDi's learner is REPPO with a Gaussian actor and DIME without a trust region. ``actor`` and ``constraint`` select the
algorithm in an RSL-RL ``algorithm`` section (:func:`settings_from_dict`); within an algorithm they are fixed.
"""

from __future__ import annotations

import dataclasses
import logging
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.extensions import checked_rnd, checked_symmetry
from trudi_rsl.model_sections import checked_encoder, is_recurrent
from trudi_rsl.plain_values import is_finite, with_lists, yaml_hint
from trudi_rsl.ppo_fields import PPO_ONLY_FIELDS, describe_ignored, without_effect
from trudi_rsl.setting_ranges import ALLOWED

logger = logging.getLogger(__name__)

Actor = Literal["diffusion", "gaussian"]
Constraint = Literal["path_kl", "none"]
KLEstimator = Literal["closed_form", "mean_only", "log_ratio", "reverse"]
CompileMode = Literal["auto", "off", "default", "cudagraphs"]
Precision = Literal["auto", "fp32", "tf32", "bf16"]
LearnerAlgorithm = Literal["trudi", "reppo", "dime"]
"""Names of the learner's algorithms as ``--algo`` takes them."""


SELECTORS = ("actor", "constraint")
"""Keys of an ``algorithm`` section that select the algorithm."""


@dataclass
class LearnerCfg:
    """Settings that TruDi, REPPO and DIME share; the paper is TruDi's (arXiv 2606.15260)."""

    actor: ClassVar[Actor]
    """The policy: a denoising chain, or a tanh-Gaussian."""
    constraint: ClassVar[Constraint]
    """What keeps the policy near the one that collected the rollout: a trust region on the path KL, or nothing."""

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

    actor_hidden_dims: Sequence[int] = (512, 512, 512)
    """Widths of the actor's network: the first layer, then one hidden block each."""
    residual: bool = False
    """Skip connections around the hidden blocks (the paper's text; the authors' implementation has none)."""

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

    actor_encoder: dict[str, Any] | None = None
    """RSL-RL's model that encodes the actor's observations: PPO's `actor` section of a `CNNModel` or `RNNModel` without
    its head. The actor's loss trains it. None concatenates vectors, as `MLPModel` does."""
    critic_encoder: dict[str, Any] | None = None
    """The same for the critic, from PPO's `critic` section. The critic's loss trains it."""
    sequence_length: int | None = None
    """Steps of the sequences through which recurrent encoders learn, at least 1 and a divisor of `num_steps_per_env`;
    None takes whole rollouts."""

    action_bounds: tuple[float, float] | None = None
    """Lower and upper action bound for all dimensions of the policy; None takes the environment's own."""
    obs_normalization: bool = True
    """Normalise observations with running statistics."""
    final_observations: bool = True
    """Use the true last observation of each episode if the simulator provides it, which computes observations once more
    in steps where an episode ends. Without it, targets stop before an episode's last step."""
    rnd_cfg: dict[str, Any] | None = None
    """RSL-RL's random network distillation, PPO's section of this name; None trains without."""
    symmetry_cfg: dict[str, Any] | None = None
    """RSL-RL's symmetry augmentation and mirror loss, PPO's section of this name; None trains without."""

    max_skipped_updates: int = 5
    """Consecutive iterations with an update skipped for NaN or infinity after which training stops, at least 1."""
    compile: CompileMode = "auto"
    """Compile with inductor (`default`), also replay updates as CUDA graphs (`cudagraphs`), or neither (`off`). `auto`
    takes `cudagraphs` on CUDA, else `default`, and, but for RSL-RL's runner, `off` for trainings too short for it."""
    precision: Precision = "auto"
    """Matrix products of the networks: float32, TF32 or bfloat16; `auto` takes TF32 on GPUs that have it, else float32.
    Chains, log-probs, path KLs, targets and the optimisers' steps are always computed in float32."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        hints = typing.get_type_hints(type(self))
        for name, value in vars(self).items():
            hint = hints[name]
            if hint is float and not is_finite(value):
                raise ConfigError(f"algorithm.{name} must be a finite number; got {value!r}.{yaml_hint(value)}")
            if name in ALLOWED:
                is_allowed, allowed = ALLOWED[name]
                self._require(name, is_allowed(value), allowed)
            elif hint is bool:
                self._require(name, isinstance(value, bool), "true or false")
            elif typing.get_origin(hint) is Literal:
                self._require(name, value in typing.get_args(hint), f"one of {typing.get_args(hint)}")
        # a checkpoint's list and the default must compare equal
        if isinstance(self, DiffusionCfg):
            self.state_encoder_dims = tuple(self.state_encoder_dims)
        equal_widths = len(set(self.actor_hidden_dims)) == 1
        self._require("residual", not self.residual or equal_widths, "false unless all actor_hidden_dims are equal")
        # hosts that check an override's type against a list accept None, but not `auto`
        self.value_range = "auto" if self.value_range in (None, "auto") else self._interval("value_range")
        if self.action_bounds is not None:
            self.action_bounds = self._interval("action_bounds")
        self.rnd_cfg, self.symmetry_cfg = checked_rnd(self.rnd_cfg), checked_symmetry(self.symmetry_cfg)
        self.actor_encoder = checked_encoder("actor_encoder", self.actor_encoder)
        self.critic_encoder = checked_encoder("critic_encoder", self.critic_encoder)
        if self.symmetry_cfg and (self.actor_encoder or self.critic_encoder):
            raise ConfigError(
                "algorithm.symmetry_cfg must be none with an encoder: neither images nor memories are mirrored."
            )
        self._require(
            "sequence_length",
            self.sequence_length is None or self.is_recurrent,
            "none unless actor_encoder or critic_encoder is an RNNModel",
        )

    @property
    def is_recurrent(self) -> bool:
        """Whether an encoder remembers."""
        return is_recurrent(self.actor_encoder) or is_recurrent(self.critic_encoder)

    @property
    def stores_chains(self) -> bool:
        """Whether the rollout must keep its denoising chains, or a Gaussian's distributions."""
        return isinstance(self, TrustRegionCfg)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build the configuration from an RSL-RL ``algorithm`` section.

        PPO's own fields, and those of a project's subclass of it, are ignored with a warning, so that a project can
        swap the class name alone. Settings that only TruDi has are accepted at TruDi's default, and those of
        :data:`UNUSED` at any value.

        Raises:
            ConfigError: If a field is unknown (with the nearest names), impossible, or selects another algorithm.
        """
        own, family = set(_defaults(cls)), _defaults(TruDiCfg)
        given = {k: v for k, v in values.items() if k not in ("class_name", *SELECTORS)}
        for name in SELECTORS:
            cls._check_selector(name, values.get(name, getattr(cls, name)))
        ignored = {name for name in given if name not in family and without_effect(name)}
        for name, value in given.items():
            if name in own | ignored | UNUSED:
                continue
            if name not in family:
                raise ConfigError(
                    f"{_label(cls)} has no setting 'algorithm.{name}'. {nearest(name, own | PPO_ONLY_FIELDS)}"
                )
            if with_lists(value) != with_lists(family[name]):
                default = f"left at {family[name]} in {_label(cls)}, which has no use for it"
                raise ConfigError(f"algorithm.{name} must be {default}; got {value!r}.")
        if listed := describe_ignored(name for name in ignored if given[name] is not None):
            logger.warning("%s has no use for these PPO settings and ignores them: %s.", _label(cls), listed)
        return cls(**{k: v for k, v in given.items() if k in own})

    @classmethod
    def _check_selector(cls, name: str, value: object) -> None:
        if value == (own := getattr(cls, name)):
            return
        for algo, cfg in SETTINGS.items():
            if value == getattr(cfg, name):
                other = f"{value} is {_label(cfg)}'s (--algo {algo})"
                raise ConfigError(f"algorithm.{name} must be {own} in {_label(cls)}; {other}.")
        known = typing.get_args(Actor if name == "actor" else Constraint)
        raise ConfigError(f"algorithm.{name} must be one of {known}; got {value!r}.")

    def to_dict(self) -> dict[str, Any]:
        """Return selectors and settings as plain values, for a checkpoint or a YAML file."""
        return {name: with_lists(getattr(self, name)) for name in (*SELECTORS, *_defaults(type(self)))}

    def _require(self, name: str, ok: bool, allowed: str) -> None:
        if not ok:
            raise ConfigError(f"algorithm.{name} must be {allowed}; got {getattr(self, name)!r}.")

    def _interval(self, name: str) -> tuple[float, float]:
        value = getattr(self, name)
        pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
        if not pair or not all(is_finite(v) for v in value) or value[0] >= value[1]:
            auto = " or 'auto'" if name == "value_range" else ""
            hint = "".join({yaml_hint(v) for v in value}) if pair else ""
            raise ConfigError(
                f"algorithm.{name} must be [low, high] with low < high, both finite{auto}; got {value!r}.{hint}"
            )
        return float(value[0]), float(value[1])


@dataclass
class DiffusionCfg(LearnerCfg):
    """Settings of a diffusion actor."""

    actor: ClassVar[Actor] = "diffusion"

    num_denoise_steps: int = 8
    """Denoising steps N, at least 1; the paper finds that 1 fails and 8 saturates."""
    prior_std: float = 2.5
    """Standard deviation of the chain's Gaussian start, above 0."""
    init_friction: float = 1.0
    """Initial friction per action dimension, above 0; learned."""
    state_encoder_dims: Sequence[int] = ()
    """Widths of an encoder of the observation in front of the score network, none by default. It is evaluated once per
    state and not in every denoising step, so that `actor_hidden_dims` can be small."""


@dataclass
class TrustRegionCfg(LearnerCfg):
    """Settings of a trust region on the path KL."""

    constraint: ClassVar[Constraint] = "path_kl"

    kl_bound: float = 0.1
    """Trust region eps on the path KL per state, nats, above 0; the paper finds 0.1 to 0.4 best. For a Gaussian the KL
    between its distributions before `tanh`."""
    init_lambda: float = 0.01
    """Initial multiplier of the trust region, above 0."""


@dataclass
class TruDiCfg(TrustRegionCfg, DiffusionCfg):
    """Settings of TruDi: a diffusion actor with a trust region."""

    kl_estimator: KLEstimator = "closed_form"
    """Path KL along old chains by closed form per step, means only or log-ratio, or KL(new || old) along own chains."""
    kl_chains: Literal["stored", "fresh"] = "stored"
    """Source of the old chains: the rollout's own, or resampled from the old policy in every minibatch."""
    num_kl_chains: int = 1
    """Chains K per state, at least 1; more than 1 needs fresh chains."""

    actor_gradient: Literal["pathwise", "adjoint"] = "pathwise"
    """Through the whole denoising chain, or by adjoint matching (arXiv 2409.08861), which costs less."""
    num_adjoint_steps: int = 0
    """Denoising steps that adjoint matching draws in each minibatch, at least 0; all for 0, and for N or more."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        super().__post_init__()
        self._require(
            "num_kl_chains",
            self.num_kl_chains == 1 or self.draws_old_chains,
            "1 unless kl_chains is fresh and kl_estimator is not reverse: the rollout stores one chain per state",
        )
        one_old_chain = self.kl_estimator != "reverse" and self.num_kl_chains == 1
        self._require(
            "actor_gradient",
            self.actor_gradient == "pathwise" or one_old_chain,
            "pathwise unless num_kl_chains is 1 and kl_estimator is not reverse: it needs one old chain per state",
        )

    @property
    def stores_chains(self) -> bool:
        """Whether the rollout must keep its denoising chains."""
        return self.kl_chains == "stored" and self.kl_estimator != "reverse"

    @property
    def draws_old_chains(self) -> bool:
        """Whether each minibatch draws chains from the old policy."""
        return self.kl_chains == "fresh" and self.kl_estimator != "reverse"


@dataclass
class REPPOCfg(TrustRegionCfg):
    """Settings of REPPO (arXiv 2507.11019): a Gaussian actor, whose KL is closed-form and needs no chains."""

    actor: ClassVar[Actor] = "gaussian"
    kl_estimator: ClassVar[KLEstimator] = "closed_form"

    entropy_target_per_dim: float = -0.5
    """Target of the entropy in nats per action dimension, for unit actions in [-1, 1]; at most ln 2. The paper's."""


@dataclass
class DIMECfg(DiffusionCfg):
    """Settings of on-policy DIME (after arXiv 2502.02316): a diffusion actor without a trust region."""

    constraint: ClassVar[Constraint] = "none"


@dataclass
class DPPOCfg:
    """Settings that DPPO (arXiv 2409.00588) has in addition to PPO's."""

    gamma_denoise: float = 0.99
    """Discount per denoising step, in (0, 1]."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if not 0.0 < self.gamma_denoise <= 1.0:
            raise ConfigError(f"algorithm.gamma_denoise must be in (0, 1]; got {self.gamma_denoise!r}.")


AnyCfg = TruDiCfg | REPPOCfg | DIMECfg
SETTINGS: dict[LearnerAlgorithm, type[AnyCfg]] = {"trudi": TruDiCfg, "reppo": REPPOCfg, "dime": DIMECfg}
"""The settings of each algorithm of TruDi's learner."""

UNUSED = frozenset({"num_denoise_steps", "prior_std", "init_friction", "num_adjoint_steps"})
"""Settings of denoising chains that an algorithm without them ignores: configurations and checkpoints from before each
algorithm had its own fields contain them."""


def algorithm_of_settings(values: Mapping[str, Any]) -> LearnerAlgorithm:
    """Return the algorithm that the selectors of an ``algorithm`` section name, TruDi's values where they are absent.

    For a pair that no algorithm has, it returns one whose ``from_dict`` refuses the pair.
    """
    actor, constraint = (values.get(name, getattr(TruDiCfg, name)) for name in SELECTORS)
    if actor == REPPOCfg.actor:
        return "reppo"
    return "dime" if (actor, constraint) == (DIMECfg.actor, DIMECfg.constraint) else "trudi"


def settings_from_dict(values: Mapping[str, Any]) -> AnyCfg:
    """Build the configuration of the algorithm that an RSL-RL ``algorithm`` section selects.

    Raises:
        ConfigError: See :meth:`LearnerCfg.from_dict`.
    """
    return SETTINGS[algorithm_of_settings(values)].from_dict(values)


def fields_from_trudi(algo: LearnerAlgorithm) -> list[str]:
    """Return the settings that an algorithm takes from a section of TruDi, such as a task's preset.

    They are those that have TruDi's default; where an algorithm has its own, TruDi's value does not apply to it.
    """
    family = _defaults(TruDiCfg)
    return [name for name, default in _defaults(SETTINGS[algo]).items() if default == family[name]]


def family_overrides(algo: LearnerAlgorithm) -> dict[str, Any]:
    """Return the values that turn a section of TruDi into one of another algorithm in the same schema."""
    values = TruDiCfg().to_dict() | SETTINGS[algo]().to_dict()
    return {name: value for name, value in values.items() if name not in fields_from_trudi(algo)}


def schema_fields(cls: type) -> list[tuple[str, Any, Any]]:
    """Return name, type hint and default of each key of an ``algorithm`` section, for schemas of Hydra and hosts.

    Selectors of a :class:`LearnerCfg` come first; default tuples become lists.
    """
    hints = typing.get_type_hints(cls)
    selectors = SELECTORS if issubclass(cls, LearnerCfg) else ()
    return [
        *((name, Literal[getattr(cls, name)], getattr(cls, name)) for name in selectors),
        *((name, hints[name], with_lists(default)) for name, default in _defaults(cls).items()),
    ]


def _label(cls: type) -> str:
    return cls.__name__.removesuffix("Cfg")


def _defaults(cls: type) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(cls)}
