# SPDX-License-Identifier: BSD-3-Clause
"""Starting policies that are to be compared alike: from the same random numbers and the same place of curricula."""

from __future__ import annotations

import contextlib
import io

import torch
from rsl_rl.env import VecEnv

from trudi_rsl.rsl_rl_compat.progress import host_progress, set_host_progress


class SameStart:
    """Where environments are when this is made, for each policy that is to run in them.

    Args:
        env: The environments.
    """

    def __init__(self, env: VecEnv) -> None:
        self._env, self._place = env, host_progress(env)

    def restore(self, seed: int) -> None:
        """Put counters and curricula back and seed the simulators and torch; what hosts print of it is left out."""
        with contextlib.redirect_stdout(io.StringIO()):
            if self._place is not None:
                set_host_progress(self._env, self._place)
            if hasattr(self._env, "seed"):  # RSL-RL's base class lacks it, every host has it
                self._env.seed(seed)  # type: ignore[attr-defined]
        torch.manual_seed(seed)
