# SPDX-License-Identifier: BSD-3-Clause
"""Comparing exported files with the policy they were made from."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import NamedTuple

import onnxruntime
import torch
from torch import Tensor

from trudi_rsl.deploy.options import Precision
from trudi_rsl.deploy.session import open_session
from trudi_rsl.policies import ChainInferencePolicy, ChainOptions, DeployablePolicy, InferencePolicy

TOLERANCE = 1e-5
"""Largest difference allowed between an exported file in float32 and PyTorch, as :func:`differences` measures it."""

MEDIAN_TOLERANCES = {"fp16": 1e-2, "int8": 1e-1}
"""Median differences allowed in few bits; the largest lies where the chain multiplies rounding, and says little."""

NUM_PROBES = 400
MIN_COMPARABLE = 40
PROBE_SPREADS = (1.0, 1.0, 5.0, 50.0)
"""Distances of the probes from the mean observation, in standard deviations, taken in turn."""

ROUNDING_ALLOWED = TOLERANCE / 5.0
"""Largest effect of float32 rounding, on PyTorch's own action, at a probe that can tell a fault from rounding."""

ROUNDING_DRAWS = 4
WARM_UP = 5
"""Calls before those that are timed."""


class ExportError(RuntimeError):
    """A policy that cannot be exported, or an export that would replace files or does not act as the policy does."""


class Probes(NamedTuple):
    """Observations at which an exported file is compared with the policy."""

    obs: Tensor
    """Raw, ``[B, O]``."""
    latents: Tensor | None
    """Where the chains start, in standard deviations, ``[B, A]``; None where the file holds the start."""
    actions: Tensor
    """What the policy itself does there, ``[B, A]``."""

    def inputs(self, rows: Tensor) -> dict[str, Tensor]:
        """Return what a file is given for the probes of these indices."""
        given = {"obs": self.obs[rows]}
        return given if self.latents is None else given | {"latent": self.latents[rows]}


def draw_probes(
    original: DeployablePolicy,
    policy: InferencePolicy,
    options: ChainOptions,
    latent_input: bool = False,
    seed: int = 0,
) -> Probes:
    """Draw observations to compare at, and the actions that the actor itself takes there.

    Where the ODE starts between two modes, it multiplies float32 rounding, and two correct programs differ. Such
    observations, found with PyTorch alone, are left out: those where nudging the initial latent by float32's
    resolution, or computing in float64, moves the action by more than :data:`ROUNDING_ALLOWED`.

    Args:
        original: The policy in float32, on the CPU.
        policy: Its deployable form.
        options: How that runs its chain.
        latent_input: Draw starts of the chain too.
        seed: Seed of the draw.

    Returns:
        At most :data:`NUM_PROBES` around the normaliser's statistics, about one in four far outside.

    Raises:
        ExportError: If an action is NaN or infinite, or fewer than :data:`MIN_COMPARABLE` observations remain.
    """
    generator = torch.Generator().manual_seed(seed)
    spreads = torch.tensor(PROBE_SPREADS).repeat(NUM_PROBES // len(PROBE_SPREADS))
    obs = policy.obs_mean + spreads[:, None] * torch.randn(NUM_PROBES, policy.num_obs, generator=generator) / (
        policy.obs_inverse_std
    )
    chain = policy if isinstance(policy, ChainInferencePolicy) else None
    latents = None
    if chain is not None and latent_input:
        latents = torch.randn(NUM_PROBES, chain.start.shape[1], generator=generator)
    start = None if chain is None else chain.start if latents is None else chain.start_std * latents
    expected = reference_actions(original, obs, start, options)
    in_double = copy.deepcopy(original).double()
    exact = reference_actions(in_double, obs.double(), None if start is None else start.double(), options)
    rounding = differences(expected, exact, policy)
    if chain is not None and start is not None:
        for _ in range(ROUNDING_DRAWS):
            nudge = torch.randn(expected.shape, generator=generator) * torch.finfo(torch.float32).eps
            nudged = reference_actions(original, obs, start + chain.start_std * nudge, options)
            rounding = torch.maximum(rounding, differences(nudged, exact, policy))
    comparable = rounding <= ROUNDING_ALLOWED
    if comparable.sum() < MIN_COMPARABLE:
        raise ExportError(
            f"The policy's actions hang on float32 rounding at {NUM_PROBES - int(comparable.sum())} of {NUM_PROBES} "
            "observations, so an export could not be checked, and a robot would act on rounding noise. Nothing was "
            "written; export an earlier checkpoint."
        )
    return Probes(obs[comparable], None if latents is None else latents[comparable], expected[comparable])


@torch.no_grad()
def reference_actions(original: DeployablePolicy, obs: Tensor, start: Tensor | None, options: ChainOptions) -> Tensor:
    """Return the actor's own deterministic actions ``[B, A]``.

    Args:
        original: The policy.
        obs: Raw observations ``[B, O]``.
        start: Initial latents of the chain ``[1 or B, A]``, None for a Gaussian.
        options: How the chain runs.

    Raises:
        ExportError: If one is NaN or infinite.
    """
    start = None if start is None else start.expand(len(obs), -1)
    actions = original.deterministic_actions(original.actor_obs.normalize(obs), options, start)
    if not torch.isfinite(actions).all():
        raise ExportError(
            "The policy gives NaN or infinite actions: its weights or observation statistics are damaged. Nothing was "
            "written; export an earlier checkpoint."
        )
    return actions


def run_onnx(path: Path, probes: Probes, batch_size: int = 1) -> tuple[Tensor, tuple[float, float]]:
    """Run an ONNX policy at the probes, ``batch_size`` at a time, in onnxruntime with one CPU thread.

    Returns:
        Actions ``[B, A]``, and the median and the 99th percentile of the time of one call in milliseconds.
    """
    session, count = open_session(path), len(probes.obs)
    actions, seconds = [], []
    first = {name: value.numpy() for name, value in probes.inputs(torch.arange(batch_size) % count).items()}
    for _ in range(WARM_UP):
        session.run(["actions"], first)
    # the last call is filled up from the front
    for rows in (torch.arange(-(-count // batch_size) * batch_size) % count).split(batch_size):
        given = {name: value.numpy() for name, value in probes.inputs(rows).items()}
        begin = time.perf_counter()
        (action,) = session.run(["actions"], given)
        seconds.append(time.perf_counter() - begin)
        actions.append(torch.as_tensor(action))
    p50, p99 = 1e3 * torch.tensor(seconds, dtype=torch.float64).quantile(torch.tensor([0.5, 0.99]).double())
    return torch.cat(actions)[:count], (p50.item(), p99.item())


@torch.no_grad()
def run_torchscript(path: Path, probes: Probes) -> Tensor:
    """Return the actions ``[B, A]`` of a TorchScript policy at the probes, one at a time."""
    policy = torch.jit.load(path)
    policy.reset()
    return torch.cat([policy(row[None]) for row in probes.obs])


def differences(actions: Tensor, reference: Tensor, policy: InferencePolicy) -> Tensor:
    """Return the differences between two sets of actions ``[B, A]``, the largest dimension of each, ``[B]``.

    A dimension is measured in units of its largest possible action, ``max(|low|, |high|)``, so that the rounding of
    float32 weighs the same for an action in radians and one in newtons. Without bounds the action itself is the unit,
    or 1 where it is smaller.
    """
    unit = policy.action_scale + policy.action_offset.abs() if policy.bounded else reference.abs().clamp(min=1.0)
    return ((actions - reference).abs() / unit).amax(-1)


def require_equal(name: str, found: Tensor, precision: Precision = "fp32") -> float:
    """Return the largest of some differences, having refused what no rounding explains.

    Args:
        name: What differs.
        found: Its differences ``[B]``.
        precision: What it computes in.

    Raises:
        ExportError: If, in float32, one is above :data:`TOLERANCE`, or, in fewer bits, their median is above
            :data:`MEDIAN_TOLERANCES` or one is not a number; names the file, the difference and the versions at work.
    """
    largest = found.max().item()
    if precision == "fp32":
        deciding, allowed = largest, TOLERANCE
        advice = (
            f"These versions do not export this policy faithfully: torch {torch.__version__}, onnxruntime "
            f"{onnxruntime.__version__}; try others."
        )
    else:
        deciding, allowed = found.median().item(), MEDIAN_TOLERANCES[precision]
        advice = f"This is the median over observations; the policy does not bear {precision}. Export fp32."
    # written so that NaN fails
    if not (deciding <= allowed and largest < float("inf")):
        raise ExportError(
            f"{name} differs from PyTorch by {deciding:.1e} of the largest action (allowed: {allowed:.0e}), so nothing "
            f"was written. {advice}"
        )
    return largest
