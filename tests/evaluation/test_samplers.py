# SPDX-License-Identifier: BSD-3-Clause
"""Samplers accept only options that they read, and algorithms only samplers that they have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.samplers import SamplerCfg, expand_samplers, supported_samplers


def test_lists_of_options_expand_to_the_samplers_that_read_them() -> None:
    samplers = expand_samplers(["sde", "ode", "best_of_k"], [0.5, 1.0, 0.5], [4, 20], [None, "zeros"])
    names = ["SDE", "ODE c=0.5", "ODE c=0.5 from zeros", "ODE", "ODE from zeros", "best of 4", "best of 20"]
    assert str(expand_samplers(initial_latents=["random"])[0]) == "ODE from random starts"
    assert [str(sampler) for sampler in samplers] == names
    assert expand_samplers() == [SamplerCfg("ode")]


def test_samplers_that_an_algorithm_lacks_are_left_out_with_a_reason() -> None:
    wanted = expand_samplers(["sde", "ode", "best_of_k"], [0.5, 1.0])
    assert supported_samplers(wanted, "trudi") == (wanted, [])
    fit, reasons = supported_samplers(wanted, "ppo")
    assert [str(sampler) for sampler in fit] == ["SDE", "ODE"]
    assert [reason.partition(":")[0] for reason in reasons] == [
        "ppo has no sampler 'ODE c=0.5'",
        "ppo has no sampler 'best of 20'",
    ]
    with pytest.raises(ConfigError, match="ppo has no sampler 'best of 3': best_of_k needs"):
        supported_samplers(expand_samplers(["best_of_k"], num_candidates=[3]), "ppo")


@pytest.mark.parametrize(
    ("make", "values", "message"),
    [
        (expand_samplers, {"score_scales": []}, "list of score scales is empty"),
        (expand_samplers, {"samplers": ["odee"]}, "'odee'. Did you mean 'ode'"),
        (expand_samplers, {"initial_latents": ["zero"]}, "'zero'. Did you mean 'zeros'"),
        (SamplerCfg, {"score_scale": 0.0}, "score_scale must be above 0, got 0.0"),
        (SamplerCfg, {"score_scale": float("nan")}, "score_scale must be above 0, got nan"),
        (SamplerCfg, {"sampler": "best_of_k", "num_candidates": 0}, "num_candidates must be at least 1, got 0"),
        (SamplerCfg, {"sampler": "sde", "score_scale": 1.0}, "score_scale belongs to the sampler ode, not to sde"),
        (SamplerCfg, {"sampler": "sde", "initial_latent": "zeros"}, "initial_latent belongs to the sampler ode"),
        (SamplerCfg, {"sampler": "ode", "num_candidates": 3}, "num_candidates belongs to the sampler best_of_k"),
    ],
)
def test_impossible_samplers_are_refused(make: Callable[..., Any], values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**values)


@pytest.mark.parametrize("values", [{"sampler": "best_of_k"}, {"score_scale": 1.5}, {"initial_latent": "zeros"}])
def test_samplers_of_a_diffusion_policy_are_refused_for_ppo(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="PPO policy"):
        SamplerCfg(**values).require_for("ppo")
    SamplerCfg(**values).require_for("trudi")
