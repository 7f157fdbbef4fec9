# SPDX-License-Identifier: BSD-3-Clause
"""A run is finished when its last checkpoint lies beside a record of the same settings."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock

from trudi_rsl.config.event_file import Run
from trudi_rsl.evaluation.learning_curves import RETURN_TAG
from trudi_rsl.experiments.job import LOCK_FILE, LOCKED, OUTPUT_FILE, RECORD_FILE, Job, carry_out, write_json
from trudi_rsl.experiments.report import curve, mean_curve
from trudi_rsl.experiments.sweep import share_done


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


def test_a_run_without_record_checkpoint_or_with_other_settings_is_not_finished(job: Job) -> None:
    assert Job.read(job.folder) == job and job.record() is None
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


def test_a_folder_that_another_process_writes_to_is_skipped(job: Job) -> None:
    with FileLock(job.folder / LOCK_FILE):
        assert carry_out(job, lambda _arguments: 3) == LOCKED
    assert carry_out(job, lambda _arguments: 3) == 3


def test_progress_is_read_from_the_newest_output(job: Job) -> None:
    output, now, written = job.folder / OUTPUT_FILE, time.time() - 1.0, ""
    assert share_done(job, now) == 0.0
    second = "Learning iteration 0/10\nLearning iteration 1/10\n"
    for more, share in (("--- first\n Learning iteration 9/10\n", 0.9), ("\n--- second\n", 0.0), (second, 0.1)):
        written += more
        output.write_text(written)
        assert share_done(job, now) == share
    assert share_done(job, now + 1000.0) == 0.0


def run_of(returns: list[float], steps: int = 10) -> Run:
    iterations = np.arange(len(returns))
    seconds = (iterations, np.full(len(returns), 2.0))
    scalars = {RETURN_TAG: (iterations, np.array(returns))}
    scalars |= {"Perf/collection_time": seconds, "Perf/learning_time": seconds}
    return Run("run", scalars, steps, None)


def test_curves_have_the_environment_steps_and_all_seconds_of_training_at_each_return() -> None:
    run = run_of([5.0, 6.0, 7.0])
    assert [values.tolist() for values in curve(run, "steps")] == [[10, 20, 30], [5.0, 6.0, 7.0]]
    assert [values.tolist() for values in curve(run, "seconds")] == [[4.0, 8.0, 12.0], [5.0, 6.0, 7.0]]
    late = Run("late", run.scalars | {RETURN_TAG: (np.array([2]), np.array([3.0]))}, 10, None)
    assert curve(late, "seconds")[0].tolist() == [12.0]


def test_the_mean_curve_is_the_interquartile_mean_where_all_runs_have_returns() -> None:
    runs = [run_of([value] * 3) for value in (100.0, 1.0, 3.0, -50.0)]
    longer = run_of([2.0] * 5)
    grid, values = mean_curve([curve(run, "steps") for run in [*runs, longer]])
    assert (grid[0], grid[-1]) == (10.0, 30.0)
    assert np.allclose(values, 2.0)  # -50 and 100 are trimmed
