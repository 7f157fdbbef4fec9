# SPDX-License-Identifier: BSD-3-Clause
"""How policies are evaluated: samplers, which of them each algorithm has, and the options that evaluations share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trudi_rsl.choices import (
    EVALUATION_SEED,
    INITIAL_LATENTS,
    NAMES,
    SAMPLERS,
    Algorithm,
    InitialLatent,
    Sampler,
)
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.settings import SETTINGS

GAUSSIAN_POLICIES = ("reppo", "ppo", "spo")
"""Algorithms whose policy is a Gaussian."""
DEFAULT_CANDIDATES = 20
READERS = {"score_scale": "ode", "initial_latent": "ode", "num_candidates": "best_of_k"}
"""Option to the sampler that reads it."""


@dataclass(frozen=True)
class SamplerCfg:
    """How a policy acts. None leaves a value at the policy's default.

    The Gaussian policies of REPPO, PPO and SPO act by their mean with ``ode`` and by a sample with ``sde``. Policies of
    DPPO and FPO start the ``ode`` from zeros by default.

    Raises:
        ConfigError: If a value is out of range, or set for a sampler that does not read it.
    """

    sampler: Sampler = "ode"
    score_scale: float | None = None
    """Score scale ``c`` of ``ode``, above 0."""
    num_candidates: int | None = None
    """Candidates ``K`` of ``best_of_k``, at least 1."""
    initial_latent: InitialLatent | None = None
    """Start of ``ode``."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.score_scale is not None and not self.score_scale > 0.0:
            raise ConfigError(f"score_scale must be above 0, got {self.score_scale}.")
        if self.num_candidates is not None and self.num_candidates < 1:
            raise ConfigError(f"num_candidates must be at least 1, got {self.num_candidates}.")
        for name in self.options():
            if self.sampler != READERS[name]:
                raise ConfigError(f"{name} belongs to the sampler {READERS[name]}, not to {self.sampler}.")

    def options(self) -> dict[str, Any]:
        """Return the options that are set."""
        return {name: value for name in READERS if (value := getattr(self, name)) is not None}

    def require_for(self, algorithm: Algorithm) -> None:
        """Raise ConfigError if the algorithm's policies cannot act this way."""
        name = NAMES[algorithm]
        if algorithm not in SETTINGS and self.sampler == "best_of_k":
            raise ConfigError(
                f"best_of_k needs TruDi's Q critic; a {name} policy acts with ode (without noise) or sde (a sample)."
            )
        if algorithm in GAUSSIAN_POLICIES and (options := [o for o in self.options() if o != "num_candidates"]):
            raise ConfigError(f"{', '.join(options)}: a {name} policy has no chain; it is a Gaussian.")
        if algorithm in ("dppo", "fpo") and self.score_scale is not None:
            raise ConfigError(f"score_scale: a {name} policy's network is not trained as a score.")

    def describe(self, algorithm: Algorithm) -> str:
        """Return the sampler, for the ODE with the start that an algorithm's policy takes, as ``ode from zeros``."""
        if self.sampler != "ode" or algorithm in GAUSSIAN_POLICIES:
            return self.sampler
        starts_at_zeros = self.initial_latent == "zeros" or (self.initial_latent is None and algorithm not in SETTINGS)
        return f"ode from {'zeros' if starts_at_zeros else 'random starts'}"

    def __str__(self) -> str:
        """Return the name in tables, such as ``ODE c=0.5``."""
        if self.sampler == "best_of_k":
            return f"best of {self.num_candidates or DEFAULT_CANDIDATES}"
        scale = "" if self.score_scale is None else f" c={self.score_scale:g}"
        start = {None: "", "zeros": " from zeros", "random": " from random starts"}[self.initial_latent]
        return f"{self.sampler.upper()}{scale}{start}"


@dataclass(frozen=True)
class EvaluationCfg:
    """Options that all compared policies share; raises ConfigError if a value is out of range."""

    episodes: int = 32
    """Episodes per checkpoint and sampler, at least 1."""
    num_envs: int | None = None
    """Environments stepped together, at least 1; None takes one per episode, up to 64."""
    seed: int = EVALUATION_SEED
    """Seed of the simulators (environment i uses seed + i) and of the samplers, at least 0."""
    device: str = "cpu"
    num_threads: int | None = None
    """CPU threads of torch; None takes the run's."""
    overrides: tuple[str, ...] = ()
    """``env.name=value``, over the settings of the run."""

    def __post_init__(self) -> None:
        """Check the values."""
        for name, least in (("episodes", 1), ("num_envs", 1), ("seed", 0), ("num_threads", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be an integer of at least {least}, got {value}.")


def expand_samplers(
    samplers: Sequence[Sampler] = ("ode",),
    score_scales: Sequence[float] = (1.0,),
    num_candidates: Sequence[int] = (DEFAULT_CANDIDATES,),
    initial_latents: Sequence[InitialLatent | None] = (None,),
) -> list[SamplerCfg]:
    """Return every sampler with every combination of the options that it reads, without duplicates.

    A score scale of 1 is left unset, which acts the same and is also valid for a policy without a chain. Raises
    ConfigError if a list is empty, a name unknown or a value out of range.
    """
    names = ("samplers", "score scales", "numbers of candidates", "initial latents")
    for name, values in zip(names, (samplers, score_scales, num_candidates, initial_latents), strict=True):
        if not values:
            raise ConfigError(f"The list of {name} is empty.")
    for names, known in ((samplers, SAMPLERS), (initial_latents, (None, *INITIAL_LATENTS))):
        for name in names:
            if name not in known:
                raise ConfigError(f"Unknown sampler option {name!r}. {nearest(str(name), filter(None, known))}")
    scales = [None if scale == 1.0 else float(scale) for scale in score_scales]
    variants = {
        "ode": [SamplerCfg("ode", scale, None, start) for scale in scales for start in initial_latents],
        "best_of_k": [SamplerCfg("best_of_k", num_candidates=count) for count in num_candidates],
        "sde": [SamplerCfg("sde")],
    }
    return list(dict.fromkeys(sampler for name in samplers for sampler in variants[name]))


def supported_samplers(samplers: Sequence[SamplerCfg], algorithm: Algorithm) -> tuple[list[SamplerCfg], list[str]]:
    """Return the samplers that an algorithm has and, for each other, why not; raise ConfigError if it has none."""
    supported, reasons = [], []
    for sampler in samplers:
        try:
            sampler.require_for(algorithm)
        except ConfigError as error:
            reasons.append(f"{algorithm} has no sampler {str(sampler)!r}: {error}")
        else:
            supported.append(sampler)
    if not supported:
        raise ConfigError(" ".join(reasons))
    return supported, reasons
