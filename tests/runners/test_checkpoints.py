# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints are written completely or not at all, retried on a full disk, and removed only by their own run."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import rsl_rl.utils
from torch.utils.tensorboard import SummaryWriter

from tests.deploy.drift import DriftEnv, make_trained, runner_cfg
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.kept import KeptCheckpoints
from trudi_rsl.config.run_folder import find_checkpoint
from trudi_rsl.errors import CheckpointError
from trudi_rsl.files import atomic_write, is_whole
from trudi_rsl.runners import OnPolicyRunner, on_policy_runner


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "new" / "model_2.pt"
    make_trained(OnPolicyRunner).save(str(path))
    return path


def make_runner(folder: Path, **settings: Any) -> OnPolicyRunner:
    return OnPolicyRunner(DriftEnv(), runner_cfg() | settings, log_dir=str(folder), device="cpu")


def names(folder: Path, pattern: str = "*") -> set[str]:
    return {path.name for path in folder.glob(pattern)}


def keep_and_rate(kept: KeptCheckpoints, path: Path, mean_return: float | None) -> bool:
    """Write a checkpoint that holds its own name, and return whether it is rated the best."""
    path.write_text(path.stem)
    kept.add(path)
    return kept.rate(path, mean_return)


def fail_writes(monkeypatch: pytest.MonkeyPatch, attempts: int) -> None:
    """Let the first attempts to write a file fail as on a full disk, and retry last checkpoints without a pause."""
    sync, left = os.fsync, [attempts]

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(on_policy_runner, "RETRY_SECONDS", (0.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr(os, "fsync", fsync)


def test_a_file_appears_when_it_is_complete_and_an_error_keeps_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_write(path) as file:
        file.write(b"first")
        assert not path.exists()
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"second")
        raise RuntimeError
    assert path.read_bytes() == b"first"
    assert names(path.parent) == {"file"}


def test_a_process_killed_while_it_writes_keeps_the_earlier_file(tmp_path: Path) -> None:
    (tmp_path / "model_1.pt").write_bytes(b"earlier")
    program = (
        "import sys; from trudi_rsl.files import atomic_write\n"
        "with atomic_write(sys.argv[1]) as file:\n"
        "    file.write(b'half'); file.flush(); print('writing', flush=True); import time; time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, str(tmp_path / "model_1.pt")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / "model_1.pt").read_bytes() == b"earlier"
    assert not names(tmp_path, "model_*.part"), "an incomplete file must not have a checkpoint's name"


def test_a_truncated_checkpoint_is_damaged(checkpoint: Path, tmp_path: Path) -> None:
    content, truncated = checkpoint.read_bytes(), tmp_path / "truncated.pt"
    assert is_whole(checkpoint)
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        truncated.write_bytes(content[:length])
        assert not is_whole(truncated), length
    assert not is_whole(tmp_path / "none.pt")


def test_a_resume_skips_a_damaged_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    run = tmp_path / "2026-11-22_10-00-00"
    run.mkdir()
    content = checkpoint.read_bytes()
    (run / "model_5.pt").write_bytes(content)
    (run / "model_10.pt").write_bytes(content[:-500])
    assert find_checkpoint(tmp_path) == run / "model_5.pt"
    with pytest.raises(CheckpointError, match=r"model_10\.pt is damaged"):
        read_checkpoint(run / "model_10.pt")
    with pytest.raises(CheckpointError, match=r"model_10\.pt is damaged"):
        find_checkpoint(tmp_path, ".*", "model_10")
    (run / "model_5.pt").unlink()
    with pytest.raises(CheckpointError):
        find_checkpoint(tmp_path)


def test_the_newest_and_the_best_checkpoints_are_kept(tmp_path: Path) -> None:
    kept = KeptCheckpoints(2)
    (tmp_path / "model_99.pt").write_text("somebody else's")
    for number, mean_return in enumerate((None, 3.0, 9.0, 1.0, 2.0, 9.0)):
        best = keep_and_rate(kept, tmp_path / f"model_{number}.pt", mean_return)
        assert best == (number in (1, 2))
    assert names(tmp_path) == {"best.pt", "latest.pt", "model_2.pt", "model_4.pt", "model_5.pt", "model_99.pt"}
    assert (tmp_path / "best.pt").read_text() == "model_2"
    assert (tmp_path / "latest.pt").read_text() == "model_5"


def test_an_old_best_checkpoint_is_removed_when_another_is_better(tmp_path: Path) -> None:
    kept = KeptCheckpoints(1)
    for number, remaining in ((1, {1}), (2, {2}), (0, {2, 0})):
        keep_and_rate(kept, tmp_path / f"model_{number}.pt", float(number))
        assert names(tmp_path, "model_*") == {f"model_{i}.pt" for i in remaining}


def test_an_overwritten_best_checkpoint_without_a_rating_yields_to_the_second_best(tmp_path: Path) -> None:
    kept = KeptCheckpoints(None)
    for name, rating in {"model_0.pt": 1.0, "model_1.pt": 3.0, "model_2.pt": 2.0}.items():
        assert keep_and_rate(kept, tmp_path / name, rating) == (name != "model_2.pt")
    assert not kept.rate(tmp_path / "model_1.pt", None)
    assert (tmp_path / "best.pt").readlink() == Path("model_2.pt")


@pytest.mark.parametrize("keep", [None, 1])
def test_a_run_links_its_newest_checkpoint_and_keeps_the_configured_number(tmp_path: Path, keep: int | None) -> None:
    make_runner(tmp_path, save_interval=1, keep_checkpoints=keep).learn(4)
    linked = {(tmp_path / link).resolve().name for link in ("latest.pt", "best.pt")}
    assert (tmp_path / "latest.pt").resolve().name == "model_3.pt"
    assert names(tmp_path, "model_*.pt") == (linked if keep else {f"model_{i}.pt" for i in range(4)})
    assert all(is_whole(path) for path in tmp_path.glob("model_*.pt"))


def test_files_that_the_run_did_not_write_are_kept(tmp_path: Path) -> None:
    runner = make_runner(tmp_path / "run", save_interval=1, keep_checkpoints=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "latest.pt").write_text("mine")
    runner.save(str(tmp_path / "mine" / "phase.pt"))
    runner.learn(3)
    assert is_whole(tmp_path / "mine" / "phase.pt")
    assert (tmp_path / "mine" / "latest.pt").read_text() == "mine"
    runner.save(str(tmp_path / "run" / "latest.pt"))
    assert is_whole(tmp_path / "run" / "latest.pt")


def test_the_last_checkpoint_is_retried_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = make_runner(tmp_path)
    fail_writes(monkeypatch, 3)
    runner.learn(1)
    assert is_whole(tmp_path / "model_0.pt")
    # after the first iteration, after training, and at the first of two retries
    assert capsys.readouterr().out.count("could not be written") == 3


@pytest.mark.skipif(not hasattr(rsl_rl.utils, "LogWriter"), reason="rsl-rl-lib 5.4.2")
def test_a_log_writer_is_stopped_once_and_after_the_last_checkpoint_has_been_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    class Service(SummaryWriter, rsl_rl.utils.LogWriter):
        def save_model(self, model_path: str, it: int) -> None:
            calls.append(f"iteration {it}")

        def stop(self) -> None:
            calls.append("stop")

    runner = make_runner(tmp_path, logger={"class_name": Service})
    fail_writes(monkeypatch, 2)
    runner.learn(1)
    assert calls == ["iteration 0", "stop"]
