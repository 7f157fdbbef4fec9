# SPDX-License-Identifier: BSD-3-Clause
"""Exporting a policy as ONNX and TorchScript, each checked against PyTorch before it is kept."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trudi_rsl import __version__
from trudi_rsl.algorithms.checkpoint import load_deployable
from trudi_rsl.deploy.onnx_file import add_metadata, write_onnx
from trudi_rsl.deploy.parity import (
    NUM_PROBES,
    ExportError,
    differences,
    draw_probes,
    require_equal,
    run_onnx,
    run_torchscript,
)
from trudi_rsl.evaluation.provenance import commit, versions
from trudi_rsl.modules import DeployablePolicy, InferencePolicy
from trudi_rsl.rsl_rl_compat.moved import EmpiricalNormalization

ONNX_NAME = "policy.onnx"
TORCHSCRIPT_NAME = "policy.pt"


@dataclass(frozen=True)
class ExportReport:
    """What was written and how it compares with PyTorch; differences as in ``parity.differences``."""

    onnx: Path
    torchscript: Path
    onnx_difference: float
    torchscript_difference: float
    num_probes: int
    """Observations drawn to compare at."""
    num_compared: int
    """Those compared at; ``parity.draw_probes`` tells which are left out."""
    latency_ms: float
    """Median time of one action in onnxruntime on one CPU thread, measured during the comparison."""


def export_policy(
    original: DeployablePolicy,
    directory: str | Path,
    *,
    score_scale: float = 1.0,
    seed: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Write ``policy.onnx`` and ``policy.pt``: raw ``obs [1, O]`` in, simulator ``actions [1, A]`` out.

    Both hold the observation normaliser, the unrolled chain or a Gaussian's mean, and the action scaling, and are
    deterministic. The observation is the concatenation of the actor's groups, in the order of the metadata's
    ``obs_groups``. Files appear under their names only after they were loaded again and gave PyTorch's actions.

    Args:
        original: The policy; left as it is.
        directory: Where to write; made if missing.
        score_scale: Score scale ``c`` of the ODE, above 0; a Gaussian has 1 only.
        seed: Seed of the fixed initial latent; None starts at zeros. A Gaussian has None only.
        metadata: Further entries for the ONNX metadata.
        overwrite: Replace files of these names.

    Raises:
        ExportError: If a file exists already, or an exported policy differs from PyTorch.
        ValueError: If an option is out of range.
    """
    directory = Path(directory)
    onnx_target, torchscript_target = directory / ONNX_NAME, directory / TORCHSCRIPT_NAME
    existing = [str(path) for path in (onnx_target, torchscript_target) if path.exists()]
    if existing and not overwrite:
        raise ExportError(
            f"{' and '.join(existing)} exist already and were kept. Choose another folder (--output), or pass "
            "overwrite=True (--overwrite)."
        )
    # float32 on the CPU is what deployed runtimes compute in; a GPU may multiply in TF32
    frozen = copy.deepcopy(original).cpu().eval()
    policy = frozen.deployable(score_scale, seed)
    obs, expected = draw_probes(frozen, policy, score_scale)

    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=directory) as temporary:
        onnx_file, torchscript_file = Path(temporary) / ONNX_NAME, Path(temporary) / TORCHSCRIPT_NAME
        own = {"trudi_rsl_version": __version__, "obs_groups": frozen.actor_obs.groups, **_statistics(policy, frozen)}
        write_onnx(policy, onnx_file, {**own, **frozen.describe(score_scale, seed), **(metadata or {})})
        torch.jit.script(policy).save(str(torchscript_file))
        actions, (latency_ms, p99_ms) = run_onnx(onnx_file, obs)
        onnx_difference = differences(actions, expected, policy).max().item()
        torchscript_difference = differences(run_torchscript(torchscript_file, obs), expected, policy).max().item()
        for name, difference in ((ONNX_NAME, onnx_difference), (TORCHSCRIPT_NAME, torchscript_difference)):
            require_equal(name, difference)
        measured = {"parity_error": onnx_difference, "latency_ms_p50": latency_ms, "latency_ms_p99": p99_ms}
        add_metadata(onnx_file, {**measured, "versions": versions(), "commit": commit() or ""})
        onnx_file.replace(onnx_target)
        torchscript_file.replace(torchscript_target)
    return ExportReport(
        onnx_target, torchscript_target, onnx_difference, torchscript_difference, NUM_PROBES, len(obs), latency_ms
    )


def _statistics(policy: InferencePolicy, original: DeployablePolicy) -> dict[str, list[float]]:
    """Return mean and standard deviation of the observations in training, as the normaliser takes them."""
    if not isinstance(original.actor_obs.normalizer, EmpiricalNormalization):
        return {}
    mean, std = policy.obs_mean.flatten(), 1.0 / policy.obs_inverse_std.flatten()
    return {"obs_mean": mean.tolist(), "obs_std": std.tolist()}


def export_checkpoint(
    checkpoint: str | Path,
    directory: str | Path | None = None,
    *,
    score_scale: float = 1.0,
    seed: int | None = None,
    overwrite: bool = False,
) -> ExportReport:
    """Export the policy of a checkpoint, which is all that is needed: no simulator, no configuration.

    Args:
        checkpoint: A ``model_*.pt`` of any algorithm, of PPO one that this package's runner wrote.
        directory: Where to write; None is ``exported/`` beside the checkpoint, as in Isaac Lab.
        score_scale: As in :func:`export_policy`, like the following.
        seed: Seed of the fixed initial latent.
        overwrite: Replace an earlier export.

    Raises:
        CheckpointError: If the file does not exist or does not tell its policy.
        ExportError: As in :func:`export_policy`.
        ValueError: As in :func:`export_policy`.
    """
    policy, metadata = load_deployable(checkpoint)
    return export_policy(
        policy,
        Path(checkpoint).parent / "exported" if directory is None else directory,
        score_scale=score_scale,
        seed=seed,
        metadata=metadata,
        overwrite=overwrite,
    )
