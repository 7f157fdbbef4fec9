# SPDX-License-Identifier: BSD-3-Clause
"""Comparing what Isaac Lab exported with the policy in the checkpoint."""

from __future__ import annotations

from pathlib import Path

from trudi_rsl.checkpoints.rebuild import load_deployable
from trudi_rsl.deploy.parity import TOLERANCE, differences, draw_probes, run_onnx, run_torchscript
from trudi_rsl.policies import ChainOptions


def check_exports_act_as(checkpoint: Path) -> None:
    """Check that the exported files beside a checkpoint give its actions, one environment at a time.

    Raises:
        AssertionError: A file gives other actions.
    """
    policy, _spec = load_deployable(checkpoint)
    deployable = policy.deployable()
    probes = draw_probes(policy, deployable, ChainOptions())
    exported = checkpoint.parent / "exported"
    onnx_actions, _milliseconds = run_onnx(exported / "policy.onnx", probes)
    for actions in (onnx_actions, run_torchscript(exported / "policy.pt", probes)):
        assert actions.shape == probes.actions.shape
        assert differences(actions, probes.actions, deployable).max() < TOLERANCE
