# SPDX-License-Identifier: BSD-3-Clause
"""``scripts/train.py`` with injected faults: NaN from the simulator and in minibatches, and a full disk.

``robustness.py`` starts it. The faults are drawn from the seed in ``SOAK_SEED``; each event is appended to the file in
``SOAK_LOG``, one JSON object per line.
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
from trudi_rsl.hosts.gymnasium.batched import BatchedVector
from trudi_rsl.hosts.gymnasium.vector import Step

LOG = Path(os.environ.get("SOAK_LOG", os.devnull))
NAN_STEPS, NAN_UPDATES = 1 / 1500, 1 / 40
"""Probability of NaN in one environment at a step, and in one minibatch of an iteration."""
FULL_EVERY, FULL_FOR, FULL_SIZE = 40.0, 6.0, 4096
"""Mean seconds between full disks, their length in seconds, and the largest file size meanwhile, bytes."""

faults = random.Random(int(os.environ.get("SOAK_SEED", "0")))


def log_event(event: str, **values: Any) -> None:
    """Append an event to the log, which the full disk does not affect."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits[1], limits[1]))
    try:
        with LOG.open("a") as log:
            log.write(json.dumps({"event": event, "time": time.time(), **values}) + "\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def inject_nan_observations() -> None:
    """Make one environment of the vector return NaN at random steps."""
    advance = BatchedVector.advance

    def faulty(self: BatchedVector, actions: np.ndarray) -> Step:
        step = advance(self, actions)
        # the copies that verify an exact resume are two
        if self.num_envs > 2 and faults.random() < NAN_STEPS:
            step.obs[faults.randrange(self.num_envs), 0] = np.nan
            log_event("nan observation")
        return step

    BatchedVector.advance = faulty


def inject_nan_minibatches() -> None:
    """Put NaN into a minibatch of random iterations, and log every iteration."""
    update = TruDi.update

    def logged(self: TruDi) -> dict[str, float]:
        learn, left = self.learner.update, [faults.randrange(64) if faults.random() < NAN_UPDATES else -1]

        def damaged(batch: Any, old_steps: Any) -> Any:
            left[0] -= 1
            if left[0] == -1:
                log_event("nan minibatch")
                batch = batch._replace(targets=torch.full_like(batch.targets, torch.nan))
            return learn(batch, old_steps)

        self.learner.update = damaged  # type: ignore[method-assign]
        try:
            return update(self)
        finally:
            del self.learner.update
            # without the memory that glibc keeps for reuse
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            log_event("iteration", memory_in_use_mb=round(pages * resource.getpagesize() / 2**20, 2))

    TruDi.update = logged  # type: ignore[method-assign]


def fill_disk() -> None:
    """Limit file sizes for some seconds at random times, so that writing fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        while True:
            time.sleep(faults.expovariate(1.0 / FULL_EVERY))
            log_event("full disk")
            resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_SIZE, most))
            time.sleep(FULL_FOR)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    threading.Thread(target=fill, daemon=True).start()


if __name__ == "__main__":
    inject_nan_observations()
    inject_nan_minibatches()
    fill_disk()
    sys.argv[0] = str(Path(__file__).resolve().parents[1] / "scripts" / "train.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
