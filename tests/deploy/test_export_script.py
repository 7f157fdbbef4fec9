# SPDX-License-Identifier: BSD-3-Clause
"""`trudi export` needs only a checkpoint, and passes its flags on."""

from __future__ import annotations

import os
import re
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
from trudi_rsl import packages
from trudi_rsl.algorithms import TruDi
from trudi_rsl.commands.program import run
from trudi_rsl.deploy import export_checkpoint, parity
from trudi_rsl.errors import CheckpointError
from trudi_rsl.policies import DiffusionActorCritic
from trudi_rsl.runners import OnPolicyRunner

ROOT = Path(__file__).parents[2]


def run_without(modules: list[str], *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a Python where importing the named modules fails."""
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({modules!r}))\n"
        "from trudi_rsl.commands.program import main\n"
        f"sys.exit(main(['export', *{list(flags)!r}]))"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "source"), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)


@pytest.mark.slow
def test_the_checkpoint_alone_is_enough(checkpoint: Path, raw: Tensor, expected: Tensor, tmp_path: Path) -> None:
    copied = shutil.copy(checkpoint, tmp_path / "model_2.pt")
    done = run_without(["gymnasium", "mujoco", "isaaclab", "mjlab"], "--checkpoint", str(copied))
    assert (done.returncode, done.stderr) == (0, "")
    exported = tmp_path / "exported"
    assert sorted(p.name for p in exported.iterdir()) == ["policy.onnx", "policy.pt"]
    assert str(exported / "policy.onnx") in done.stdout and str(exported / "policy.pt") in done.stdout
    [counts] = re.findall(r"(\d+) of (\d+) random observations; (\d+)", done.stdout)
    compared, drawn, skipped = map(int, counts)
    assert (drawn, skipped) == (parity.NUM_PROBES, drawn - compared)
    assert difference(onnx_actions(exported / "policy.onnx", raw), expected) < parity.TOLERANCE


@pytest.mark.slow
def test_all_missing_packages_and_the_command_that_installs_them_are_named_in_one_line(checkpoint: Path) -> None:
    done = run_without(["onnx", "onnxscript", "rich"], "--checkpoint", str(checkpoint))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "needs rich, onnx, onnxscript, not installed" in line and line.endswith(packages.how_to_install())


@pytest.mark.slow
def test_flags_reach_the_export(
    checkpoint: Path, actor_critic: DiffusionActorCritic, obs: TensorDict, raw: Tensor, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    flags = (str(checkpoint), "--output", str(tmp_path))
    assert run("export", [*flags, "--score_scale", "0.5"]) == 0
    expected = actor_critic.act(obs, "ode", score_scale=0.5, initial_latent="zeros").detach()
    assert difference(torch.jit.load(tmp_path / "policy.pt")(raw).detach(), expected) < parity.TOLERANCE
    before = (tmp_path / "policy.onnx").read_bytes()
    assert run("export", flags) == 2
    assert re.match(r"Error: .*--overwrite", capsys.readouterr().err)
    assert (tmp_path / "policy.onnx").read_bytes() == before
    options = ("--steps", "2", "--precision", "fp16", "--batch_size", "3", "--latent_input", "--latent_seed", "3")
    assert run("export", [*flags, "--overwrite", *options]) == 0
    session = onnxruntime.InferenceSession(tmp_path / "policy_latent.onnx")
    assert [node.shape for node in session.get_inputs()] == [[3, 9], [3, 3]]
    meta = onnxruntime.InferenceSession(tmp_path / "policy.onnx").get_modelmeta().custom_metadata_map
    assert (meta["num_denoise_steps"], meta["num_trained_steps"], meta["precision"]) == ("2", "8", "fp16")
    assert (meta["task"], meta["algorithm"], meta["obs_dims"]) == ("Drift-v0", "TruDi", '{"joints": 5, "base": 4}')
    assert meta["initial_latent"] == "normal, seed 3"


def test_a_policy_slower_than_its_control_period_gives_a_warning(
    runner: OnPolicyRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(runner.alg, TruDi)
    monkeypatch.setitem(runner.alg.spec, "environment", {"control_period_s": 1e-9})
    runner.save(str(tmp_path / "model_0.pt"))
    assert run("export", ["--checkpoint", str(tmp_path / "model_0.pt")]) == 0
    warning = capsys.readouterr().err
    assert "0.00 ms" in warning and "--steps" in warning


@pytest.mark.parametrize("wrong", ["checkpoint", "output"])
def test_paths_that_cannot_be_used_are_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: str
) -> None:
    (tmp_path / "file").touch()
    paths = {"checkpoint": checkpoint, "output": tmp_path / "new"} | {wrong: tmp_path / "file" / "wrong"}
    flags = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    assert run("export", flags) == {"checkpoint": 2, "output": 1}[wrong]
    assert re.match(r"Error: .*wrong", capsys.readouterr().err)


def test_a_ppo_checkpoint_of_rsl_rl_names_rsl_rls_exporter(tmp_path: Path) -> None:
    runner = StockRunner(DriftEnv(), ppo_cfg(), log_dir=None, device="cpu")
    torch.save(runner.alg.save() | {"iter": 0, "infos": None}, tmp_path / "model_0.pt")
    with pytest.raises(CheckpointError, match=r"runner\.export_policy_to_onnx"):
        export_checkpoint(tmp_path / "model_0.pt")
    assert [p.name for p in tmp_path.iterdir()] == ["model_0.pt"]
