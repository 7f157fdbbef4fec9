# SPDX-License-Identifier: BSD-3-Clause
"""A run is finished when its last checkpoint lies beside a record of the same settings."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from trudi_rsl.config.event_file import Run, RunError
from trudi_rsl.evaluation.learning_curves import RETURN_TAG
from trudi_rsl.experiments.curves import curve_of, curves_figure, mean_curve
from trudi_rsl.experiments.job import LOCK_FILE, OUTPUT_FILE, RECORD_FILE, Job, write_json
from trudi_rsl.experiments.report import duration
from trudi_rsl.experiments.sweep import share_of
from trudi_rsl.experiments.worker import BUSY, carry_out


@pytest.fixture
def job(tmp_path: Path) -> Job:
    settings = {"task": "T-v0", "agent": {"seed": 1, "experiment_name": "x/run", "max_seconds": None}, "env": {"n": 4}}
    made = Job("x", "run", "trudi", "T-v0", "trudi", "", 1, ["--task", "T-v0"], settings, root=str(tmp_path))
    made.write()
    return made


def attempt(job: Job, name: str, settings: dict, checkpoint: bool = True) -> Path:
    folder = job.folder / name
    folder.mkdir()
    if checkpoint:
        (folder / "model_2.pt").touch()
    write_json(folder / RECORD_FILE, {"checkpoint": "model_2.pt", "settings": settings})
    return folder


def test_a_job_reads_back_as_written(job: Job) -> None:
    assert Job.read(job.folder) == job


def test_a_run_without_record_checkpoint_or_with_other_settings_is_not_finished(job: Job) -> None:
    assert job.record() is None
    attempt(job, "1", job.settings, checkpoint=False)
    attempt(job, "2", job.settings | {"env": {"n": 5}})
    (job.folder / "3").mkdir()
    (job.folder / "3" / "model_2.pt").touch()
    assert job.record() is None
    finished = attempt(job, "4", job.settings)
    attempt(job, "5", job.settings | {"env": {"n": 5}})
    (job.folder / "6").mkdir()
    (job.folder / "6" / RECORD_FILE).write_text("{")
    record = job.record()
    assert record is not None
    assert (record["run"], record["checkpoint"]) == (finished, finished / "model_2.pt")


def test_a_run_that_was_moved_is_still_finished(job: Job, tmp_path: Path) -> None:
    attempt(job, "1", job.settings)
    (tmp_path / "x").rename(tmp_path / "y")
    settings = job.settings | {"agent": job.settings["agent"] | {"experiment_name": "y/run"}}
    assert replace(job, experiment="y", settings=settings).record() is not None


def test_a_folder_that_another_process_writes_to_is_left_alone(job: Job) -> None:
    with FileLock(job.folder / LOCK_FILE):
        assert carry_out(job, "no such script") == BUSY
    with pytest.raises(FileNotFoundError, match="no such script"):
        carry_out(job, "no such script")


def test_the_share_that_is_done_is_read_from_the_newest_output(job: Job) -> None:
    output, now = job.folder / OUTPUT_FILE, time.time() - 1.0
    assert share_of(job, now) == 0.0
    output.write_text("\n--- first\n Learning iteration 9/10\n")
    assert share_of(job, now) == 0.9
    assert share_of(job, now + 1000.0) == 0.0
    output.write_text(output.read_text() + "\n--- second\n")
    assert share_of(job, now) == 0.0
    output.write_text(output.read_text() + "Learning iteration 0/10\nLearning iteration 1/10\n")
    assert share_of(job, now) == 0.1


def run_of(returns: list[float], steps: int = 10) -> Run:
    iterations = np.arange(len(returns))
    seconds = (iterations, np.full(len(returns), 2.0))
    scalars = {RETURN_TAG: (iterations, np.array(returns))}
    scalars |= {"Perf/collection_time": seconds, "Perf/learning_time": seconds}
    return Run("run", scalars, steps, None)


def test_curves_are_drawn_against_steps_and_seconds_that_were_really_taken() -> None:
    run = run_of([5.0, 6.0, 7.0])
    assert [values.tolist() for values in curve_of(run, "steps")] == [[10, 20, 30], [5.0, 6.0, 7.0]]
    assert [values.tolist() for values in curve_of(run, "seconds")] == [[4.0, 8.0, 12.0], [5.0, 6.0, 7.0]]
    with pytest.raises(RunError, match="does not tell its seconds"):
        Run("x", {RETURN_TAG: run.scalars[RETURN_TAG]}, 10, None).elapsed_seconds(np.arange(2))


def test_seconds_count_iterations_before_the_first_return() -> None:
    run = run_of([1.0, 2.0, 3.0])
    late = Run("late", run.scalars | {RETURN_TAG: (np.array([2]), np.array([3.0]))}, 10, None)
    assert curve_of(late, "seconds")[0].tolist() == [12.0]


def test_the_thick_line_is_the_interquartile_mean_where_all_runs_have_returns() -> None:
    runs = [run_of([value] * 3) for value in (100.0, 1.0, 3.0, -50.0)]
    longer = run_of([2.0] * 5)
    grid, values = mean_curve([curve_of(run, "steps") for run in [*runs, longer]])
    assert (grid[0], grid[-1]) == (10.0, 30.0)
    assert np.allclose(values, 2.0)  # -50 and 100 are trimmed
    (axes,) = curves_figure({"T": {"trudi": [*runs, longer]}}).axes
    drawn = [line.get_ydata() for line in axes.get_lines()]
    assert np.array_equal(drawn[-1], values)
    assert len(drawn) == 6


def test_times_are_told_in_words() -> None:
    assert [duration(s) for s in (3.4, 61, 3700)] == ["3 s", "1 min 1 s", "1 h 1 min"]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": 1})
    write_json(tmp_path / "x.json", {"a": 2})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
