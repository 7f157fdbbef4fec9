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

from tests.deploy.drift import LARGEST_ACTION, difference, make_trained, onnx_actions, scaled
from trudi_rsl.deploy import ExportError, ExportOptions, ExportReport, export_checkpoint, export_policy, parity
from trudi_rsl.policies import ActorCritic, ChainOptions, DiffusionActorCritic, GaussianActorCritic
from trudi_rsl.runners import OnPolicyRunner

pytestmark = pytest.mark.slow

SEEDED = ExportOptions(ChainOptions(seed=5))


@pytest.fixture(scope="module")
def report(actor_critic: DiffusionActorCritic, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    return export_policy(actor_critic, tmp_path_factory.mktemp("exported"), metadata={"task": "Drift-v0"})


@pytest.fixture(scope="module")
def gaussian_runner() -> OnPolicyRunner:
    return make_trained(OnPolicyRunner, actor="gaussian")


@pytest.fixture(scope="module")
def gaussian(gaussian_runner: OnPolicyRunner) -> GaussianActorCritic:
    policy = gaussian_runner.alg.get_policy()
    assert isinstance(policy, GaussianActorCritic)
    return policy


def assert_both_files_give(report: ExportReport, raw: Tensor, expected: Tensor) -> None:
    assert difference(onnx_actions(report.onnx, raw), expected) < parity.TOLERANCE
    policy = torch.jit.load(report.torchscript)
    policy.reset()
    assert difference(torch.cat([policy(row[None]) for row in raw]).detach(), expected) < parity.TOLERANCE


def metadata_of(file: Path) -> dict[str, str]:
    return onnxruntime.InferenceSession(file).get_modelmeta().custom_metadata_map


@torch.no_grad()
def plain_actions(policy: ActorCritic, raw: Tensor, x0: Tensor) -> Tensor:
    """Normalise, solve the ODE and scale by hand."""
    normalizer = policy.actor_obs.normalizer
    assert isinstance(normalizer, EmpiricalNormalization)
    normalized = (raw - normalizer.mean) / (normalizer.std + normalizer.eps)
    if isinstance(policy, GaussianActorCritic):
        return scaled(policy.actor(normalized).mean.tanh())
    return scaled(policy.actor.ode_path(normalized, start=x0.expand(len(raw), -1))[-1].tanh())


def test_both_files_contain_normaliser_policy_and_action_bounds(
    report: ExportReport, actor_critic: DiffusionActorCritic, raw: Tensor, expected: Tensor, tmp_path: Path
) -> None:
    assert ((expected / LARGEST_ACTION).std(0) > 0.05).all(), "the policy must use its observations"
    assert_both_files_give(report, raw, expected)
    assert_both_files_give(report, raw, plain_actions(actor_critic, raw, torch.zeros(1, 3)))
    assert sorted(p.name for p in report.onnx.parent.iterdir()) == ["policy.onnx", "policy.pt"]
    alone = shutil.copy(report.onnx, tmp_path / "robot.onnx")
    assert difference(onnx_actions(Path(alone), raw), expected) < parity.TOLERANCE


def test_a_gaussians_checkpoint_exports_its_squashed_mean(
    gaussian_runner: OnPolicyRunner, gaussian: GaussianActorCritic, raw: Tensor, tmp_path: Path
) -> None:
    gaussian_runner.save(str(tmp_path / "model_2.pt"))
    report = export_checkpoint(tmp_path / "model_2.pt")
    expected = plain_actions(gaussian, raw, torch.zeros(1, 3))
    assert ((expected / LARGEST_ACTION).std(0) > 0.05).all(), "the policy must use its observations"
    assert_both_files_give(report, raw, expected)
    assert metadata_of(report.onnx)["algorithm"] == "REPPO"
    assert "num_denoise_steps" not in metadata_of(report.onnx)


def test_a_state_encoder_is_exported_with_its_policy(obs: TensorDict, raw: Tensor, tmp_path: Path) -> None:
    policy = make_trained(OnPolicyRunner, state_encoder_dims=[24, 16], actor_hidden_dims=[8, 8]).alg.get_policy()
    assert_both_files_give(export_policy(policy, tmp_path), raw, policy(obs).detach())


def test_the_reported_differences_come_from_the_files(report: ExportReport, actor_critic: DiffusionActorCritic) -> None:
    assert 0.0 <= report.onnx_difference <= parity.TOLERANCE
    assert 0.0 <= report.torchscript_difference <= parity.TOLERANCE
    assert 0.0 < report.latency_ms.p50 <= report.latency_ms.p99
    # measured against another policy, the same files differ
    other = copy.deepcopy(actor_critic)
    other.actor.score_network.output_layer.bias.data.add_(0.5)
    policy = other.deployable()
    probes = parity.draw_probes(other, policy, ChainOptions())
    for outputs in (
        parity.run_onnx(report.onnx, probes)[0],
        parity.run_torchscript(report.torchscript, probes, policy),
    ):
        assert outputs.differences(probes, policy).max() > 1e-3


def test_differences_weigh_each_dimension_by_its_largest_action(actor_critic: DiffusionActorCritic) -> None:
    actions = torch.tensor([[0.5, 10.0, 0.25], [0.5, 10.0, 0.25]])
    moved = actions + torch.tensor([[1e-3, 0.0, 0.0], [0.0, 0.3, 0.001]])
    found = parity.differences(moved, actions, actor_critic.deployable())
    torch.testing.assert_close(found, torch.tensor([1e-3, 1e-2]), rtol=1e-3, atol=0.0)


def test_probes_cover_what_the_normaliser_has_seen_and_far_beyond(actor_critic: DiffusionActorCritic) -> None:
    probes = parity.draw_probes(actor_critic, actor_critic.deployable(), ChainOptions()).obs
    distance = actor_critic.actor_obs.normalize(probes).abs()
    assert len(probes) > 300
    assert (distance < 3.0).all(1).float().mean() > 0.3
    assert (distance > 20.0).any(1).float().mean() > 0.2


def test_a_sharp_policy_is_compared_only_where_float32_determines_its_action(
    actor_critic: DiffusionActorCritic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sharp = copy.deepcopy(actor_critic)
    sharp.actor.score_network.output_layer.weight.data.mul_(32.0)
    probes = parity.draw_probes(sharp, sharp.deployable(), ChainOptions()).obs
    assert parity.MIN_COMPARABLE <= len(probes) < parity.NUM_PROBES
    assert export_policy(sharp, tmp_path / "sharp").onnx_difference <= parity.TOLERANCE
    monkeypatch.setattr(parity, "MIN_COMPARABLE", parity.NUM_PROBES)
    with pytest.raises(ExportError, match="float32 rounding"):
        export_policy(sharp, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_onnx_interface_is_obs_to_actions_with_batch_one_and_metadata_for_a_robot(report: ExportReport) -> None:
    session = onnxruntime.InferenceSession(report.onnx)
    assert [(i.name, i.shape) for i in session.get_inputs()] == [("obs", [1, 9])]
    assert [(o.name, o.shape) for o in session.get_outputs()] == [("actions", [1, 3])]
    assert {o.domain: o.version for o in onnx.load(report.onnx).opset_import} == {"": 18}
    found = metadata_of(report.onnx)
    assert found["task"] == "Drift-v0"
    assert json.loads(found["obs_groups"]) == ["joints", "base"]
    assert (found["num_denoise_steps"], found["score_scale"]) == ("8", "1.0")
    # no path of the exporting machine
    assert str(Path(parity.__file__).parents[1]).encode() not in report.onnx.read_bytes()


def test_weights_are_stored_once_for_all_steps_and_onnxruntime_fuses_every_gelu(
    report: ExportReport, actor_critic: DiffusionActorCritic, tmp_path: Path
) -> None:
    actor = actor_critic.actor
    values = sum(torch.Size(i.dims).numel() for i in onnx.load(report.onnx).graph.initializer)
    assert values < 1.1 * sum(p.numel() for p in actor.parameters())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(report.onnx, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert "Erf" not in kinds
    each_step = sum(isinstance(module, torch.nn.GELU) for module in actor.score_network.trunk.modules())
    assert sum("Gelu" in kind for kind in kinds) == actor.num_steps * each_step > 0


def test_score_scale_and_seed_change_the_export_as_they_change_the_policy(
    actor_critic: DiffusionActorCritic, obs: TensorDict, raw: Tensor, expected: Tensor, tmp_path: Path
) -> None:
    half = actor_critic.act(obs, "ode", score_scale=0.5, initial_latent="zeros").detach()
    seeded = plain_actions(actor_critic, raw, 2.5 * torch.randn(1, 3, generator=torch.Generator().manual_seed(5)))
    for options, changed in ((ExportOptions(ChainOptions(score_scale=0.5)), half), (SEEDED, seeded)):
        assert_both_files_give(export_policy(actor_critic, tmp_path, options, overwrite=True), raw, changed)
        assert difference(changed, expected) > 0.01


def test_a_policy_without_normaliser_exports(actor_critic: DiffusionActorCritic, raw: Tensor, tmp_path: Path) -> None:
    plain = copy.deepcopy(actor_critic)
    plain.actor_obs.normalizer = torch.nn.Identity()
    small = raw / 30.0
    expected = plain(TensorDict({"joints": small[:, :5], "base": small[:, 5:]}, batch_size=[len(raw)])).detach()
    assert_both_files_give(export_policy(plain, tmp_path), small, expected)


def test_exporting_does_not_change_the_policy(actor_critic: DiffusionActorCritic, tmp_path: Path) -> None:
    mine = copy.deepcopy(actor_critic).train()
    export_policy(mine, tmp_path)
    assert mine.training
    assert all(p.requires_grad for p in mine.actor.parameters())
    torch.testing.assert_close(dict(mine.state_dict()), dict(actor_critic.state_dict()), rtol=0, atol=0)


def test_an_earlier_export_is_replaced_only_with_overwrite(actor_critic: DiffusionActorCritic, tmp_path: Path) -> None:
    report = export_policy(actor_critic, tmp_path, ExportOptions(latent_input=True))
    first = report.onnx.read_bytes()
    with pytest.raises(ExportError, match=r"policy.onnx and .*policy.pt .*--overwrite"):
        export_policy(actor_critic, tmp_path, SEEDED)
    assert report.onnx.read_bytes() == first
    export_policy(actor_critic, tmp_path, SEEDED, overwrite=True)
    assert report.onnx.read_bytes() != first
    # policy_latent.onnx of the replaced policy is gone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.onnx", "policy.pt"]


def test_an_unfaithful_export_leaves_nothing_and_keeps_the_earlier_one(
    actor_critic: DiffusionActorCritic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = export_policy(actor_critic, tmp_path / "old")
    before = {p.name: p.read_bytes() for p in (tmp_path / "old").iterdir()}
    monkeypatch.setattr(parity, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match=r"policy\.onnx differs from PyTorch"):
        export_policy(actor_critic, tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(ExportError, match="differs"):
        export_policy(actor_critic, report.onnx.parent, SEEDED, overwrite=True)
    assert {p.name: p.read_bytes() for p in (tmp_path / "old").iterdir()} == before


@pytest.mark.parametrize("kind", ["diffusion", "gaussian"])
def test_a_damaged_policy_is_not_exported(
    actor_critic: DiffusionActorCritic, gaussian: GaussianActorCritic, tmp_path: Path, kind: str
) -> None:
    damaged = copy.deepcopy(actor_critic if kind == "diffusion" else gaussian)
    damaged.actor.output_layer.bias.data[1] = float("nan")
    with pytest.raises(ExportError, match="nan"):
        parity.require_equal("policy.onnx", torch.tensor([0.0, float("nan"), 0.0]))
    with pytest.raises(ExportError, match="NaN"):
        export_policy(damaged, tmp_path / "new")
    assert not (tmp_path / "new").exists()
