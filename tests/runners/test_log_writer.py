# SPDX-License-Identifier: BSD-3-Clause
"""A disk that is full for TensorBoard's log ends no training, and the log goes on when there is room again."""

from __future__ import annotations

import contextlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.runners import OnPolicyRunner, log_writer, on_policy_runner
from trudi_rsl.runners.log_writer import interruptible_logs

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture
def small_files() -> Iterator[Any]:
    """Let no file grow beyond a number of bytes, as a full disk does; the process is told as by one."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1] if size is None else size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def values(folder: Path, tag: str) -> list[int]:
    """Return the steps at which a tag was logged."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [point.step for point in events.Scalars(tag)]


def test_the_log_has_a_gap_where_the_disk_was_full_and_goes_on_after_it(
    tmp_path: Path, small_files: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log_writer, "RETRY_SECONDS", 0.0)
    with interruptible_logs():
        writer = SummaryWriter(str(tmp_path), flush_secs=0)
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
    steps = values(tmp_path, "x")
    assert set(range(61, 80)) <= {*steps}
    assert {*range(20)} <= {*steps} and not {*range(20, 60)} <= {*steps}
    assert capsys.readouterr().out.count("has a gap from here on") == 1


def test_what_is_printed_to_a_full_disk_is_lost_and_nothing_else(tmp_path: Path, small_files: Any) -> None:
    with (tmp_path / "out.txt").open("w") as out, contextlib.redirect_stdout(out):
        small_files(10)
        with interruptible_logs():
            print("x" * 100, flush=True)
        with pytest.raises(OSError, match="too large"):
            print("x" * 100, flush=True)
        small_files(None)
        with interruptible_logs():
            print("again", flush=True)
    assert (tmp_path / "out.txt").read_text().endswith("again\n")


def test_training_goes_on_with_a_log_that_cannot_be_written(
    tmp_path: Path, small_files: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(on_policy_runner, "RETRY_SECONDS", (0.0,))
    runner = OnPolicyRunner(GymnasiumVecEnv("Pendulum-v1", 3), runner_cfg(), str(tmp_path), "cpu")
    small_files(100)
    runner.learn(3)
    small_files(None)
    assert runner.current_learning_iteration == 2
    out = capsys.readouterr().out
    assert "has a gap from here on" in out and "could not be written; training is not ended by that" in out
    runner.learn(1)
    assert (tmp_path / "model_2.pt").is_file()
