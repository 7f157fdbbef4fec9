# SPDX-License-Identifier: BSD-3-Clause
"""``scripts/train.py`` in a process that things go wrong in: NaN from the simulator and in minibatches, a full disk.

``soak.py`` starts it. The faults are drawn from the seed in ``SOAK_SEED``; what happened is appended to the file in
``SOAK_LOG``, one JSON object in each line.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import resource
import runpy
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trudi_rsl.algorithms import TruDi
from trudi_rsl.hosts.gymnasium import env as gymnasium_env

ROOT = Path(__file__).resolve().parents[1]
LOG = Path(os.environ.get("SOAK_LOG", os.devnull))
NAN_STEPS, NAN_UPDATES = 1 / 1500, 1 / 40
"""Chance of NaN in one environment at a step, and in one minibatch of an iteration."""
FULL_EVERY, FULL_FOR, FULL_SIZE = 40.0, 6.0, 4096
"""Mean seconds between full disks, seconds that one lasts, and bytes that a file may have then."""

random_faults = random.Random(int(os.environ.get("SOAK_SEED", "0")))


def note(event: str, **values: Any) -> None:
    """Append what happened to the log; it is written by the system even if this process is killed now."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # this log is the experiment's, and none of what the full disk is to hit
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))
    try:
        with LOG.open("a") as log:
            log.write(json.dumps({"event": event, "time": time.time(), **values}) + "\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def nan_in_simulators() -> None:
    """Let one environment of the vector give NaN now and then."""
    vectorize = gymnasium_env.vectorize

    def faulty(*args: Any) -> Any:
        envs = vectorize(*args)
        step = envs.step

        def step_with_nan(actions: np.ndarray) -> Any:
            obs, *rest = step(actions)
            if random_faults.random() < NAN_STEPS:
                obs[random_faults.randrange(len(obs)), 0] = np.nan
                note("nan observation")
            return obs, *rest

        envs.step = step_with_nan
        return envs

    gymnasium_env.vectorize = faulty


def nan_in_minibatches() -> None:
    """Damage a minibatch now and then, and note every iteration."""
    update = TruDi.update

    def noted(self: TruDi) -> dict[str, float]:
        learn, left = self.learner.update, [random_faults.randrange(64) if random_faults.random() < NAN_UPDATES else -1]

        def damaged(batch: Any, old_steps: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                note("nan minibatch")
                batch = batch._replace(targets=torch.full_like(batch.targets, torch.nan))
            return learn(batch, old_steps)

        self.learner.update = damaged  # type: ignore[method-assign]
        try:
            return update(self)
        finally:
            del self.learner.update
            note("iteration", memory_in_use_mb=round(memory_in_use(), 2))

    TruDi.update = noted  # type: ignore[method-assign]


def memory_in_use() -> float:
    """Return the megabytes that this process holds, without what glibc keeps of freed memory for later."""
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def full_disks() -> None:
    """Let no file grow for some seconds now and then: writing fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        while True:
            time.sleep(random_faults.expovariate(1.0 / FULL_EVERY))
            note("full disk")
            resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_SIZE, most))
            time.sleep(FULL_FOR)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    threading.Thread(target=fill, daemon=True).start()


if __name__ == "__main__":
    nan_in_simulators()
    nan_in_minibatches()
    full_disks()
    sys.argv[0] = str(ROOT / "scripts" / "train.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
