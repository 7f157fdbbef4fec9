# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's own exporters, called on the stock runner, export TruDi; and `write_onnx` exports RSL-RL's models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rsl_rl.runners import OnPolicyRunner as StockRunner
from tensordict import TensorDict
from torch import Tensor

from tests.deploy.drift import DriftEnv, difference, make_trained, onnx_actions, ppo_cfg, runner_cfg
from trudi_rsl.checkpoints.rebuild import load_deployable
from trudi_rsl.deploy import parity, write_onnx
from trudi_rsl.runners import OnPolicyRunner


@pytest.fixture(scope="module")
def stock_runner() -> StockRunner:
    return make_trained(StockRunner)


def test_stock_onnx_exporter_works(stock_runner: StockRunner, obs: TensorDict, raw: Tensor, tmp_path: Path) -> None:
    expected = stock_runner.get_inference_policy()(obs).detach()
    stock_runner.export_policy_to_onnx(str(tmp_path))
    actions = onnx_actions(tmp_path / "policy.onnx", raw)
    assert difference(actions, expected) < parity.TOLERANCE


def test_stock_torchscript_exporter_works(
    stock_runner: StockRunner, obs: TensorDict, raw: Tensor, tmp_path: Path
) -> None:
    expected = stock_runner.get_inference_policy()(obs).detach()
    stock_runner.export_policy_to_jit(str(tmp_path))
    policy = torch.jit.load(tmp_path / "policy.pt")
    policy.reset()
    assert difference(policy(raw).detach(), expected) < parity.TOLERANCE


def test_write_onnx_makes_one_file_of_rsl_rls_own_ppo(obs: TensorDict, raw: Tensor, tmp_path: Path) -> None:
    runner = StockRunner(DriftEnv(), ppo_cfg(), log_dir=None, device="cpu")
    write_onnx(runner.get_inference_policy().as_onnx(verbose=False), tmp_path / "new" / "ppo.onnx")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["ppo.onnx"]
    actions = onnx_actions(tmp_path / "new" / "ppo.onnx", raw)
    expected = runner.get_inference_policy()(obs).detach()
    torch.testing.assert_close(actions, expected, rtol=1e-4, atol=1e-4)


def exporting_runner(tmp_path: Path) -> OnPolicyRunner:
    cfg = runner_cfg(actor_hidden_dims=[8, 8]) | {"save_interval": 1, "export_checkpoints": True}
    return OnPolicyRunner(DriftEnv(), cfg, log_dir=str(tmp_path), device="cpu")


def test_every_checkpoint_is_exported_when_asked(raw: Tensor, tmp_path: Path) -> None:
    exporting_runner(tmp_path).learn(2)
    folders = sorted((tmp_path / "exported").iterdir())
    assert [folder.name for folder in folders] == sorted(path.stem for path in tmp_path.glob("model_*.pt"))
    assert len(folders) >= 2
    for folder in folders:
        policy = load_deployable(tmp_path / f"{folder.name}.pt")[0]
        expected = policy.deterministic_actions(policy.actor_obs.normalize(raw))
        assert difference(onnx_actions(folder / "policy.onnx", raw), expected) < parity.TOLERANCE


def test_an_export_that_fails_is_told_and_training_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "exported").write_text("a file where the folder should be")
    exporting_runner(tmp_path).learn(1)
    assert "Could not export model_0.pt" in capsys.readouterr().out
    assert (tmp_path / "model_0.pt").is_file()


def test_exports_leave_trainings_random_numbers_alone(tmp_path: Path) -> None:
    weights = []
    for name, asked in (("with", True), ("without", False)):
        torch.manual_seed(0)
        cfg = runner_cfg(actor_hidden_dims=[8, 8]) | {"save_interval": 1, "export_checkpoints": asked}
        runner = OnPolicyRunner(DriftEnv(), cfg, log_dir=str(tmp_path / name), device="cpu")
        runner.learn(2)
        weights.append(runner.alg.get_policy().state_dict())
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())
