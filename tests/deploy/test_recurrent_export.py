# SPDX-License-Identifier: BSD-3-Clause
"""Exports of policies that remember, over an episode and the start of the next one."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from tests.properties.small_env import iteration
from tests.rsl_rl.memory_env import GRU, LSTM, NUM_STEPS, MemoryEnv, build
from trudi_rsl.algorithms import TruDi
from trudi_rsl.checkpoints.file import write_checkpoint
from trudi_rsl.deploy import ContractError, ExportOptions, Policy, export_checkpoint
from trudi_rsl.deploy.contract import Contract
from trudi_rsl.deploy.latency import measure
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE

pytestmark = pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3 has no RNNModel")

RESET_AT = 4
LIKE: dict[str, Any] = {"rtol": 1e-4, "atol": 1e-4}


def export(folder: Path, section: Any) -> tuple[TruDi, Any]:
    """Return TruDi after an iteration, with controls of order 1, and its export."""
    trudi = build(actor=section)
    iteration(trudi, MemoryEnv(), NUM_STEPS)
    torch.nn.init.normal_(trudi.actor_critic.actor.output_layer.weight)
    trudi.eval_mode()
    write_checkpoint({**trudi.save(), "iter": 0}, folder / "model_0.pt")
    return trudi, export_checkpoint(folder / "model_0.pt")


@pytest.fixture(scope="module", params=[GRU, LSTM], ids=["gru", "lstm"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[TruDi, Any]:
    return export(tmp_path_factory.mktemp("exported"), request.param)


def test_every_exported_form_acts_as_the_policy_does_over_an_episode_and_a_reset(exported: tuple[TruDi, Any]) -> None:
    trudi, report = exported
    assert report.onnx_difference < 1e-5 and report.torchscript_difference < 1e-5
    policy, scripted, runtime = (
        copy.deepcopy(trudi.actor_critic),
        torch.jit.load(report.torchscript),
        Policy(report.onnx),
    )
    session = onnxruntime.InferenceSession(report.onnx)
    states = {node.name: np.zeros(node.shape, np.float32) for node in session.get_inputs()[1:]}
    observations = [MemoryEnv().get_observations()[:1] for _ in range(RESET_AT)]
    first: list[torch.Tensor] = []
    for step, obs in enumerate([*observations, *observations]):
        if step == RESET_AT:
            policy.reset(torch.ones(1))
            scripted.reset()
            runtime.reset()
            states = {name: np.zeros_like(value) for name, value in states.items()}
        with torch.no_grad():
            expected = policy(obs)
        torch.testing.assert_close(scripted(obs["policy"]), expected, **LIKE)
        np.testing.assert_allclose(runtime(obs["policy"][0].numpy()), expected[0], **LIKE)
        action, *after = map(np.asarray, session.run(None, {"obs": obs["policy"].numpy(), **states}))
        np.testing.assert_allclose(action, expected, **LIKE)
        states = dict(zip(states, after, strict=True))
        first.append(expected)
    assert all(torch.equal(a, b) for a, b in zip(first[:RESET_AT], first[RESET_AT:], strict=True))
    with torch.no_grad():
        policy.reset()
        assert not torch.allclose(policy(observations[1]), first[1]), (
            "the second action depends on the first observation"
        )


def test_exporters_of_rsl_rl_get_the_inputs_of_its_own_recurrent_model(exported: tuple[TruDi, Any]) -> None:
    from rsl_rl.models import RNNModel

    trudi = exported[0]
    section = trudi.cfg.actor_encoder or {}
    obs = MemoryEnv().get_observations()
    options = {name: value for name, value in section.items() if name != "class_name"}
    stock: Any = RNNModel(obs, {"actor": ["policy"]}, "actor", 2, hidden_dims=[4], **options).as_onnx(verbose=False)
    model: Any = trudi.actor_critic.as_onnx()
    assert (model.input_names, model.output_names) == (stock.input_names, stock.output_names)
    assert [x.shape for x in model.get_dummy_inputs()] == [x.shape for x in stock.get_dummy_inputs()]
    torch.jit.script(trudi.actor_critic.as_jit())


def test_an_unusable_observation_does_not_change_the_memory(exported: tuple[TruDi, Any]) -> None:
    first, second = (np.full(3, value, np.float32) for value in (1.0, -2.0))
    disturbed, undisturbed = Policy(exported[1].onnx), Policy(exported[1].onnx)
    disturbed(first)
    undisturbed(first)
    with pytest.warns(RuntimeWarning, match="NaN or infinity"):
        disturbed(np.full(3, np.nan, np.float32))
    assert np.array_equal(disturbed(second), undisturbed(second))
    assert disturbed.latency_ms(10).p50 > 0.0
    assert len(measure([exported[1].onnx, exported[1].torchscript], num_calls=100)) == 2


def test_a_memory_that_no_file_can_have_is_refused(exported: tuple[TruDi, Any]) -> None:
    metadata = {"obs_dims": {"policy": 3}, "memory": {"parts": 3, "num_layers": 1, "hidden_dim": 4}}
    with pytest.raises(ContractError, match="a memory of 3 parts"):
        Contract.from_metadata(metadata)


def test_several_robots_per_call_have_a_state_each(exported: tuple[TruDi, Any]) -> None:
    model: Any = exported[0].actor_critic.as_onnx()
    obs, *states = (torch.randn_like(x) for x in model.get_dummy_inputs(3))
    together = model(obs, *states)
    alone = [model(obs[i : i + 1], *(state[:, i : i + 1] for state in states)) for i in range(3)]
    torch.testing.assert_close(together[0], torch.cat([actions for actions, *_ in alone]), **LIKE)
    torch.testing.assert_close(together[1], torch.cat([after for _, after, *_ in alone], dim=1))


def test_an_initial_latent_as_an_input_is_refused(tmp_path: Path) -> None:
    write_checkpoint({**build().save(), "iter": 0}, tmp_path / "model_0.pt")
    with pytest.raises(ValueError, match="initial latent of a policy that remembers"):
        export_checkpoint(tmp_path / "model_0.pt", options=ExportOptions(latent_input=True))
