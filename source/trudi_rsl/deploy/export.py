# SPDX-License-Identifier: BSD-3-Clause
"""Exporting a policy as ONNX and TorchScript, each checked against PyTorch before it is kept."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trudi_rsl import __version__
from trudi_rsl.checkpoints.rebuild import load_deployable
from trudi_rsl.deploy.contract import Contract, ContractError, as_numbers
from trudi_rsl.deploy.deploy_yaml import deploy_yaml
from trudi_rsl.deploy.onnx_file import add_metadata, write_onnx
from trudi_rsl.deploy.options import ExportOptions
from trudi_rsl.deploy.parity import (
    NUM_PROBES,
    ExportError,
    Probes,
    differences,
    draw_probes,
    require_equal,
    run_onnx,
    run_torchscript,
)
from trudi_rsl.deploy.precision import reduce_precision
from trudi_rsl.evaluation.provenance import commit, versions
from trudi_rsl.files import require_inside
from trudi_rsl.policies import ChainInferencePolicy, DeployablePolicy, InferencePolicy, LatentInputPolicy

ONNX_NAME = "policy.onnx"
TORCHSCRIPT_NAME = "policy.pt"
LATENT_NAME = "policy_latent.onnx"
YAML_NAME = "deploy.yaml"
NAMES = (ONNX_NAME, TORCHSCRIPT_NAME, LATENT_NAME, YAML_NAME)
"""What an export may hold; an earlier export's are replaced together."""


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it compares with PyTorch; differences as in ``parity.differences``."""

    onnx: Path
    torchscript: Path
    latent_onnx: Path | None
    """The file whose chain starts at an input, if it was asked for."""
    deploy_yaml: Path | None
    """What Unitree's runner reads; None where the policy's robot is not known."""
    onnx_difference: float
    """The larger one, where there are two ONNX files."""
    torchscript_difference: float
    num_probes: int
    """Observations drawn to compare at."""
    num_compared: int
    """Those compared at; ``parity.draw_probes`` tells which are left out."""
    latency_ms: tuple[float, float]
    """Median and 99th percentile of the time of one call in onnxruntime on one CPU thread, during the comparison."""
    batch_size: int
    """Observations per call."""
    control_period_ms: float | None
    """Time from one action to the next in training; None where the metadata does not tell."""

    @property
    def warning(self) -> str | None:
        """What to tell of a policy that is too slow for its control period, None of another."""
        p99 = self.latency_ms[1]
        if self.batch_size > 1 or self.control_period_ms is None or p99 <= self.control_period_ms:
            return None
        return (
            f"One call in a hundred took {p99:.2f} ms or more here, longer than the control period of "
            f"{self.control_period_ms:.2f} ms. Export fewer steps (--steps) or int8 (--precision)."
        )


def export_policy(
    original: DeployablePolicy,
    directory: str | Path,
    options: ExportOptions | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write ``policy.onnx`` and ``policy.pt``: raw ``obs [B, O]`` in, simulator ``actions [B, A]`` out.

    Both hold the observation normaliser, the unrolled chain or a Gaussian's mean, and the action scaling, and are
    deterministic. The observation is the concatenation of the actor's groups, in the order of the metadata's
    ``obs_groups``. Files appear under their names only after they were loaded again and gave PyTorch's actions.

    Args:
        original: The policy; left as it is.
        directory: Where to write; made if missing.
        options: What to write; None is one observation per call, in float32, by the whole chain from zeros.
        metadata: Further entries for the ONNX metadata, among them what ``Contract`` reads; where they tell the robot,
            ``deploy.yaml`` is written too.
        overwrite: Replace files of these names.

    Raises:
        ExportError: If a file exists already, or an exported policy differs from PyTorch.
        ValueError: If the policy has no such options.
    """
    options, directory = options or ExportOptions(), Path(directory)
    existing = [directory / name for name in NAMES if (directory / name).exists()]
    if existing and not overwrite:
        raise ExportError(
            f"{' and '.join(map(str, existing))} exist already and were kept. Choose another folder (--output), or "
            "pass overwrite=True (--overwrite)."
        )
    # float32 on the CPU is what deployed runtimes compute in; a GPU may multiply in TF32
    frozen = copy.deepcopy(original).cpu().eval()
    policy = frozen.deployable(options.chain)
    if options.latent_input and not isinstance(policy, ChainInferencePolicy):
        raise ValueError("A Gaussian policy has no chain, so that no file can take its initial latent.")
    own = {"trudi_rsl_version": __version__, "obs_groups": frozen.actor_obs.groups, **_statistics(policy, frozen)}
    entries = {**own, **frozen.describe(options.chain), "precision": options.precision, **(metadata or {})}
    entries |= _joint_bounds(entries)
    probes = draw_probes(frozen, policy, options.chain)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=directory) as temporary:
        folder = Path(temporary)
        onnx_difference, latency_ms = _write_checked(folder / ONNX_NAME, policy, policy, probes, entries, options)
        if isinstance(policy, ChainInferencePolicy) and options.latent_input:
            free = draw_probes(frozen, policy, options.chain, latent_input=True)
            entries |= {"initial_latent": "input"}
            difference, _ = _write_checked(
                folder / LATENT_NAME, LatentInputPolicy(policy), policy, free, entries, options
            )
            onnx_difference = max(onnx_difference, difference)
        torch.jit.script(policy).save(str(folder / TORCHSCRIPT_NAME))
        scripted = differences(run_torchscript(folder / TORCHSCRIPT_NAME, probes), probes.actions, policy)
        torchscript_difference = require_equal(TORCHSCRIPT_NAME, scripted)
        try:
            if (text := deploy_yaml(entries)) is not None:
                (folder / YAML_NAME).write_text(text)
        except ContractError as error:
            warnings.warn(f"There is no {YAML_NAME}: {error}.", stacklevel=2)
        written = {path.name: path.replace(directory / path.name) for path in folder.iterdir()}
    for path in existing:
        if path.name not in written:
            path.unlink()  # it would go with another policy
    return ExportReport(
        written[ONNX_NAME],
        written[TORCHSCRIPT_NAME],
        written.get(LATENT_NAME),
        written.get(YAML_NAME),
        onnx_difference,
        torchscript_difference,
        NUM_PROBES,
        len(probes.obs),
        latency_ms,
        options.batch_size,
        None if (period_s := entries.get("control_period_s")) is None else 1e3 * period_s,
    )


def _write_checked(
    file: Path,
    model: nn.Module,
    policy: InferencePolicy,
    probes: Probes,
    metadata: Mapping[str, Any],
    options: ExportOptions,
) -> tuple[float, tuple[float, float]]:
    """Write an ONNX file, run it, and return its largest difference and two quantiles of the milliseconds of a call."""
    write_onnx(model, file, metadata, batch_size=options.batch_size)
    reduce_precision(file, options.precision)
    actions, latency_ms = run_onnx(file, probes, options.batch_size)
    found = differences(actions, probes.actions, policy)
    largest = require_equal(file.name, found, options.precision)
    measured = {"parity_error": largest, "parity_error_median": found.median().item()}
    measured |= {"latency_ms_p50": latency_ms[0], "latency_ms_p99": latency_ms[1]}
    add_metadata(file, {**measured, "versions": versions(), "commit": commit() or ""})
    return largest, latency_ms


def _joint_bounds(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the joints' limits as the bounds of a policy that has none of its own."""
    if "action_low" in entries or not entries.get("actions") or "obs_dims" not in entries:
        return {}
    contract = Contract.from_metadata(entries)
    if contract.action_low is None or contract.action_high is None:
        return {}
    return {"action_low": as_numbers(contract.action_low), "action_high": as_numbers(contract.action_high)}


def _statistics(policy: InferencePolicy, original: DeployablePolicy) -> dict[str, list[float]]:
    """Return mean and standard deviation of the observations in training, as the normaliser takes them."""
    if not original.actor_obs.has_statistics:
        return {}
    mean, std = policy.obs_mean.flatten(), 1.0 / policy.obs_inverse_std.flatten()
    return {"obs_mean": mean.tolist(), "obs_std": std.tolist()}


def export_checkpoint(
    checkpoint: str | Path,
    directory: str | Path | None = None,
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
) -> ExportReport:
    """Export the policy of a checkpoint, which is all that is needed: no simulator, no configuration.

    Args:
        checkpoint: A ``model_*.pt`` of any algorithm, of PPO one that this package's runner wrote.
        directory: Where to write; None is ``exported/`` beside the checkpoint, as in Isaac Lab.
        options: As in :func:`export_policy`.
        overwrite: Replace an earlier export.

    Raises:
        CheckpointError: If the file does not exist or does not tell its policy.
        ExportError: As in :func:`export_policy`.
        ValueError: As in :func:`export_policy`.
    """
    policy, metadata = load_deployable(checkpoint)
    folder = Path(checkpoint).parent / "exported" if directory is None else directory
    if directory is None:
        require_inside(Path(folder), Path(checkpoint).parent)
    return export_policy(policy, folder, options, metadata=metadata, overwrite=overwrite)
