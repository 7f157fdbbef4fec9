# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Experiments on a host that starts itself: each training and each evaluation is a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.hosts.mjlab.running import CARTPOLE, SMALL_OVERRIDES
from trudi_rsl.commands.job import train
from trudi_rsl.config.event_file import read_run
from trudi_rsl.evaluation.learning_curves import RETURN_TAG
from trudi_rsl.experiments.experiment import from_mapping, plan, try_tasks
from trudi_rsl.experiments.job import carry_out

EXPERIMENT = {
    "name": "x",
    "algorithms": ["trudi"],
    "tasks": [CARTPOLE],
    "seeds": [3],
    "overrides": [
        *("env.scene.num_envs=4", "agent.max_iterations=2", "env.episode_length_s=0.1"),
        *("agent.device=cpu", *SMALL_OVERRIDES),
    ],
    "evaluation": {"samplers": ["ode"], "episodes": 3},
}


@pytest.mark.slow
@pytest.mark.nightly
def test_a_run_of_an_experiment_is_trained_and_evaluated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    jobs = plan(from_mapping(EXPERIMENT, "x.yaml"))
    try_tasks(jobs)
    [job] = jobs
    job.write()
    assert carry_out(job, train) == 0
    record, measured = job.record(), job.measurements()
    assert record is not None and measured is not None
    assert [entry.sampler for entry in measured] == ["ODE"]
    assert all((entry.task, entry.seed, len(entry.returns)) == (CARTPOLE, 3, 3) for entry in measured)
    log = read_run(record["run"], (RETURN_TAG,))
    assert log.steps_per_iteration == 4 * 8

    before = {path for path in job.folder.rglob("*") if path.is_file()}
    assert carry_out(job, train) == 0
    assert {path for path in job.folder.rglob("*") if path.is_file()} == before
