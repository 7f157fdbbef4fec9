# SPDX-License-Identifier: BSD-3-Clause
"""The options of an export determine its files: steps, precision, batch size and initial latent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from tests.deploy.drift import LARGEST_ACTION, METADATA, difference, make_trained, onnx_actions, scaled
from trudi_rsl.deploy import ContractError, ExportError, ExportOptions, Policy, export_policy, parity
from trudi_rsl.policies import ChainOptions, DiffusionActorCritic
from trudi_rsl.runners import OnPolicyRunner


@torch.no_grad()
def merged_by_hand(policy: DiffusionActorCritic, obs: TensorDict, firsts: list[int]) -> Tensor:
    """Take the steps of each group in one, with the control of its first."""
    actor, normalized = policy.actor, policy.actor_obs(obs)
    sizes, x = actor.step_sizes(), torch.zeros(len(normalized), 3)
    for first, end in zip(firsts, [*firsts[1:], 8], strict=True):
        control = actor.controls(normalized, x[None], torch.tensor([first]))[0]
        x = x + sizes[first:end].sum(0) * (control - x / actor.prior_std**2)
    return scaled(x.tanh())


@pytest.mark.parametrize(
    ("steps", "firsts"),
    [
        (1, [0]),
        pytest.param(2, [0, 4], marks=pytest.mark.nightly),
        (3, [0, 2, 5]),
        pytest.param(4, [0, 2, 4, 6], marks=pytest.mark.nightly),
        pytest.param(8, list(range(8)), marks=pytest.mark.nightly),
    ],
)
def test_fewer_steps_cover_the_same_time(
    actor_critic: DiffusionActorCritic, obs: TensorDict, raw: Tensor, tmp_path: Path, steps: int, firsts: list[int]
) -> None:
    report = export_policy(actor_critic, tmp_path, ExportOptions(ChainOptions(num_steps=steps)))
    expected = merged_by_hand(actor_critic, obs, firsts)
    assert difference(onnx_actions(report.onnx, raw), expected) < parity.TOLERANCE
    assert difference(torch.jit.load(report.torchscript)(raw).detach(), expected) < parity.TOLERANCE
    graph = onnx.load(report.onnx).graph
    # two hidden layers, an output and a latent's product per step, of which the first is of zeros; one for obs
    assert sum(node.op_type in ("Gemm", "MatMul") for node in graph.node) == 4 * steps


@pytest.mark.slow
def test_the_initial_latent_can_be_an_input(
    actor_critic: DiffusionActorCritic, obs: TensorDict, raw: Tensor, tmp_path: Path
) -> None:
    report = export_policy(actor_critic, tmp_path, ExportOptions(latent_input=True))
    assert report.latent_onnx is not None
    session = onnxruntime.InferenceSession(report.latent_onnx)
    assert [(node.name, node.shape) for node in session.get_inputs()] == [("obs", [1, 9]), ("latent", [1, 3])]
    latents = torch.randn(20, 3, generator=torch.Generator().manual_seed(3))
    actions = [
        torch.as_tensor(session.run(["actions"], {"obs": row[None], "latent": latent[None]})[0])
        for row, latent in zip(raw[:20].numpy(), latents.numpy(), strict=True)
    ]
    normalized = actor_critic.actor_obs(obs)[:20]
    expected = actor_critic.deterministic_actions(normalized, start=actor_critic.actor.prior_std * latents).detach()
    assert difference(torch.cat(actions), expected) < parity.TOLERANCE
    assert difference(expected, actor_critic.deterministic_actions(normalized).detach()) > 0.01
    assert session.get_modelmeta().custom_metadata_map["initial_latent"] == "input"


def test_a_policy_refuses_options_it_does_not_support(actor_critic: DiffusionActorCritic, tmp_path: Path) -> None:
    gaussian = make_trained(OnPolicyRunner, actor="gaussian").alg.get_policy()
    for policy, options, message in (
        (actor_critic, ExportOptions(ChainOptions(num_steps=9)), "num_steps is 9, .* 8 steps"),
        (gaussian, ExportOptions(latent_input=True), "initial latent"),
        (gaussian, ExportOptions(ChainOptions(score_scale=0.5)), "score_scale=0.5"),
    ):
        with pytest.raises(ValueError, match=message):
            export_policy(policy, tmp_path / "new", options)
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        *((lambda c=c: ChainOptions(c), "score_scale .* 0, got") for c in (0.0, -1.0, float("nan"))),
        (lambda: ChainOptions(num_steps=0), "num_steps .* 1, got 0"),
        (lambda: ExportOptions(precision="fp8"), "'fp8'"),  # type: ignore[arg-type]
        (lambda: ExportOptions(batch_size=0), "batch_size .* 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("batch_size", [7, pytest.param(1000, marks=pytest.mark.nightly)])
def test_a_file_for_many_observations_gives_each_its_action(
    actor_critic: DiffusionActorCritic, raw: Tensor, expected: Tensor, tmp_path: Path, batch_size: int
) -> None:
    report = export_policy(actor_critic, tmp_path, ExportOptions(batch_size=batch_size), metadata=METADATA)
    session = onnxruntime.InferenceSession(report.onnx)
    assert session.get_inputs()[0].shape == [batch_size, 9]
    rows = torch.arange(batch_size) % len(raw)
    (actions,) = session.run(["actions"], {"obs": raw[rows].numpy()})
    assert difference(torch.as_tensor(actions), expected[rows]) < parity.TOLERANCE
    with pytest.raises(ContractError, match=f"{batch_size} observations per call"):
        Policy(report.onnx)


@pytest.fixture(scope="module")
def wide() -> DiffusionActorCritic:
    """A policy whose layers are wide enough for 8 bits."""
    policy = make_trained(OnPolicyRunner, actor_hidden_dims=[128, 128, 128]).alg.get_policy()
    with torch.no_grad():
        policy.actor.output_layer.weight.mul_(0.2)
    return policy


@pytest.fixture(scope="module")
def whole(wide: DiffusionActorCritic, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of that policy in float32."""
    return export_policy(wide, tmp_path_factory.mktemp("fp32")).onnx


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "kind", "median"), [("fp16", "FLOAT16", 1e-2), ("int8", "INT8", 1e-1)])
def test_fewer_bits_make_a_smaller_file_of_about_the_same_policy(
    wide: DiffusionActorCritic,
    whole: Path,
    obs: TensorDict,
    raw: Tensor,
    tmp_path: Path,
    precision: Any,
    kind: str,
    median: float,
) -> None:
    report = export_policy(wide, tmp_path / precision, ExportOptions(precision=precision), metadata=METADATA)
    weights = [tensor for tensor in onnx.load(report.onnx).graph.initializer if list(tensor.dims) == [128, 128]]
    assert weights and all(tensor.data_type == onnx.TensorProto.DataType.Value(kind) for tensor in weights)
    assert report.onnx.stat().st_size < 0.75 * whole.stat().st_size
    errors = ((onnx_actions(report.onnx, raw) - wide(obs).detach()).abs() / LARGEST_ACTION).amax(-1)
    assert 1e-6 < errors.median() < median
    stored = json.loads(onnxruntime.InferenceSession(report.onnx).get_modelmeta().custom_metadata_map["parity_error"])
    assert stored == report.onnx_difference > 1e-5
    assert Policy(report.onnx)(raw[0].numpy()).dtype == np.float32


def test_a_policy_too_sensitive_for_few_bits_is_not_exported(
    wide: DiffusionActorCritic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parity.MEDIAN_TOLERANCES, "int8", 1e-9)
    with pytest.raises(ExportError, match="int8"):
        export_policy(wide, tmp_path, ExportOptions(precision="int8"))
    assert list(tmp_path.iterdir()) == []
