# SPDX-License-Identifier: BSD-3-Clause
"""Exporting a policy as ONNX and TorchScript, each verified against PyTorch before it is kept."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trudi_rsl import __version__
from trudi_rsl.checkpoints.rebuild import load_deployable
from trudi_rsl.choices import PRECISIONS, Precision
from trudi_rsl.deploy import parity
from trudi_rsl.deploy.contract import Contract, ContractError, as_numbers
from trudi_rsl.deploy.deploy_yaml import deploy_yaml
from trudi_rsl.deploy.onnx_file import add_metadata, reduce_precision, write_onnx
from trudi_rsl.deploy.provenance import commit, versions
from trudi_rsl.deploy.runtime import Latency
from trudi_rsl.errors import nearest
from trudi_rsl.files import require_inside
from trudi_rsl.policies import ChainInferencePolicy, ChainOptions, DeployablePolicy, LatentInputPolicy
from trudi_rsl.policies.encoded import DeployedForm, RecurrentInferencePolicy, deployed, head_of, onnx_form

ONNX_NAME = "policy.onnx"
TORCHSCRIPT_NAME = "policy.pt"
LATENT_NAME = "policy_latent.onnx"
YAML_NAME = "deploy.yaml"
NAMES = (ONNX_NAME, TORCHSCRIPT_NAME, LATENT_NAME, YAML_NAME)
"""Files of an export, which are replaced together."""


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export; a ValueError if a value is out of range."""

    chain: ChainOptions = field(default_factory=ChainOptions)
    """How the chain runs; a Gaussian supports only the defaults."""
    precision: Precision = "fp32"
    """Precision of the ONNX files; the TorchScript file is always float32."""
    batch_size: int = 1
    """Observations per call, at least 1; 1 for a robot, more for a vectorised simulator."""
    latent_input: bool = False
    """Also write an ONNX file whose initial latent is an input, standard normal as in training."""

    def __post_init__(self) -> None:
        """Validate the values."""
        if self.precision not in PRECISIONS:
            raise ValueError(f"Unknown precision {self.precision!r}. {nearest(self.precision, PRECISIONS)}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}.")


@dataclass(frozen=True)
class ExportReport:
    """The written files and their differences from PyTorch, as measured by ``parity.differences``."""

    onnx: Path
    torchscript: Path
    latent_onnx: Path | None
    """File whose initial latent is an input, if requested."""
    deploy_yaml: Path | None
    """File for Unitree's runner; None if the policy's robot is not known."""
    onnx_difference: float
    """The larger one if there are two ONNX files."""
    torchscript_difference: float
    num_probes: int
    """Observations sampled for the comparison."""
    num_compared: int
    """Observations compared; ``parity.draw_probes`` documents which are skipped."""
    latency_ms: Latency
    """Time of a call in onnxruntime on one CPU thread, during the comparison."""
    warning: str | None
    """A warning if a call for one observation takes longer than the control period of training, else None."""


def export_checkpoint(
    checkpoint: str | Path,
    directory: str | Path | None = None,
    options: ExportOptions | None = None,
    *,
    overwrite: bool = False,
) -> ExportReport:
    """Export the policy of a checkpoint, without a simulator or configuration.

    Args:
        checkpoint: A ``model_*.pt`` of any algorithm; for PPO one written by this package's runner.
        directory: Output folder; None is ``exported/`` beside the checkpoint, as in Isaac Lab.
        options: As in :func:`export_policy`.
        overwrite: Replace an earlier export.

    Raises:
        CheckpointError: If the file does not exist or does not describe its policy.
        ExportError, ValueError: As in :func:`export_policy`.
    """
    policy, metadata = load_deployable(checkpoint)
    run = Path(checkpoint).parent
    if directory is None:
        require_inside(run / "exported", run)
    return export_policy(policy, directory or run / "exported", options, metadata=metadata, overwrite=overwrite)


def export_policy(
    original: DeployablePolicy,
    directory: str | Path,
    options: ExportOptions | None = None,
    *,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write ``policy.onnx`` and ``policy.pt``: raw ``obs [B, O]`` in, simulator ``actions [B, A]`` out.

    A policy that sees images takes them as further inputs ``[B, C, H, W]``, by the names of their groups in ONNX and as
    a list in TorchScript, which is what RSL-RL's ``CNNModel`` exports. A policy that remembers takes and returns its
    state ``h`` (and ``c``) ``[N, B, H]`` in ONNX and keeps it in TorchScript until ``reset()``, for one observation per
    call, which is what RSL-RL's ``RNNModel`` exports.

    Both contain the observation normaliser, the unrolled chain or a Gaussian's mean, and the action scaling, and are
    deterministic. The observation is the concatenation of the actor's groups, in the order of the metadata's
    ``obs_groups``. Files get their names only after they were loaded again and returned PyTorch's actions.

    Args:
        original: The policy, which is not changed.
        directory: Output folder; created if missing.
        options: None is one float32 observation per call, with all steps from zeros.
        metadata: Further entries for the ONNX metadata, including those that ``Contract`` reads; if they describe the
            robot, ``deploy.yaml`` is also written.
        overwrite: Replace an earlier export.

    Raises:
        ExportError: If a file exists already, or an exported policy differs from PyTorch.
        ValueError: If the policy does not support the options.
    """
    options, directory = options or ExportOptions(), Path(directory)
    existing = [directory / name for name in NAMES if (directory / name).exists()]
    if existing and not overwrite:
        raise parity.ExportExistsError(
            f"{' and '.join(map(str, existing))} exist already and were kept. Choose another folder (--output), or "
            "pass overwrite=True (--overwrite)."
        )
    # deployed runtimes compute in float32 on the CPU; a GPU may use TF32
    frozen = copy.deepcopy(original).cpu().eval()
    policy = deployed(frozen, options.chain)
    head = head_of(policy)
    if options.latent_input and not isinstance(head, ChainInferencePolicy):
        raise ValueError("A Gaussian policy has no chain, so no file can take its initial latent.")
    if options.latent_input and head is not policy:
        kind = "remembers" if isinstance(policy, RecurrentInferencePolicy) else "sees images"
        raise ValueError(f"No file can take the initial latent of a policy that {kind}.")
    entries = {
        "trudi_rsl_version": __version__,
        "obs_groups": frozen.actor_obs.groups,
        **frozen.describe(options.chain),
        "precision": options.precision,
    }
    if frozen.actor_obs.has_statistics:
        entries["obs_mean"] = head.obs_mean.flatten().tolist()
        entries["obs_std"] = (1.0 / head.obs_inverse_std.flatten()).tolist()
    if isinstance(policy, RecurrentInferencePolicy):
        num_parts, num_layers, _, width = policy.state.shape
        entries["memory"] = {"parts": num_parts, "num_layers": num_layers, "hidden_dim": width}
    entries |= metadata or {}
    # joint limits bound a policy without bounds of its own
    if "action_low" not in entries and entries.get("actions") and "obs_dims" in entries:
        contract = Contract.from_metadata(entries)
        if contract.action_low is not None and contract.action_high is not None:
            entries["action_low"], entries["action_high"] = map(as_numbers, (contract.action_low, contract.action_high))
    probes = parity.draw_probes(frozen, policy, options.chain)
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=directory) as temporary:
        folder = Path(temporary)
        onnx_difference, latency_ms = _write_verified(
            folder / ONNX_NAME, onnx_form(policy), policy, probes, entries, options
        )
        if isinstance(policy, ChainInferencePolicy) and options.latent_input:
            free = parity.draw_probes(frozen, policy, options.chain, latent_input=True)
            about = entries | {"initial_latent": "input"}
            model = LatentInputPolicy(policy)
            difference, _ = _write_verified(folder / LATENT_NAME, model, policy, free, about, options)
            onnx_difference = max(onnx_difference, difference)
        torch.jit.script(policy).save(str(folder / TORCHSCRIPT_NAME))
        found = parity.run_torchscript(folder / TORCHSCRIPT_NAME, probes, policy).differences(probes, head)
        torchscript_difference = parity.require_equal(TORCHSCRIPT_NAME, found)
        try:
            # its runner has inputs for observations alone
            if head is policy and (text := deploy_yaml(entries)) is not None:
                (folder / YAML_NAME).write_text(text)
        except ContractError as error:
            warnings.warn(f"{YAML_NAME} was not written: {error}.", stacklevel=2)
        written = {path.name: path.replace(directory / path.name) for path in folder.iterdir()}
    for path in existing:
        if path.name not in written:
            path.unlink()  # it belongs to the replaced policy
    period_s = entries.get("control_period_s") if options.batch_size == 1 else None
    warning = latency_ms.warning(None if period_s is None else 1e3 * period_s)
    return ExportReport(
        onnx=written[ONNX_NAME],
        torchscript=written[TORCHSCRIPT_NAME],
        latent_onnx=written.get(LATENT_NAME),
        deploy_yaml=written.get(YAML_NAME),
        onnx_difference=onnx_difference,
        torchscript_difference=torchscript_difference,
        num_probes=parity.NUM_PROBES,
        num_compared=len(probes.obs),
        latency_ms=latency_ms,
        warning=warning and f"{warning} Export fewer steps (--steps) or int8 (--precision).",
    )


def _write_verified(
    file: Path,
    model: nn.Module,
    policy: DeployedForm,
    probes: parity.Probes,
    metadata: Mapping[str, Any],
    options: ExportOptions,
) -> tuple[float, Latency]:
    """Write an ONNX file, run it, and return its largest difference and the latency of a call."""
    write_onnx(model, file, metadata, batch_size=options.batch_size)
    reduce_precision(file, options.precision)
    outputs, latency_ms = parity.run_onnx(file, probes, options.batch_size)
    found = outputs.differences(probes, head_of(policy))
    largest = parity.require_equal(file.name, found, options.precision)
    measured = {"parity_error": largest, "parity_error_median": found.median().item()}
    measured |= {"latency_ms_p50": latency_ms.p50, "latency_ms_p99": latency_ms.p99}
    add_metadata(file, {**measured, "versions": versions(), "commit": commit() or ""})
    return largest, latency_ms
