# SPDX-License-Identifier: BSD-3-Clause
"""Running Isaac Lab's commands and this project's scripts as users do, and reading their run folders."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from trudi_rsl.checkpoints.rebuild import load_deployable
from trudi_rsl.deploy.parity import TOLERANCE, draw_probes, run_onnx, run_torchscript
from trudi_rsl.policies import ChainOptions

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"
TRUDI_AGENT = "rsl_rl_trudi_cfg_entry_point"

ON_CPU = ("--device", "cpu", "agent.device=cpu")
# The least that runs every line.
FEW_STEPS = ("--num_envs", "4", "agent.num_steps_per_env=8")
SMALL = {
    "num_mini_batches": 2,
    "num_learning_epochs": 1,
    "actor_hidden_dims": [16, 16],
    "critic_hidden_dim": 16,
    "num_bins": 21,
}
SMALL_TRUDI = tuple(f"agent.algorithm.{name}={str(value).replace(' ', '')}" for name, value in SMALL.items())
# Each process generates its terrain, which takes time.
SMALL_TERRAIN = tuple(f"env.scene.terrain.terrain_generator.{name}=2" for name in ("num_rows", "num_cols"))
TIMEOUT = 600.0


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    returncode: int
    output: str
    """Of both streams."""
    folder: Path
    """Working directory."""

    @property
    def run_folder(self) -> Path:
        """The newest run folder."""
        folders = sorted((self.folder / "logs" / "rsl_rl").glob("*/*/params"), key=lambda path: path.stat().st_mtime)
        assert folders, self.output
        return folders[-1].parent

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint of the newest run."""
        return max(self.run_folder.glob("model_*.pt"), key=lambda path: int(path.stem.removeprefix("model_")))

    @property
    def agent(self) -> dict[str, Any]:
        """The saved settings of the agent."""
        return yaml.full_load((self.run_folder / "params" / "agent.yaml").read_text())


def isaaclab(*args: str | Path, folder: Path, until: Path | None = None) -> Done:
    """Run Isaac Lab's command; see :func:`run`."""
    return run(Path(sys.executable).with_name("isaaclab"), *args, folder=folder, until=until)


def script(name: str, *args: str | Path, folder: Path, until: Path | None = None) -> Done:
    """Run a script of this project; see :func:`run`."""
    return run(sys.executable, SCRIPTS / name, *args, folder=folder, until=until)


def run(*command: str | Path, folder: Path, until: Path | None = None) -> Done:
    """Run a command in ``folder``; some seconds after the file ``until`` appears, interrupt it as by Ctrl-C.

    The output of an interrupted command ends before the interrupt: where that strikes is chance, and in a destructor
    Python prints a traceback.
    """
    output = folder / "output.txt"
    with output.open("w") as file:
        environ = os.environ | {"COLUMNS": "200"}  # wide enough for the messages in rich's tables
        process = subprocess.Popen(command, cwd=folder, stdout=file, stderr=subprocess.STDOUT, env=environ)
        before_interrupt = None
        try:
            if until is not None:
                _wait_for(until, process)
                before_interrupt = output.read_text()
                _interrupt(process)
            process.wait(TIMEOUT)
        finally:
            process.kill()
    return Done(process.returncode, output.read_text() if before_interrupt is None else before_interrupt, folder)


def _interrupt(process: subprocess.Popen) -> None:
    """Interrupt a process until it ends: Python drops interrupts during destructors, of which Warp has many."""
    for _ in range(6):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10.0)


def _wait_for(path: Path, process: subprocess.Popen) -> None:
    """Wait until some seconds after a file exists, or until the process has ended."""
    deadline = time.monotonic() + TIMEOUT
    while not path.exists() and process.poll() is None:
        assert time.monotonic() < deadline, f"{path} was not written within {TIMEOUT:.0f} s"
        time.sleep(0.2)
    time.sleep(5.0)


def check_exports_act_as(checkpoint: Path) -> None:
    """Check that the exported files beside a checkpoint return its actions, one environment at a time."""
    policy, _ = load_deployable(checkpoint)
    deployable = policy.deployable()
    probes, exported = draw_probes(policy, deployable, ChainOptions()), checkpoint.parent / "exported"
    scripted = run_torchscript(exported / "policy.pt", probes, deployable)
    for outputs in (run_onnx(exported / "policy.onnx", probes)[0], scripted):
        assert outputs.actions.shape == probes.actions.shape
        assert outputs.differences(probes, deployable).max() < TOLERANCE
