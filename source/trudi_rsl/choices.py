# SPDX-License-Identifier: BSD-3-Clause
"""What command-line flags choose among, and their defaults, for commands that parse before they import torch."""

from __future__ import annotations

from typing import Literal, get_args

from trudi_rsl.settings import LearnerAlgorithm

PolicyGradientAlgorithm = Literal["ppo", "spo", "dppo", "fpo"]
"""``--algo`` names of PPO and its relatives."""

Algorithm = LearnerAlgorithm | PolicyGradientAlgorithm
"""``--algo`` names of all algorithms."""

NAMES: dict[Algorithm, str] = {
    "trudi": "TruDi",
    **{name: name.upper() for name in ("reppo", "dime", "ppo", "spo", "dppo", "fpo")},
}
"""Display names of the algorithms."""

SHORT_NAMES: dict[str, Algorithm] = {name: algorithm for algorithm, name in NAMES.items()}
"""``--algo`` names by display name, which is also that of the class."""

Sampler = Literal["ode", "sde", "best_of_k"]
SAMPLERS: tuple[str, ...] = get_args(Sampler)
"""How a policy acts."""

InitialLatent = Literal["random", "zeros"]
INITIAL_LATENTS: tuple[str, ...] = get_args(InitialLatent)
"""Starts of the ODE."""

Precision = Literal["fp32", "fp16", "int8"]
"""Storage of an ONNX file's weights. ``fp16`` also computes in half precision where the runtime supports it; ``int8``
computes the products of the chain's inner layers in 8 bits, with a scale per input."""

PRECISIONS: tuple[str, ...] = get_args(Precision)

Launcher = Literal["local", "slurm", "submitit"]
"""``local`` is this machine; ``submitit`` is Slurm where it is installed and this machine elsewhere."""

LAUNCHERS: tuple[str, ...] = get_args(Launcher)

LOGGERS = ("tensorboard", "wandb", "neptune")
"""Names of RSL-RL's log writers."""

EVALUATION_SEED = 10_000
"""Default seed of evaluations, apart from the seeds of training."""

PLAYED_EPISODES = 10
"""Default number of episodes when a policy is played."""

MODE_RUNS = 200
"""Default number of runs from one start in which behaviours are counted; the paper's."""

TIMED_CALLS = 2000
"""Default number of calls when an exported policy is timed."""
