# SPDX-License-Identifier: BSD-3-Clause
"""From lists of samplers and of their options to the ways in which a policy is to act."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import get_args

from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.evaluation.policies import Algorithm, SamplerCfg
from trudi_rsl.policies.actor_critic import SAMPLERS, InitialLatent, Sampler

DEFAULT_CANDIDATES = 20


def samplers_of(
    samplers: Sequence[Sampler] = ("ode",),
    score_scales: Sequence[float] = (1.0,),
    num_candidates: Sequence[int] = (DEFAULT_CANDIDATES,),
    initial_latents: Sequence[InitialLatent | None] = (None,),
) -> list[SamplerCfg]:
    """Return every sampler with every combination of the options that it reads, each once.

    A score scale of 1 is left unset, which is the same, and the one way for a policy without a chain.

    Args:
        samplers: Names, :data:`~trudi_rsl.policies.actor_critic.SAMPLERS`.
        score_scales: Score scales ``c`` of ``ode``, above 0.
        num_candidates: Numbers of candidates ``K`` of ``best_of_k``, at least 1.
        initial_latents: Starts of ``ode``; None is the policy's default.

    Raises:
        ConfigError: If a list is empty, a name unknown or a value out of range.
    """
    lists = {
        "samplers": samplers,
        "score scales": score_scales,
        "numbers of candidates": num_candidates,
        "initial latents": initial_latents,
    }
    for what, values in lists.items():
        if not values:
            raise ConfigError(f"The list of {what} is empty.")
    starts = [start for start in initial_latents if start is not None]
    for names, known in ((samplers, SAMPLERS), (starts, get_args(InitialLatent))):
        for name in names:
            if name not in known:
                raise ConfigError(f"Unknown sampler option {name!r}. {nearest(name, known)}")
    found: list[SamplerCfg] = []
    for sampler in samplers:
        if sampler == "ode":
            for scale, start in itertools.product(score_scales, initial_latents):
                scale_or_default = None if scale == 1.0 else float(scale)
                found.append(SamplerCfg("ode", score_scale=scale_or_default, initial_latent=start))
        elif sampler == "best_of_k":
            found += [SamplerCfg("best_of_k", num_candidates=count) for count in num_candidates]
        else:
            found.append(SamplerCfg(sampler))
    return list(dict.fromkeys(found))


def name_of(sampler: SamplerCfg) -> str:
    """Return what a table calls a sampler, as ``ODE c=0.5``."""
    if sampler.sampler == "best_of_k":
        return f"best of {sampler.num_candidates or DEFAULT_CANDIDATES}"
    scale = "" if sampler.score_scale is None else f" c={sampler.score_scale:g}"
    start = {None: "", "zeros": " from zeros", "random": " from random starts"}[sampler.initial_latent]
    return f"{sampler.sampler.upper()}{scale}{start}"


def fitting(samplers: Sequence[SamplerCfg], algorithm: Algorithm) -> tuple[list[SamplerCfg], list[str]]:
    """Split samplers into those that an algorithm has and the reasons why it has not the others.

    Args:
        samplers: As wanted.
        algorithm: What the checkpoint is of.

    Raises:
        ConfigError: If it has none of them.
    """
    fit, reasons = [], []
    for sampler in samplers:
        try:
            sampler.require_for(algorithm)
        except ConfigError as error:
            reasons.append(f"{algorithm} has no sampler {name_of(sampler)!r}: {error}")
        else:
            fit.append(sampler)
    if not fit:
        raise ConfigError(" ".join(reasons))
    return fit, reasons
