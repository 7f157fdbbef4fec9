# SPDX-License-Identifier: BSD-3-Clause
"""A full disk interrupts the log, not the training."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard import SummaryWriter

from tests.rsl_rl.helpers import runner_cfg
from tests.runners.test_stopping import logged
from trudi_rsl.config import compose
from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import OnPolicyRunner, log, on_policy_runner
from trudi_rsl.runners.log import make_interruptible

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def small_files() -> Iterator[Any]:
    """Returns a function that limits the size of files, so that writing fails as on a full disk."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1] if size is None else size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_the_log_has_a_gap_while_the_disk_is_full(
    tmp_path: Path, small_files: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log, "RETRY_SECONDS", 0.0)
    writer = SummaryWriter(str(tmp_path), flush_secs=0)
    make_interruptible(writer)
    for step in range(20):
        writer.add_scalar("x", 0.0, step)
    writer.flush()
    small_files(200)
    for step in range(20, 60):
        writer.add_scalar("x", 0.0, step)
    small_files(None)
    for step in range(60, 80):
        writer.add_scalar("x", 0.0, step)
    writer.close()
    steps = {step for step, _ in logged(tmp_path, "x")}
    assert {*range(20), *range(61, 80)} <= steps and not {*range(20, 60)} <= steps
    assert capsys.readouterr().out.count("has a gap from here on") == 1


class RefusingWriter:
    """A log service that nobody has logged in to."""

    def __init__(self, log_dir: str) -> None:
        raise RuntimeError("No API key configured.")


def test_a_log_service_that_refuses_ends_training_before_it_starts_in_one_line(tmp_path: Path) -> None:
    cfg = {**runner_cfg(), "logger": {"class_name": f"{__name__}:RefusingWriter"}}
    runner = OnPolicyRunner(GymnasiumVecEnv("Pendulum-v1", 3), cfg, str(tmp_path), "cpu")
    with pytest.raises(ConfigError, match=r"did not start \(RuntimeError: No API key configured\.\)"):
        runner.learn(1)
    assert not list(tmp_path.glob("model_*.pt"))


def test_a_log_service_whose_package_is_missing_is_refused_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="pip install wandb"):
        compose("Pendulum-v1", settings={"agent.logger": "wandb"})


def pendulum_runner(folder: Path) -> OnPolicyRunner:
    return OnPolicyRunner(GymnasiumVecEnv("Pendulum-v1", 3), runner_cfg(), str(folder), "cpu")


def test_training_continues_while_neither_log_nor_checkpoints_can_be_written(
    tmp_path: Path, small_files: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(on_policy_runner, "RETRY_SECONDS", (0.0,))
    runner = pendulum_runner(tmp_path)
    small_files(100)
    runner.learn(3)
    small_files(None)
    assert runner.current_learning_iteration == 2
    out = capsys.readouterr().out
    assert "has a gap from here on" in out and "model_0.pt could not be written" in out and "[Errno 27]" in out
    assert not [*tmp_path.glob("*.pt"), *tmp_path.glob("*.part")]
    runner.learn(1)
    assert (tmp_path / "model_3.pt").is_file()


def test_training_continues_while_its_output_cannot_be_written(tmp_path: Path, small_files: Any) -> None:
    runner = pendulum_runner(tmp_path / "run")
    runner.learn(1)
    output, size = tmp_path / "out.txt", 10_000_000  # larger than any other file of the run
    output.touch()
    os.truncate(output, size)
    with output.open("a", buffering=1) as stream, contextlib.redirect_stdout(stream):
        small_files(size + 10)
        with pytest.raises(OSError, match="too large"):
            print("x" * 20)
        runner.learn(3)
        small_files(None)
    assert [step for step, _ in logged(tmp_path / "run", "Perf/total_fps")] == [0, 1, 2, 3]
    assert (tmp_path / "run" / "model_3.pt").is_file()
