# SPDX-License-Identifier: BSD-3-Clause
"""The exported mean of a Gaussian policy is PyTorch's, normaliser and action bounds inside."""

from __future__ import annotations

import json
from pathlib import Path

import onnxruntime
import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from tests.deploy.drift import DriftEnv, difference, make_trained, onnx_actions
from trudi_rsl.deploy import ExportError, ExportOptions, export_checkpoint, export_policy, parity
from trudi_rsl.policies import ChainOptions, GaussianActorCritic
from trudi_rsl.runners import OnPolicyRunner


@pytest.fixture(scope="module")
def runner() -> OnPolicyRunner:
    return make_trained(OnPolicyRunner, actor="gaussian")


@pytest.fixture(scope="module")
def gaussian(runner: OnPolicyRunner) -> GaussianActorCritic:
    policy = runner.alg.get_policy()
    assert isinstance(policy, GaussianActorCritic)
    return policy


def test_both_files_of_a_checkpoint_act_by_the_squashed_mean(
    runner: OnPolicyRunner, gaussian: GaussianActorCritic, obs: TensorDict, raw: Tensor, tmp_path: Path
) -> None:
    runner.save(str(tmp_path / "model_2.pt"))
    report = export_checkpoint(tmp_path / "model_2.pt")
    low, high = DriftEnv.action_low, DriftEnv.action_high
    unit = gaussian.actor(gaussian.actor_obs(obs)).mean.tanh()
    expected = (low + (high - low) * (unit + 1.0) / 2.0).detach()
    assert (unit.std(0) > 0.05).all(), "the policy must use its observations"
    assert difference(onnx_actions(report.onnx, raw), expected) < parity.TOLERANCE
    scripted = torch.jit.load(report.torchscript)
    actions = torch.cat([scripted(row[None]) for row in raw]).detach()
    assert difference(actions, expected) < parity.TOLERANCE
    metadata = onnxruntime.InferenceSession(report.onnx).get_modelmeta().custom_metadata_map
    assert metadata["algorithm"] == "REPPO"
    assert json.loads(metadata["obs_groups"]) == ["joints", "base"]
    assert "num_denoise_steps" not in metadata


def test_rsl_rls_own_exporters_take_it(runner: OnPolicyRunner, obs: TensorDict, raw: Tensor, tmp_path: Path) -> None:
    runner.export_policy_to_onnx(str(tmp_path), "robot.onnx")
    runner.export_policy_to_jit(str(tmp_path), "robot.pt")
    expected = runner.alg.get_policy()(obs).detach()
    assert difference(onnx_actions(tmp_path / "robot.onnx", raw), expected) < parity.TOLERANCE
    assert difference(torch.jit.load(tmp_path / "robot.pt")(raw).detach(), expected) < parity.TOLERANCE


def test_options_of_the_ode_are_refused(gaussian: GaussianActorCritic, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no score scale, no steps and no initial latent"):
        export_policy(gaussian, tmp_path / "new", ExportOptions(ChainOptions(score_scale=0.5)))
    assert not (tmp_path / "new").exists()


def test_a_damaged_gaussian_is_not_exported(runner: OnPolicyRunner, tmp_path: Path) -> None:
    damaged = make_trained(OnPolicyRunner, actor="gaussian").alg.get_policy()
    damaged.actor.output_layer.bias.data[1] = float("nan")
    with pytest.raises(ExportError, match="NaN"):
        export_policy(damaged, tmp_path / "new")
