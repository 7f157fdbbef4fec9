# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Worker processes simulate a share beside this process as it does alone, end with it, and are missed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from tests.hosts.maniskill.scripted import SCRIPTED, actions_for, record
from trudi_rsl.errors import ProcessLostError
from trudi_rsl.hosts.maniskill.env import ManiSkillVecEnv
from trudi_rsl.hosts.maniskill.make import CPU, TaskOptions
from trudi_rsl.hosts.maniskill.simulations import CpuSimulations
from trudi_rsl.hosts.maniskill.workers import WorkerSimulations, count_processes


def children(parent: int) -> list[int]:
    """Return the process ids of the running children of a process."""
    listed = subprocess.run(["ps", "-o", "pid=,stat=,comm=", "--ppid", str(parent)], capture_output=True, text=True)
    found = [line.split() for line in listed.stdout.splitlines()]
    return [int(pid) for pid, state, command, *_ in found if not state.startswith("Z") and command != "ps"]


def test_results_do_not_depend_on_the_number_of_workers() -> None:
    options = {"seed": 2, "max_episode_steps": 4, "env_kwargs": {"fail_at": 3}}
    recorded = []
    for workers in (1, 3):
        env = ManiSkillVecEnv(SCRIPTED, 3, workers=workers, **options)
        env.episode_length_buf = torch.tensor([0, 1, 2])
        torch.manual_seed(0)
        recorded.append(record(env, actions_for(env, 6)))
        env.close()
    assert recorded[0] == recorded[1]


def test_few_environments_need_no_workers_and_many_use_every_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(4)))
    assert [count_processes(num_envs) for num_envs in (1, 10, 16, 24, 1024)] == [1, 1, 2, 3, 4]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert count_processes(1024) == 2


def test_a_lost_worker_is_reported_and_the_others_end() -> None:
    before = set(children(os.getpid()))
    env = ManiSkillVecEnv(SCRIPTED, 3, workers=3)
    workers = set(children(os.getpid())) - before
    assert len(workers) == 2  # this process has a share, too
    os.kill(min(workers), signal.SIGTERM)  # a stop of the whole process group is the training's to handle
    env.step(torch.zeros(3, 8))
    os.kill(min(workers), signal.SIGKILL)
    with pytest.raises(ProcessLostError, match=r"signal 9"):
        for _ in range(2):
            env.step(torch.zeros(3, 8))
    env.close()
    assert not workers & set(children(os.getpid()))


def test_an_error_of_one_process_is_raised_and_leaves_no_answers_of_the_others_behind() -> None:
    expected = CpuSimulations(TaskOptions(SCRIPTED, CPU).checked(), 2)
    shared = WorkerSimulations(TaskOptions(SCRIPTED, CPU).checked(), 2, num_processes=2)
    assert (shared.reset([0, 1], [3, 4]) == expected.reset([0, 1], [3, 4])).all()
    for seeds in ([-1, 4], [3, -1]):  # of the share of this process, of the worker's
        with pytest.raises((RuntimeError, ValueError)):
            shared.reset([0, 1], seeds)
    assert (shared.reset([1], [5]) == expected.reset([1], [5])).all()
    assert (shared.reset([0, 1], [6, 7]) == expected.reset([0, 1], [6, 7])).all()
    shared.close()
    expected.close()


@pytest.mark.slow
@pytest.mark.nightly
def test_workers_end_when_their_parent_is_killed_and_need_no_guarded_main_script() -> None:
    code = f"""
from trudi_rsl.hosts.maniskill import ManiSkillVecEnv
env = ManiSkillVecEnv({SCRIPTED!r}, 3, workers=3)
print("ready", flush=True)
import time; time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        while "ready" not in parent.stdout.readline():
            assert parent.poll() is None
        workers = children(parent.pid)
        assert len(workers) == 2
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 20.0
    while any(os.path.exists(f"/proc/{pid}") for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.1)
