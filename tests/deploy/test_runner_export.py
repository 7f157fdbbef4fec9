# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's own exporters export TruDi and REPPO, `write_onnx` exports RSL-RL's models, and runs export checkpoints."""

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

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("runner_class", "actor"),
    [(StockRunner, "diffusion"), pytest.param(OnPolicyRunner, "gaussian", marks=pytest.mark.nightly)],
)
def test_rsl_rls_exporters_work(
    runner_class: type, actor: str, obs: TensorDict, raw: Tensor, tmp_path: Path
) -> None:  # fmt: skip
    runner = make_trained(runner_class, actor=actor)
    expected = runner.get_inference_policy()(obs).detach()
    runner.export_policy_to_onnx(str(tmp_path), "robot.onnx")
    runner.export_policy_to_jit(str(tmp_path), "robot.pt")
    assert difference(onnx_actions(tmp_path / "robot.onnx", raw), expected) < parity.TOLERANCE
    assert difference(torch.jit.load(tmp_path / "robot.pt")(raw).detach(), expected) < parity.TOLERANCE


def test_write_onnx_makes_one_file_of_rsl_rls_own_ppo(obs: TensorDict, raw: Tensor, tmp_path: Path) -> None:
    runner = StockRunner(DriftEnv(), ppo_cfg(), log_dir=None, device="cpu")
    write_onnx(runner.get_inference_policy().as_onnx(verbose=False), tmp_path / "new" / "ppo.onnx")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["ppo.onnx"]
    actions = onnx_actions(tmp_path / "new" / "ppo.onnx", raw)
    torch.testing.assert_close(actions, runner.get_inference_policy()(obs).detach(), rtol=1e-4, atol=1e-4)


def exporting_runner(folder: Path, export: bool = True) -> OnPolicyRunner:
    cfg = runner_cfg(actor_hidden_dims=[8, 8]) | {"save_interval": 1, "export_checkpoints": export}
    return OnPolicyRunner(DriftEnv(), cfg, log_dir=str(folder), device="cpu")


def test_every_checkpoint_is_exported_on_request_without_consuming_random_numbers(raw: Tensor, tmp_path: Path) -> None:
    weights = []
    for name, export in (("with", True), ("without", False)):
        torch.manual_seed(0)
        runner = exporting_runner(tmp_path / name, export)
        runner.learn(2)
        weights.append(runner.alg.get_policy().state_dict())
    assert all(torch.equal(weights[0][name], value) for name, value in weights[1].items())
    folders = sorted((tmp_path / "with" / "exported").iterdir())
    assert [folder.name for folder in folders] == sorted(path.stem for path in (tmp_path / "with").glob("model_*.pt"))
    assert len(folders) >= 2
    for folder in folders:
        policy = load_deployable(tmp_path / "with" / f"{folder.name}.pt")[0]
        expected = policy.deterministic_actions(policy.actor_obs.normalize(raw))
        assert difference(onnx_actions(folder / "policy.onnx", raw), expected) < parity.TOLERANCE


def test_training_continues_after_a_failed_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "exported").write_text("a file where the folder should be")
    exporting_runner(tmp_path).learn(1)
    assert "Could not export model_0.pt" in capsys.readouterr().out
    assert (tmp_path / "model_0.pt").is_file()
