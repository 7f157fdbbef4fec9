# SPDX-License-Identifier: BSD-3-Clause
"""scripts/train.py for torchrun to start, keeping what each process saw and ended with, and dying where it is told to.

Environment: ``OBSERVED_FOLDER`` is where ``rank<number>.pt`` goes; the process of rank ``KILLED_RANK``, if that is set,
is killed in the middle of its third iteration.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

import torch

import trudi_rsl.runners
from trudi_rsl.distributed import current_ranks

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "train.py"


class ObservedRunner(trudi_rsl.runners.OnPolicyRunner):
    """The runner, watched."""

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        """Train, and keep the first observations, the iterations and the parameters at the end."""
        rank, update, began_at = current_ranks().rank, self.alg.update, self.current_learning_iteration
        first = self.env.get_observations()["policy"].clone()
        seen = 0

        def watched() -> dict[str, float]:
            nonlocal seen
            seen += 1
            if seen == 3 and os.environ.get("KILLED_RANK") == str(rank):
                os.kill(os.getpid(), signal.SIGKILL)
            return update()

        self.alg.update = watched
        try:
            super().learn(num_learning_iterations, init_at_random_ep_len)
        finally:
            algorithm: Any = self.alg
            state = {name: value.clone() for name, value in algorithm.actor_critic.state_dict().items()}
            state |= {"log_alpha": algorithm.learner.log_alpha.detach()}
            state |= {"log_lambda": algorithm.learner.log_lambda.detach()}
            kept = {"state": state, "first": first, "iterations": (began_at, self.current_learning_iteration)}
            torch.save(kept, Path(os.environ["OBSERVED_FOLDER"], f"rank{rank}.pt"))


if __name__ == "__main__":
    trudi_rsl.runners.OnPolicyRunner = ObservedRunner  # type: ignore[misc]
    sys.argv[0] = str(SCRIPT)
    runpy.run_path(str(SCRIPT), run_name="__main__")
