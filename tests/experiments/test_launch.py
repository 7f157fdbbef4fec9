# SPDX-License-Identifier: BSD-3-Clause
"""Jobs run side by side, their failures are reported, and an interrupt ends them in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trudi_rsl.errors import ConfigError
from trudi_rsl.experiments.launch import Command, End, run_jobs

pytest.importorskip("submitit")

SLOW_TO_END = """
import pathlib, time
pathlib.Path("started").touch()
try:
    time.sleep(300)
except KeyboardInterrupt:
    time.sleep(2)
    pathlib.Path("ended").touch()
"""
LAUNCH = """
import sys
from pathlib import Path
from trudi_rsl.experiments.launch import Command, run_jobs
list(run_jobs([Command("x", [sys.executable, "-c", sys.argv[1]], Path("output.txt"))]))
"""
SLURM = {
    # runs the tasks of an array of two at once, from a copy: submitit moves its file once sbatch has returned
    "sbatch": """
cp "$1" submitted.sh
export SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=7 SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0
export SLURM_LOCALID=0 SLURM_JOB_NODELIST=here
for task in 0 1; do
  (SLURM_ARRAY_TASK_ID=$task sh submitted.sh; touch done_$task) >/dev/null 2>&1 &
done
echo "Submitted batch job 7"
""",
    "srun": """
while [ "${1#*python}" = "$1" ]; do shift; done
exec "$@"
""",
    "sacct": """
echo "JobID|State|NodeList"
for task in 0 1; do
  if [ -e done_$task ]; then echo "7_$task|COMPLETED|here"; else echo "7_$task|RUNNING|here"; fi
done
""",
    "scancel": "",
}
"""Commands that stand in for Slurm's."""


def python(code: str, folder: Path, name: str = "x") -> Command:
    return Command(name, [sys.executable, "-c", code], folder / f"{name}.txt", folder)


@pytest.fixture(autouse=True)
def _jobs_find_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


def test_failing_jobs_are_reported_and_do_not_stop_the_others(tmp_path: Path) -> None:
    jobs = [
        python("print('fine')", tmp_path, "good"),
        python("print('all is lost'); raise SystemExit(3)", tmp_path, "bad"),
        Command("missing", ["/no/such/program"], tmp_path / "missing.txt"),
    ]
    ends = {end.job.name: end for end in run_jobs(jobs, workers=2)}
    assert ends["good"] == End(jobs[0], 0, "")
    assert ends["bad"].status == 3
    assert "all is lost" in ends["bad"].failure and str(tmp_path / "bad.txt") in ends["bad"].failure
    assert ends["missing"].status == 1 and "/no/such/program" in ends["missing"].failure
    assert "fine" in (tmp_path / "good.txt").read_text()


@pytest.mark.slow
def test_no_more_jobs_run_at_once_than_there_are_workers(tmp_path: Path) -> None:
    code = """
import pathlib, sys, time
mark = pathlib.Path(f"running_{sys.argv[1]}")
mark.touch(); time.sleep(1); print(len(list(pathlib.Path().glob("running_*")))); mark.unlink()
"""
    jobs = [Command(str(i), [sys.executable, "-c", code, str(i)], tmp_path / f"{i}.txt", tmp_path) for i in range(3)]
    assert all(end.status == 0 for end in run_jobs(jobs, workers=2))
    counts = [int((tmp_path / f"{i}.txt").read_text().split()[-1]) for i in range(3)]
    assert max(counts) <= 2


@pytest.mark.parametrize("visible", [None, "1,2"])
def test_a_job_sees_the_gpus_and_runs_on_one_thread(
    visible: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    code = "import os; print(os.environ.get('CUDA_VISIBLE_DEVICES'), os.environ['OMP_NUM_THREADS'])"
    assert [end.status for end in run_jobs([python(code, tmp_path)])] == [0]
    assert (tmp_path / "x.txt").read_text().splitlines()[-1] == f"{visible} 1"


def wait_for(file: Path) -> None:
    deadline = time.time() + 120.0
    while not file.exists():
        assert time.time() < deadline
        time.sleep(0.1)


def test_a_job_can_finish_saving_after_ctrl_c(tmp_path: Path) -> None:
    """A terminal sends SIGINT to all processes of its group."""
    launch = subprocess.Popen(
        [sys.executable, "-c", f"import signal; signal.signal(2, signal.default_int_handler)\n{LAUNCH}", SLOW_TO_END],
        cwd=tmp_path,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    wait_for(tmp_path / "started")
    os.killpg(launch.pid, signal.SIGINT)
    assert launch.wait(timeout=60) != 0
    assert (tmp_path / "ended").exists()


@pytest.mark.slow
def test_closing_the_generator_ends_running_jobs(tmp_path: Path) -> None:
    running = run_jobs([python("", tmp_path, "short"), python(SLOW_TO_END, tmp_path, "long")], workers=2)
    assert next(running).job.name == "short"
    wait_for(tmp_path / "started")
    running.close()
    assert (tmp_path / "ended").exists()


def test_slurm_runs_one_array_of_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in SLURM.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    jobs = [python(f"raise SystemExit({status})", tmp_path, f"exit{status}") for status in (0, 5)]
    ends = run_jobs(jobs, 1, "slurm", {"timeout_min": 9, "slurm_partition": "cpu"}, tmp_path / "submitit")
    assert {end.job.name: end.status for end in ends} == {"exit0": 0, "exit5": 5}
    batch = (tmp_path / "submitted.sh").read_text()
    for option in ("--array=0-1%1", "--time=9", "--partition=cpu", "--cpus-per-task=1"):
        assert option in batch


def test_impossible_options_are_refused(tmp_path: Path) -> None:
    for options in ({"timeout": 3}, {"timeout_min": "long"}):
        with pytest.raises(ConfigError, match="timeout"):
            next(run_jobs([python("", tmp_path)], launcher="submitit", options=options))


@pytest.mark.nightly
@pytest.mark.slow
def test_a_job_ended_by_its_time_limit_says_so_and_could_save(tmp_path: Path) -> None:
    job = python(SLOW_TO_END, tmp_path)
    (end,) = run_jobs([job], launcher="submitit", options={"timeout_min": 1})  # submitit ends it 30 s before
    assert end.status == 1 and "time limit of 1 minutes" in end.failure and "timeout_min=2" in end.failure
    assert (tmp_path / "ended").exists(), "it was interrupted first"
