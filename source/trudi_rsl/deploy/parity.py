# SPDX-License-Identifier: BSD-3-Clause
"""Comparison of exported files with the policy in PyTorch."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import onnxruntime
import torch
from torch import Tensor

from trudi_rsl.choices import Precision
from trudi_rsl.deploy.runtime import Latency
from trudi_rsl.deploy.session import open_session
from trudi_rsl.errors import UserError
from trudi_rsl.policies import ChainInferencePolicy, ChainOptions, DeployablePolicy, InferencePolicy
from trudi_rsl.policies.encoded import (
    DeployedForm,
    ImageInferencePolicy,
    RecurrentInferencePolicy,
    head_of,
    inputs_of,
)
from trudi_rsl.policies.recurrent import RecurrentEncoder

TOLERANCE = 1e-5
"""Largest difference allowed between an exported float32 file and PyTorch, as measured by :func:`differences`."""

MEDIAN_TOLERANCES = {"fp16": 1e-2, "int8": 1e-1}
"""Median differences allowed in fewer bits. The maximum says little: it occurs where the chain amplifies rounding."""

STATE_INPUTS, STATE_OUTPUTS = ("h_in", "c_in"), ("h_out", "c_out")
"""Names of the states of a recurrent policy; a GRU has the first alone."""

NUM_PROBES = 400
MIN_COMPARABLE = 40
PROBE_SPREADS = (1.0, 1.0, 5.0, 50.0)
"""Spreads of the probes around the mean observation, in standard deviations, used in turn."""

MAX_ROUNDING = TOLERANCE / 5.0
"""Largest effect of float32 rounding on PyTorch's own action at a probe."""

ROUNDING_DRAWS = 4
WARM_UP = 5
"""Untimed calls before the timed ones."""


class ExportError(UserError, RuntimeError):
    """A policy that cannot be exported or run, an export that would replace files, or one that acts differently."""


class ExportExistsError(ExportError):
    """An export that would replace files."""

    exit_status = 2


class Probes(NamedTuple):
    """Observations at which an exported file is compared with the policy."""

    obs: Tensor
    """Raw, ``[B, O]``."""
    latents: Tensor | None
    """Initial latents in standard deviations, ``[B, A]``; None if the file contains the start."""
    actions: Tensor
    """The policy's own actions, ``[B, A]``."""
    images: dict[str, Tensor]
    """Images ``[B, C, H, W]`` by group."""
    state: Tensor | None = None
    """States of a recurrent encoder before the observations ``[P, N, B, H]``; None for a policy without memory."""
    next_state: Tensor | None = None
    """Those after them."""

    def inputs(self, rows: Tensor) -> dict[str, Tensor]:
        """Return the file's inputs for the probes of these indices."""
        inputs = {name: values[rows] for name, values in self.images.items()}
        if self.state is not None:
            inputs |= dict(zip(STATE_INPUTS, self.state[:, :, rows], strict=False))
        if self.obs.shape[1]:
            inputs["obs"] = self.obs[rows]
        return inputs if self.latents is None else inputs | {"latent": self.latents[rows]}


def draw_probes(
    original: DeployablePolicy, policy: DeployedForm, options: ChainOptions, latent_input: bool = False
) -> Probes:
    """Sample observations for the comparison, with the actions of the actor itself.

    Where the ODE starts between two modes it amplifies float32 rounding, and two correct programs differ. Such
    observations are skipped. They are found with PyTorch alone: perturbing the initial latent by float32's resolution,
    or computing in float64, changes the action by more than :data:`MAX_ROUNDING`.

    Args:
        original: The policy in float32, on the CPU.
        policy: Its deployable form.
        options: How the chain runs.
        latent_input: Whether to sample starts of the chain, too.

    Returns:
        At most :data:`NUM_PROBES` around the normaliser's statistics, about one in four far outside.

    Raises:
        ExportError: If an action is NaN or infinite, or fewer than :data:`MIN_COMPARABLE` observations remain.
    """
    generator = torch.Generator().manual_seed(0)
    head = head_of(policy)
    deviations = torch.randn(NUM_PROBES, head.num_obs, generator=generator)
    deviations *= torch.tensor(PROBE_SPREADS).repeat(NUM_PROBES // len(PROBE_SPREADS))[:, None]
    obs = head.obs_mean + deviations / head.obs_inverse_std
    images = _draw_images(policy, generator)
    chain = head if isinstance(head, ChainInferencePolicy) else None
    latents = None
    if chain is not None and latent_input:
        latents = torch.randn(NUM_PROBES, chain.start.shape[1], generator=generator)
    start = None if chain is None else chain.start if latents is None else chain.start_std * latents
    memory = _draw_memory(policy, generator)
    state, next_memory = _latents(original, obs, images, memory)
    expected = reference_actions(original, state, start, options)
    in_double = copy.deepcopy(original).double()
    exact_state, _ = _latents(in_double, obs.double(), images, None if memory is None else memory.double())
    exact = reference_actions(in_double, exact_state, None if start is None else start.double(), options)
    rounding = differences(expected, exact, head)
    if chain is not None and start is not None:
        for _ in range(ROUNDING_DRAWS):
            nudge = torch.randn(expected.shape, generator=generator) * torch.finfo(torch.float32).eps
            nudged = reference_actions(original, state, start + chain.start_std * nudge, options)
            rounding = torch.maximum(rounding, differences(nudged, exact, head))
    comparable = rounding <= MAX_ROUNDING
    if comparable.sum() < MIN_COMPARABLE:
        raise ExportError(
            f"The policy's actions depend on float32 rounding at {NUM_PROBES - int(comparable.sum())} of {NUM_PROBES} "
            "observations, so an export cannot be verified, and a robot would act on rounding noise. Nothing was "
            "written; export an earlier checkpoint."
        )
    images = {name: values[comparable] for name, values in images.items()}
    memories = [None if m is None else m[:, :, comparable] for m in (memory, next_memory)]
    return Probes(
        obs[comparable], None if latents is None else latents[comparable], expected[comparable], images, *memories
    )


def _draw_images(policy: DeployedForm, generator: torch.Generator) -> dict[str, Tensor]:
    """Return an image for each probe: noise over the range of integers, or over [0, 1]."""
    if not isinstance(policy, ImageInferencePolicy):
        return {}
    drawn = {}
    for name, example in policy.example_images().items():
        shape = (NUM_PROBES, *example.shape[1:])
        if example.dtype.is_floating_point:
            drawn[name] = torch.rand(shape, generator=generator).to(example.dtype)
        else:
            drawn[name] = torch.randint(torch.iinfo(example.dtype).max, shape, generator=generator, dtype=example.dtype)
    return drawn


def _draw_memory(policy: DeployedForm, generator: torch.Generator) -> Tensor | None:
    """Return a state ``[P, N, B, H]`` for each probe of a recurrent policy: hidden states are in [-1, 1]."""
    if not isinstance(policy, RecurrentInferencePolicy):
        return None
    shape = policy.state.expand(-1, -1, NUM_PROBES, -1).shape
    return 2.0 * torch.rand(shape, generator=generator) - 1.0


@torch.no_grad()
def _latents(
    original: DeployablePolicy, obs: Tensor, images: dict[str, Tensor], memory: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the latents ``[B, L]`` of the actor's encoder at raw vectors ``[B, O]`` and images, and its next state."""
    encoder = original.actor_obs
    if isinstance(encoder, RecurrentEncoder) and memory is not None:
        return encoder.step(encoder.normalize(obs), memory)
    return encoder.encode(encoder.normalize(obs), images), None


@torch.no_grad()
def reference_actions(original: DeployablePolicy, state: Tensor, start: Tensor | None, options: ChainOptions) -> Tensor:
    """Return the actor's own actions ``[B, A]`` at its encoder's latents ``[B, L]``, from ``x_0`` ``[1 or B, A]``."""
    start = None if start is None else start.expand(len(state), -1)
    actions = original.deterministic_actions(state, options, start)
    if not torch.isfinite(actions).all():
        raise ExportError(
            "The policy returns NaN or infinite actions: its weights or observation statistics are damaged. Nothing "
            "was written; export an earlier checkpoint."
        )
    return actions


class Outputs(NamedTuple):
    """What an exported file returns at the probes."""

    actions: Tensor
    """``[B, A]``."""
    state: Tensor | None
    """The next states of a recurrent policy ``[P, N, B, H]``."""

    def differences(self, probes: Probes, policy: InferencePolicy) -> Tensor:
        """Return the largest difference from PyTorch at each probe ``[B]``, of the action or a number of the state."""
        found = differences(self.actions, probes.actions, policy)
        if self.state is None or probes.next_state is None:
            return found
        return torch.maximum(found, (self.state - probes.next_state).abs().amax((0, 1, 3)))


def run_onnx(path: Path, probes: Probes, batch_size: int = 1) -> tuple[Outputs, Latency]:
    """Return what an ONNX policy returns at the probes, ``batch_size`` per call, and the latency of a call."""
    session, count = open_session(path), len(probes.obs)
    names = ["actions", *STATE_OUTPUTS[: 0 if probes.state is None else len(probes.state)]]
    # the last batch wraps around to the first probes
    batches = (torch.arange(-(-count // batch_size) * batch_size) % count).split(batch_size)
    actions, states, seconds = [], [], []
    for i, rows in enumerate([batches[0]] * WARM_UP + list(batches)):
        inputs = {name: value.numpy() for name, value in probes.inputs(rows).items()}
        begin = time.perf_counter()
        action, *state = session.run(names, inputs)
        if i >= WARM_UP:
            seconds.append(time.perf_counter() - begin)
            actions.append(torch.as_tensor(action))
            states.append(torch.stack([torch.as_tensor(part) for part in state]) if state else None)
    return _outputs(actions, states, count), Latency.from_seconds(seconds)


@torch.no_grad()
def run_torchscript(path: Path, probes: Probes, policy: DeployedForm) -> Outputs:
    """Return what a TorchScript file of a policy returns at the probes, one at a time."""
    scripted = torch.jit.load(path)
    scripted.reset()
    actions, states = [], []
    for row in torch.arange(len(probes.obs)).split(1):
        images = {name: values[row] for name, values in probes.images.items()}
        if probes.state is not None:
            scripted.state.copy_(probes.state[:, :, row])
        actions.append(scripted(*inputs_of(policy, probes.obs[row], images)))
        states.append(None if probes.state is None else scripted.state.clone())
    return _outputs(actions, states, len(probes.obs))


def _outputs(actions: Sequence[Tensor], states: Sequence[Tensor | None], count: int) -> Outputs:
    kept = [state for state in states if state is not None]
    return Outputs(torch.cat(list(actions))[:count], torch.cat(kept, dim=2)[:, :, :count] if kept else None)


def differences(actions: Tensor, reference: Tensor, policy: InferencePolicy) -> Tensor:
    """Return the largest difference over dimensions between two sets of actions ``[B, A]``, ``[B]``.

    The unit of a dimension is its largest possible action, ``max(|low|, |high|)``, so that float32 rounding weighs the
    same for radians and newtons. Without bounds the unit is the action itself, but at least 1.
    """
    unit = policy.action_scale + policy.action_offset.abs() if policy.bounded else reference.abs().clamp(min=1.0)
    return ((actions - reference).abs() / unit).amax(-1)


def require_equal(name: str, found: Tensor, precision: Precision = "fp32") -> float:
    """Return the largest difference of a file, after checking its differences ``[B]`` against the tolerance.

    Raises:
        ExportError: If a float32 difference is above :data:`TOLERANCE`, or in fewer bits their median is above
            :data:`MEDIAN_TOLERANCES` or one is NaN. Names the file, the difference and the library versions.
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
        advice = f"This is the median over observations; the policy is too sensitive for {precision}. Export fp32."
    # negated, so that NaN fails
    if not (deciding <= allowed and largest < float("inf")):
        raise ExportError(
            f"{name} differs from PyTorch by {deciding:.1e} of the largest action (allowed: {allowed:.0e}), so nothing "
            f"was written. {advice}"
        )
    return largest
