# SPDX-License-Identifier: BSD-3-Clause
"""`scripts/export.py` needs a TruDi checkpoint alone and tells what else it was given."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
import torch
from rsl_rl.runners import OnPolicyRunner as StockRunner
from tensordict import TensorDict
from torch import Tensor

from tests.deploy.drift import DriftEnv, difference, onnx_actions, ppo_cfg
from trudi_rsl.algorithms import TruDi
from trudi_rsl.deploy import export_checkpoint, parity
from trudi_rsl.errors import CheckpointError
from trudi_rsl.policies import DiffusionActorCritic
from trudi_rsl.runners import OnPolicyRunner

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "export.py"


def run_without(modules: list[str], *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the script in a Python where importing the named modules fails."""
    code = (
        "import runpy, sys\n"
        f"sys.modules.update(dict.fromkeys({modules!r}))\n"
        f"sys.argv = ['export.py', *{list(flags)!r}]\n"
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "source"), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)


def run_here(monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
    monkeypatch.setattr(sys, "argv", ["export.py", *flags])
    runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.mark.slow
def test_the_checkpoint_alone_is_enough(
    checkpoint: Path, actor_critic: DiffusionActorCritic, obs: TensorDict, raw: Tensor, tmp_path: Path
) -> None:
    lonely = shutil.copy(checkpoint, tmp_path / "model_2.pt")
    done = run_without(["gymnasium", "mujoco", "isaaclab", "mjlab"], "--checkpoint", str(lonely))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    exported = tmp_path / "exported"
    assert sorted(p.name for p in exported.iterdir()) == ["policy.onnx", "policy.pt"]
    for promised in (str(exported / "policy.onnx"), str(exported / "policy.pt"), "largest difference", "MB", "ms"):
        assert promised in done.stdout
    [counts] = re.findall(r"Compared at (\d+) of (\d+) random observations; (\d+) left out", done.stdout)
    compared, drawn, left_out = map(int, counts)
    assert (drawn, left_out) == (parity.NUM_PROBES, drawn - compared)
    actions = onnx_actions(exported / "policy.onnx", raw)
    assert difference(actions, actor_critic(obs).detach()) < parity.TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_gives_the_install_command(checkpoint: Path, missing: str) -> None:
    done = run_without([missing], "--checkpoint", str(checkpoint))
    assert done.returncode == 1
    assert 'pip install "trudi_rsl[export]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_flags_reach_the_export(
    checkpoint: Path, actor_critic: DiffusionActorCritic, obs: TensorDict, raw: Tensor, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    output = tmp_path / "robot"
    run_here(monkeypatch, "--checkpoint", str(checkpoint), "--output", str(output), "--score_scale", "0.5")
    expected = actor_critic.act(obs, "ode", score_scale=0.5, initial_latent="zeros").detach()
    assert difference(torch.jit.load(output / "policy.pt")(raw).detach(), expected) < parity.TOLERANCE
    before = (output / "policy.onnx").read_bytes()
    with pytest.raises(SystemExit, match=r"Error: .* exist already"):
        run_here(monkeypatch, "--checkpoint", str(checkpoint), "--output", str(output))
    assert (output / "policy.onnx").read_bytes() == before
    run_here(monkeypatch, "--checkpoint", str(checkpoint), "--output", str(output), "--overwrite", "--latent_seed", "3")
    meta = onnxruntime.InferenceSession(output / "policy.onnx").get_modelmeta().custom_metadata_map
    assert (meta["task"], meta["obs_dims"]) == ("Drift-v0", '{"joints": 5, "base": 4}')
    assert meta["initial_latent"] == "normal, seed 3"
    assert meta["algorithm"] == "TruDi"


def test_choices_reach_the_export(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = ("--steps", "2", "--precision", "fp16", "--batch_size", "3", "--latent_input")
    run_here(monkeypatch, "--checkpoint", str(checkpoint), "--output", str(tmp_path), *flags)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["policy.onnx", "policy.pt", "policy_latent.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "policy_latent.onnx")
    assert [node.shape for node in session.get_inputs()] == [[3, 9], [3, 3]]
    meta = session.get_modelmeta().custom_metadata_map
    assert (meta["num_denoise_steps"], meta["num_trained_steps"], meta["precision"]) == ("2", "8", "fp16")


def test_a_policy_slower_than_its_control_period_is_told(
    runner: OnPolicyRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(runner.alg, TruDi)
    monkeypatch.setitem(runner.alg.spec, "environment", {"control_period_s": 1e-9})
    runner.save(str(tmp_path / "model_0.pt"))
    run_here(monkeypatch, "--checkpoint", str(tmp_path / "model_0.pt"))
    assert "longer than the control period of 0.00 ms. Export fewer steps" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_told_in_one_line(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"Error: .*Not a directory: .*file/robot"):
        run_here(monkeypatch, "--checkpoint", str(checkpoint), "--output", str(tmp_path / "file" / "robot"))


def test_a_missing_checkpoint_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"Error: No checkpoint at .*model_9.pt"):
        run_here(monkeypatch, "--checkpoint", str(tmp_path / "model_9.pt"))


def test_a_ppo_checkpoint_is_sent_to_rsl_rls_exporter(tmp_path: Path) -> None:
    runner = StockRunner(DriftEnv(), ppo_cfg(), log_dir=None, device="cpu")
    torch.save(runner.alg.save() | {"iter": 0, "infos": None}, tmp_path / "model_0.pt")
    with pytest.raises(CheckpointError, match=r"RSL-RL PPO.*runner\.export_policy_to_onnx"):
        export_checkpoint(tmp_path / "model_0.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["model_0.pt"]
