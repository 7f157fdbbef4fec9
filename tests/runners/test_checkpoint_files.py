# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints are whole or not there, and reading one runs nothing that it holds."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rsl_rl.utils
import torch
from hypothesis import given
from hypothesis import strategies as st
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
    path = tmp_path_factory.mktemp("whole") / "model_2.pt"
    make_trained(OnPolicyRunner).save(str(path))
    return path


class Bomb:
    """What runs a command when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.file),)


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_disk_at_first(monkeypatch: pytest.MonkeyPatch, tries: int) -> list[int]:
    """Let files not be written that often, and last ones be tried again at once; return how many are left."""
    sync, left = os.fsync, [tries]

    def full_at_first(descriptor: int) -> None:
        left[0] -= 1
        full_disk() if left[0] >= 0 else sync(descriptor)

    monkeypatch.setattr(on_policy_runner, "RETRY_SECONDS", (0.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr(os, "fsync", full_at_first)
    return left


def test_a_file_appears_when_it_is_written_and_an_error_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_write(path) as file:
        file.write(b"first")
        assert not path.exists()
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"second")
        raise RuntimeError
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_process_killed_while_it_writes_leaves_the_earlier_file(tmp_path: Path) -> None:
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
    assert not list(tmp_path.glob("model_*.part")), "what is half there has no checkpoint's name"


def test_any_changed_or_missing_end_is_noticed(checkpoint: Path, tmp_path: Path) -> None:
    content, torn = checkpoint.read_bytes(), tmp_path / "torn.pt"
    assert is_whole(checkpoint)
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        torn.write_bytes(content[:length])
        assert not is_whole(torn), length
    assert not is_whole(tmp_path / "none.pt")


@given(place=st.floats(0.0, 1.0, exclude_max=True))
def test_a_checkpoint_with_a_changed_weight_is_damaged(checkpoint: Path, place: float) -> None:
    content = bytearray(checkpoint.read_bytes())
    weights = torch.load(checkpoint, weights_only=True)["actor_state_dict"]["actor.score_network.output_layer.weight"]
    # torch stores tensors as they lie in memory
    begin = bytes(content).index(weights.numpy().tobytes())
    content[begin + int(place * weights.nbytes)] ^= 1
    damaged = checkpoint.with_name("damaged.pt")
    damaged.write_bytes(content)
    assert not is_whole(damaged)


def test_latest_names_the_newest_checkpoint(tmp_path: Path) -> None:
    runner = OnPolicyRunner(DriftEnv(), runner_cfg() | {"save_interval": 1}, log_dir=str(tmp_path), device="cpu")
    runner.learn(3)
    newest = max(tmp_path.glob("model_*.pt"), key=lambda path: int(path.stem.removeprefix("model_")))
    assert (tmp_path / "latest.pt").resolve() == newest
    assert all(is_whole(path) for path in tmp_path.glob("model_*.pt"))


def test_the_newest_and_the_best_checkpoints_stay(tmp_path: Path) -> None:
    kept = KeptCheckpoints(2)
    (tmp_path / "model_99.pt").write_text("somebody else's")
    for number, mean_return in enumerate((None, 3.0, 9.0, 1.0, 2.0, 9.0)):
        path = tmp_path / f"model_{number}.pt"
        path.write_text(str(number))
        kept.add(path)
        assert kept.rate(path, mean_return) == (mean_return is not None and number in (1, 2))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best.pt", "latest.pt", "model_2.pt", "model_4.pt", "model_5.pt", "model_99.pt"]
    assert (tmp_path / "best.pt").read_text() == "2"
    assert (tmp_path / "latest.pt").read_text() == "5"


def test_the_best_so_far_goes_when_another_takes_its_place(tmp_path: Path) -> None:
    kept = KeptCheckpoints(1)
    for number, stay in ((1, {1}), (2, {2}), (0, {2, 0})):
        path = tmp_path / f"model_{number}.pt"
        path.touch()
        kept.add(path)
        kept.rate(path, float(number))
        assert {entry.name for entry in tmp_path.glob("model_*")} == {f"model_{i}.pt" for i in stay}


def test_a_run_keeps_as_many_checkpoints_as_it_is_told(tmp_path: Path) -> None:
    cfg = runner_cfg() | {"save_interval": 1, "keep_checkpoints": 1}
    runner = OnPolicyRunner(DriftEnv(), cfg, log_dir=str(tmp_path), device="cpu")
    runner.learn(4)
    stay = {path.name for path in tmp_path.glob("model_*.pt")}
    assert stay == {(tmp_path / link).resolve().name for link in ("latest.pt", "best.pt")}


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "2026-11-22_10-00-00"
    run.mkdir()
    content = checkpoint.read_bytes()
    (run / "model_5.pt").write_bytes(content)
    (run / "model_10.pt").write_bytes(content[:-500])
    assert find_checkpoint(tmp_path) == run / "model_5.pt"
    assert "model_10.pt is damaged or only half there, and was passed over" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=r"model_10\.pt is damaged or only half there; use another"):
        read_checkpoint(run / "model_10.pt")
    with pytest.raises(CheckpointError, match=r"model_10\.pt is damaged or only half there\. Ask for another"):
        find_checkpoint(tmp_path, ".*", "model_10")
    (run / "model_5.pt").unlink()
    with pytest.raises(CheckpointError, match="has a file that matches"):
        find_checkpoint(tmp_path)


def test_a_full_disk_is_told_and_training_goes_on_to_the_next_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = OnPolicyRunner(DriftEnv(), runner_cfg() | {"save_interval": 1}, log_dir=str(tmp_path), device="cpu")
    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full_disk)
        runner.save(str(tmp_path / "model_0.pt"))
    assert "model_0.pt could not be written; training continues: [Errno 28] No space left" in capsys.readouterr().out
    assert not [path for path in tmp_path.iterdir() if "model" in path.name or path.suffix == ".part"]
    runner.learn(2)
    assert is_whole(tmp_path / "latest.pt")


def test_the_last_checkpoint_of_a_training_is_tried_again_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = OnPolicyRunner(DriftEnv(), runner_cfg(), log_dir=str(tmp_path), device="cpu")
    full_for = full_disk_at_first(monkeypatch, 3)
    runner.learn(1)
    assert is_whole(tmp_path / "model_0.pt")
    # at the end of the first iteration, at that of training, and at the first of two further tries
    assert capsys.readouterr().out.count("could not be written") == 3
    assert full_for[0] < 0


@pytest.mark.skipif(not hasattr(rsl_rl.utils, "LogWriter"), reason="rsl-rl-lib 5.4.2")
def test_a_log_writer_is_stopped_once_and_after_the_last_checkpoint_has_been_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    class Service(SummaryWriter, rsl_rl.utils.LogWriter):
        def save_model(self, model_path: str, it: int) -> None:
            told.append(f"iteration {it}")

        def stop(self) -> None:
            told.append("stop")

    cfg = runner_cfg() | {"logger": {"class_name": Service}}
    runner = OnPolicyRunner(DriftEnv(), cfg, log_dir=str(tmp_path), device="cpu")
    full_disk_at_first(monkeypatch, 2)
    runner.learn(1)
    assert told == ["iteration 0", "stop"]


def test_a_file_that_grows_too_large_is_told_likewise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    resource = pytest.importorskip("resource")
    runner = make_trained(OnPolicyRunner)
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        runner.save(str(tmp_path / "model_0.pt"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert "model_0.pt could not be written; training continues: [Errno 27]" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_files_that_somebody_else_wrote_stay(tmp_path: Path) -> None:
    cfg = runner_cfg() | {"save_interval": 1, "keep_checkpoints": 1}
    runner = OnPolicyRunner(DriftEnv(), cfg, log_dir=str(tmp_path / "run"), device="cpu")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "latest.pt").write_text("mine")
    runner.save(str(tmp_path / "mine" / "phase.pt"))
    runner.learn(3)
    assert is_whole(tmp_path / "mine" / "phase.pt")
    assert (tmp_path / "mine" / "latest.pt").read_text() == "mine"
    runner.save(str(tmp_path / "run" / "latest.pt"))
    assert is_whole(tmp_path / "run" / "latest.pt")


def test_a_run_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    runner = make_trained(OnPolicyRunner)
    runner.save(str(tmp_path / "gone" / "model_1.pt"))
    assert is_whole(tmp_path / "gone" / "model_1.pt")


@pytest.mark.parametrize("place", ["in infos", "as a setting", "as the whole file"])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_nothing(
    checkpoint: Path, tmp_path: Path, place: str
) -> None:
    content, bomb = torch.load(checkpoint, weights_only=True), Bomb(tmp_path / "exploded")
    if place == "in infos":
        content["infos"]["extra"] = bomb
    elif place == "as a setting":
        content["trudi_rsl"]["settings"]["gamma"] = bomb
    torch.save(bomb if place == "as the whole file" else content, tmp_path / "model_9.pt")
    with pytest.raises(CheckpointError, match=r"holds the class or function \S*mkdir, which a checkpoint .* does not"):
        read_checkpoint(tmp_path / "model_9.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(bomb))
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / "old.pt")
    with pytest.raises(CheckpointError):
        make_trained(OnPolicyRunner).load(str(tmp_path / "model_9.pt"))
    assert not (tmp_path / "exploded").exists()


def test_checkpoints_hold_tensors_and_plain_values_only(checkpoint: Path) -> None:
    assert torch.load(checkpoint, weights_only=True)["infos"]["task"] == "Drift-v0"
