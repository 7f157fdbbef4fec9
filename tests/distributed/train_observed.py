# SPDX-License-Identifier: BSD-3-Clause
"""scripts/train.py for torchrun, with a hook that stores what each rank observed and ended with, or kills it.

Environment: ``OBSERVED_FOLDER`` is where ``rank<number>.pt`` goes; the process of rank ``KILLED_RANK``, if that is set,
is killed in its third iteration.
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


class Observer(trudi_rsl.runners.Hook):
    """Stores the first observations, the iterations and the parameters at the end."""

    def on_start(self, runner: Any) -> None:
        self.first = runner.env.get_observations()["policy"].clone()
        self.start, self.rollouts = runner.current_learning_iteration, 0

    def after_rollout(self, runner: Any) -> None:
        self.rollouts += 1
        if self.rollouts == 3 and os.environ.get("KILLED_RANK") == str(current_ranks().rank):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_end(self, runner: Any) -> None:
        algorithm = runner.alg
        state = {name: value.clone() for name, value in algorithm.actor_critic.state_dict().items()}
        state |= {"log_alpha": algorithm.learner.log_alpha.detach()}
        state |= {"log_lambda": algorithm.learner.log_lambda.detach()}
        iterations = (self.start, runner.current_learning_iteration)
        stored = {"state": state, "first": self.first, "iterations": iterations}
        torch.save(stored, Path(os.environ["OBSERVED_FOLDER"], f"rank{current_ranks().rank}.pt"))


class ObservedRunner(trudi_rsl.runners.OnPolicyRunner):
    """The runner with that hook."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.hooks.append(Observer())


if __name__ == "__main__":
    trudi_rsl.runners.OnPolicyRunner = ObservedRunner  # type: ignore[misc]
    sys.argv[0] = str(SCRIPT)
    runpy.run_path(str(SCRIPT), run_name="__main__")
