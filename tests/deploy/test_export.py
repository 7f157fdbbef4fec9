# SPDX-License-Identifier: BSD-3-Clause
"""The exported policy is the trained one, in files that stand alone."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from rsl_rl.modules import EmpiricalNormalization
from tensordict import TensorDict
from torch import Tensor

from tests.deploy.drift import LARGEST_ACTION, DriftEnv, difference, make_trained, onnx_actions
from trudi_rsl.deploy import ExportError, ExportOptions, ExportReport, export_policy, parity
from trudi_rsl.policies import ChainOptions, DiffusionActorCritic
from trudi_rsl.runners import OnPolicyRunner

SEEDED = ExportOptions(ChainOptions(seed=5))


@pytest.fixture(scope="module")
def report(actor_critic: DiffusionActorCritic, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return export_policy(actor_critic, tmp_path_factory.mktemp("exported"), metadata={"task": "Drift-v0"})


def torchscript_actions(path: Path, raw: Tensor) -> Tensor:
    policy = torch.jit.load(path)
    return torch.cat([policy(row[None]) for row in raw]).detach()


@torch.no_grad()
def plain_actions(policy: DiffusionActorCritic, raw: Tensor, x0: Tensor) -> Tensor:
    """Normalise, solve the ODE and scale by hand."""
    normalizer = policy.actor_obs.normalizer
    assert isinstance(normalizer, EmpiricalNormalization)
    normalized = (raw - normalizer.mean) / (normalizer.std + normalizer.eps)
    unit = policy.actor.ode_path(normalized, start=x0.expand(len(raw), -1))[-1].tanh()
    low, high = DriftEnv.action_low, DriftEnv.action_high
    return low + (high - low) * (unit + 1.0) / 2.0


def test_the_policy_under_test_uses_its_observations(actor_critic: DiffusionActorCritic, obs: TensorDict) -> None:
    actions = actor_critic(obs).detach() / LARGEST_ACTION
    assert (actions.std(0) > 0.05).all()


def test_both_files_give_pytorchs_actions(
    report: ExportReport, actor_critic: DiffusionActorCritic, obs: TensorDict, raw: Tensor
) -> None:
    expected = actor_critic(obs).detach()
    assert difference(onnx_actions(report.onnx, raw), expected) < parity.TOLERANCE
    assert difference(torchscript_actions(report.torchscript, raw), expected) < parity.TOLERANCE


def test_a_state_encoder_is_exported_with_its_policy(obs: TensorDict, raw: Tensor, tmp_path: Path) -> None:
    runner = make_trained(OnPolicyRunner, state_encoder_dims=[24, 16], actor_hidden_dims=[8, 8])
    policy = runner.alg.get_policy()
    report = export_policy(policy, tmp_path, metadata={"task": "Drift-v0"})
    expected = policy(obs).detach()
    assert difference(onnx_actions(report.onnx, raw), expected) < parity.TOLERANCE
    assert difference(torchscript_actions(report.torchscript, raw), expected) < parity.TOLERANCE


def test_normaliser_and_action_bounds_are_inside(
    report: ExportReport, actor_critic: DiffusionActorCritic, raw: Tensor
) -> None:
    expected = plain_actions(actor_critic, raw, torch.zeros(1, 3))
    assert difference(onnx_actions(report.onnx, raw), expected) < parity.TOLERANCE
    assert difference(torchscript_actions(report.torchscript, raw), expected) < parity.TOLERANCE


def test_the_report_tells_the_real_differences(report: ExportReport, actor_critic: DiffusionActorCritic) -> None:
    assert 0.0 <= report.onnx_difference <= parity.TOLERANCE
    assert 0.0 <= report.torchscript_difference <= parity.TOLERANCE
    assert 0.0 < report.latency_ms[0] <= report.latency_ms[1]
    # measured against another policy, the same files differ
    other = copy.deepcopy(actor_critic)
    other.actor.score_network.output_layer.bias.data.add_(0.5)
    probes = parity.draw_probes(other, other.as_jit(), ChainOptions())
    assert parity.differences(parity.run_onnx(report.onnx, probes)[0], probes.actions, other.as_jit()).max() > 1e-3
    assert (
        parity.differences(parity.run_torchscript(report.torchscript, probes), probes.actions, other.as_jit()).max()
        > 1e-3
    )


def test_differences_weigh_each_dimension_by_its_largest_action(actor_critic: DiffusionActorCritic) -> None:
    actions = torch.tensor([[0.5, 10.0, 0.25], [0.5, 10.0, 0.25]])
    moved = actions + torch.tensor([[1e-3, 0.0, 0.0], [0.0, 0.3, 0.001]])
    torch.testing.assert_close(
        parity.differences(moved, actions, actor_critic.as_jit()), torch.tensor([1e-3, 1e-2]), rtol=1e-3, atol=0.0
    )


def test_probes_cover_what_the_normaliser_has_seen_and_far_beyond(actor_critic: DiffusionActorCritic) -> None:
    probes = parity.draw_probes(actor_critic, actor_critic.as_jit(), ChainOptions()).obs
    distance = actor_critic.actor_obs.normalize(probes).abs()
    assert len(probes) > 300
    assert (distance < 3.0).all(1).float().mean() > 0.3
    assert (distance > 20.0).any(1).float().mean() > 0.2


def test_a_sharp_policy_is_compared_where_float32_settles_its_action(
    actor_critic: DiffusionActorCritic, tmp_path: Path
) -> None:
    sharp = copy.deepcopy(actor_critic)
    sharp.actor.score_network.output_layer.weight.data.mul_(32.0)
    probes = parity.draw_probes(sharp, sharp.as_jit(), ChainOptions()).obs
    assert parity.MIN_COMPARABLE <= len(probes) < parity.NUM_PROBES
    assert export_policy(sharp, tmp_path).onnx_difference <= parity.TOLERANCE


def test_a_policy_that_hangs_on_rounding_is_not_exported(
    actor_critic: DiffusionActorCritic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharp = copy.deepcopy(actor_critic)
    sharp.actor.score_network.output_layer.weight.data.mul_(32.0)
    monkeypatch.setattr(parity, "MIN_COMPARABLE", parity.NUM_PROBES)
    with pytest.raises(ExportError, match="float32 rounding"):
        export_policy(sharp, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_onnx_file_stands_alone(
    report: ExportReport, actor_critic: DiffusionActorCritic, obs: TensorDict, raw: Tensor, tmp_path: Path
) -> None:
    assert sorted(p.name for p in report.onnx.parent.iterdir()) == ["policy.onnx", "policy.pt"]
    alone = tmp_path / "robot.onnx"
    shutil.copy(report.onnx, alone)
    assert difference(onnx_actions(alone, raw), actor_critic(obs).detach()) < parity.TOLERANCE


def test_onnx_interface_is_obs_to_actions_with_batch_one(report: ExportReport) -> None:
    session = onnxruntime.InferenceSession(report.onnx)
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("obs", [1, 9])]
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("actions", [1, 3])]
    assert {o.domain: o.version for o in onnx.load(report.onnx).opset_import} == {"": 18}


def test_weights_are_stored_once_for_all_denoising_steps(
    report: ExportReport, actor_critic: DiffusionActorCritic
) -> None:
    values = sum(torch.Size(i.dims).numel() for i in onnx.load(report.onnx).graph.initializer)
    assert values < 1.1 * sum(p.numel() for p in actor_critic.actor.parameters())


def test_onnx_holds_no_path_of_the_exporting_machine(report: ExportReport) -> None:
    assert str(Path(parity.__file__).parents[1]).encode() not in report.onnx.read_bytes()


def test_torchscript_has_reset(report: ExportReport, raw: Tensor) -> None:
    policy = torch.jit.load(report.torchscript)
    before = policy(raw[:1])
    policy.reset()
    assert torch.equal(policy(raw[:1]), before)


def test_metadata_names_what_a_robot_needs(report: ExportReport) -> None:
    found = onnxruntime.InferenceSession(report.onnx).get_modelmeta().custom_metadata_map
    assert found["task"] == "Drift-v0"
    assert json.loads(found["obs_groups"]) == ["joints", "base"]
    assert json.loads(found["num_denoise_steps"]) == 8
    assert json.loads(found["score_scale"]) == 1.0
    assert json.loads(found["action_low"]) == [-1.0, -20.0, 0.0]
    assert json.loads(found["action_high"]) == [1.0, 30.0, 0.5]


def test_score_scale_changes_the_export_as_it_changes_the_policy(
    report: ExportReport, actor_critic: DiffusionActorCritic, obs: TensorDict, raw: Tensor, tmp_path: Path
) -> None:
    half = export_policy(actor_critic, tmp_path, ExportOptions(ChainOptions(score_scale=0.5)))
    expected = actor_critic.act(obs, "ode", score_scale=0.5, initial_latent="zeros").detach()
    assert difference(onnx_actions(half.onnx, raw), expected) < parity.TOLERANCE
    assert difference(torchscript_actions(half.torchscript, raw), expected) < parity.TOLERANCE
    assert difference(expected, actor_critic(obs).detach()) > 0.01


def test_seed_fixes_the_initial_latent(
    actor_critic: DiffusionActorCritic, obs: TensorDict, raw: Tensor, tmp_path: Path
) -> None:
    seeded = export_policy(actor_critic, tmp_path, SEEDED)
    x0 = 2.5 * torch.randn(1, 3, generator=torch.Generator().manual_seed(5))
    expected = plain_actions(actor_critic, raw, x0)
    assert difference(onnx_actions(seeded.onnx, raw), expected) < parity.TOLERANCE
    assert difference(torchscript_actions(seeded.torchscript, raw), expected) < parity.TOLERANCE
    assert difference(expected, actor_critic(obs).detach()) > 0.01


def test_a_policy_without_normaliser_exports(actor_critic: DiffusionActorCritic, raw: Tensor, tmp_path: Path) -> None:
    plain = copy.deepcopy(actor_critic)
    plain.actor_obs.normalizer = torch.nn.Identity()
    report = export_policy(plain, tmp_path)
    small = raw / 30.0
    expected = plain(TensorDict({"joints": small[:, :5], "base": small[:, 5:]}, batch_size=[len(raw)])).detach()
    assert difference(onnx_actions(report.onnx, small), expected) < parity.TOLERANCE


def test_exporting_leaves_the_policy_as_it_was(actor_critic: DiffusionActorCritic, tmp_path: Path) -> None:
    mine = copy.deepcopy(actor_critic).train()
    export_policy(mine, tmp_path)
    assert mine.training
    assert all(p.requires_grad for p in mine.actor.parameters())
    assert all(
        torch.equal(a, b) for a, b in zip(mine.state_dict().values(), actor_critic.state_dict().values(), strict=True)
    )


def test_an_earlier_export_is_replaced_only_when_asked(actor_critic: DiffusionActorCritic, tmp_path: Path) -> None:
    report = export_policy(actor_critic, tmp_path)
    first = report.onnx.read_bytes()
    with pytest.raises(ExportError, match=r"policy.onnx and .*policy.pt exist already.*--overwrite"):
        export_policy(actor_critic, tmp_path, SEEDED)
    report.torchscript.unlink()
    with pytest.raises(ExportError, match=r"policy.onnx exist already"):
        export_policy(actor_critic, tmp_path, SEEDED)
    assert report.onnx.read_bytes() == first
    assert not report.torchscript.exists()
    export_policy(actor_critic, tmp_path, SEEDED, overwrite=True)
    assert report.onnx.read_bytes() != first


def test_an_unfaithful_export_leaves_nothing_and_keeps_the_earlier_one(
    actor_critic: DiffusionActorCritic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = export_policy(actor_critic, tmp_path / "old")
    before = {p.name: p.read_bytes() for p in (tmp_path / "old").iterdir()}
    monkeypatch.setattr(parity, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match=r"policy\.onnx differs from PyTorch by .* nothing was written"):
        export_policy(actor_critic, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(ExportError, match="differs"):
        export_policy(actor_critic, report.onnx.parent, SEEDED, overwrite=True)
    assert {p.name: p.read_bytes() for p in (tmp_path / "old").iterdir()} == before


def test_a_damaged_policy_is_not_exported(actor_critic: DiffusionActorCritic, tmp_path: Path) -> None:
    damaged = copy.deepcopy(actor_critic)
    damaged.actor.raw_friction.data[1] = float("nan")
    with pytest.raises(ExportError, match="NaN"):
        export_policy(damaged, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_difference_of_nan_is_refused() -> None:
    with pytest.raises(ExportError, match="nan"):
        parity.require_equal("policy.onnx", torch.tensor([0.0, float("nan"), 0.0]))


@pytest.mark.parametrize("score_scale", [0.0, -1.0, float("nan")])
def test_an_impossible_score_scale_is_refused(
    actor_critic: DiffusionActorCritic, tmp_path: Path, score_scale: float
) -> None:
    with pytest.raises(ValueError, match="score_scale must be above 0"):
        export_policy(actor_critic, tmp_path, ExportOptions(ChainOptions(score_scale)))


def test_onnxruntime_fuses_every_gelu(report: ExportReport, actor_critic: DiffusionActorCritic, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(report.onnx, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert "Erf" not in kinds
    actor = actor_critic.actor
    each_step = sum(isinstance(module, torch.nn.GELU) for module in actor.score_network.trunk.modules())
    assert sum("Gelu" in kind for kind in kinds) == actor.num_steps * each_step > 0
