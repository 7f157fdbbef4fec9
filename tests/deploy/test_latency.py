# SPDX-License-Identifier: BSD-3-Clause
"""Exported policies are timed call by call, with a warning if one is too slow for its control period."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.deploy.drift import changed
from tests.scripts.running import run_script
from trudi_rsl.deploy import ExportError, Latency
from trudi_rsl.deploy.latency import Timing, exported_files, measure


def test_every_call_of_both_files_is_timed_against_the_files_period_or_the_given_one(
    exported: Path, tmp_path: Path
) -> None:
    files = [exported, exported.with_suffix(".pt")]
    timings = measure(files, 101)
    assert [timing.file for timing in timings] == files
    assert [timing.runtime for timing in timings] == ["ONNX Runtime", "TorchScript"]
    assert [len(timing.milliseconds) for timing in timings] == [200, 200], "whole turns"
    assert Latency.from_seconds(1e-3 * np.arange(1, 102)) == pytest.approx((51.0, 100.0, 101.0))
    file = changed(exported, tmp_path, control_period_s=0.02)
    assert [timing.control_period_ms for timing in measure([file, exported], 100)] == [20.0, None]
    assert [timing.control_period_ms for timing in measure([file, exported], 100, 5.0)] == [5.0, 5.0]


def test_a_policy_too_slow_for_its_period_gives_a_warning() -> None:
    times = (1.0,) * 90 + (3.0,) * 10
    assert Timing(Path("policy.onnx"), "ONNX Runtime", times).warning is None
    assert Timing(Path("policy.onnx"), "ONNX Runtime", times, 3.0).warning is None
    warning = Timing(Path("policy.onnx"), "ONNX Runtime", times, 2.9).warning
    assert warning is not None
    assert "3.00 ms" in warning and "2.90 ms" in warning


def test_a_folder_or_run_stands_for_its_onnx_files_and_programs_must_be_named(exported: Path, tmp_path: Path) -> None:
    program = exported.with_suffix(".pt")
    run = tmp_path / "experiment" / "run"
    shutil.copytree(exported.parent, run / "exported")
    (run / "model_3.pt").touch()
    for named in (run.parent, run, run / "model_3.pt"):
        assert exported_files([named]) == [run / "exported" / exported.name]
    shutil.rmtree(run.parent)
    assert exported_files([exported.parent, program, exported]) == [exported, program, exported]
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path, tmp_path / "notes.txt", tmp_path / "none"):
        with pytest.raises(ExportError, match="no exported policy"):
            exported_files([path])


def test_files_that_are_no_policies_and_too_few_calls_are_refused(exported: Path, tmp_path: Path) -> None:
    for name in ("policy.onnx", "policy.pt"):
        (tmp_path / name).write_bytes(b"nothing")
        with pytest.raises(ExportError, match=f"{name} cannot be run"):
            measure([tmp_path / name])
    with pytest.raises(ValueError, match="at least 100, got 99"):
        measure([exported], 99)
    for period in (0.0, float("nan")):
        with pytest.raises(ValueError, match="above 0 ms"):
            measure([exported], 100, period)


@pytest.mark.slow
def test_the_script_prints_and_draws_every_file_and_warns(exported: Path, tmp_path: Path) -> None:
    arguments = ("--calls", "100", "--period_ms", "0.000001", "--output", "latency.png")
    files = (exported.parent, exported.with_suffix(".pt"))
    done = run_script("latency.py", *files, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ONNX Runtime" in done.stdout and "TorchScript" in done.stdout
    assert done.stderr.count("longer than the control period of 0.00 ms") == 2
    assert (tmp_path / "latency.png").stat().st_size > 0
    again = run_script("latency.py", *files, *arguments, cwd=tmp_path)
    assert (again.returncode, again.stderr[:25]) == (2, "Error: latency.png exists")
