# SPDX-License-Identifier: BSD-3-Clause
"""Fresh episodes of every checkpoint's policy, of which training notices nothing but the time they take."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from rsl_rl.env import VecEnv

from trudi_rsl.checkpoints.resume import rng_state, set_rng_state
from trudi_rsl.errors import ConfigError, one_line
from trudi_rsl.evaluation.episodes import (
    EVALUATION_SEED,
    MOST_ENVS,
    EpisodeResults,
    Policy,
    SameStart,
    evaluate,
    scalars,
)
from trudi_rsl.plain_values import is_count
from trudi_rsl.rsl_rl_compat.models import fresh_hidden_states, policy_of


class _LeftError(Exception):
    """Raised in an evaluation that nobody waits for any more."""


class CheckpointEvaluation:
    """Evaluations of one training, in environments beside those of training.

    What goes wrong in one is told, and training goes on.

    Args:
        make_env: Takes how many environments at most and a seed, and returns them; None where there can be no others
            in this process.
        episodes: Episodes of each evaluation, at least 1.
        stopped: Returns whether training is asked to end: an evaluation is then left out, one under way is left.
    """

    def __init__(
        self, make_env: Callable[[int, int], VecEnv | None], episodes: int, stopped: Callable[[], bool]
    ) -> None:
        self.episodes, self._stopped = episodes, stopped
        self._env: VecEnv | None = None
        try:
            # simulators that describe themselves as they start have done so in training
            with _apart(EVALUATION_SEED), contextlib.redirect_stdout(io.StringIO()):
                self._env = make_env(min(episodes, MOST_ENVS), EVALUATION_SEED)
            why = "no second set of its environments can be made in this process"
        except Exception as error:
            why = one_line(error).rstrip(".")
        if self._env is not None:
            self._start = SameStart(self._env)
            return
        print(
            f"[trudi_rsl] Checkpoints are not evaluated during this training: {why}. best.pt goes by the training "
            "return; what evaluates them afterwards is scripts/play.py --every_checkpoint.",
            flush=True,
        )

    @property
    def possible(self) -> bool:
        """Whether there are environments to evaluate in."""
        return self._env is not None

    def numbers_of(self, runner: Any) -> dict[str, float] | None:
        """Evaluate a runner's policy as it would be exported, and leave the runner as it was.

        Args:
            runner: RSL-RL's, of any version, between two iterations.

        Returns:
            What the log gets; None where :meth:`run` returns that.
        """
        # which RSL-RL 3 gives a runner and newer versions its algorithm
        owner = runner if hasattr(runner, "train_mode") else runner.alg
        try:
            with fresh_hidden_states(policy_of(runner.alg)):
                results = self.run(runner.get_inference_policy(), runner.device)
        finally:
            owner.train_mode()
        return None if results is None else scalars(results)

    def run(self, policy: Policy, device: str) -> EpisodeResults | None:
        """Run the episodes, the same for every policy as far as seed and curricula decide.

        Args:
            policy: Acts.
            device: Where it computes.

        Returns:
            What they gave; None if something went wrong, training is asked to end, or after :meth:`end`.
        """
        if self._env is None or self._stopped():
            return None
        try:
            with _apart(EVALUATION_SEED):
                self._start.restore(EVALUATION_SEED)
                return evaluate(
                    self._env,
                    policy,
                    self.episodes,
                    progress=False,
                    on_progress=self._leave_if_stopped,
                    policy_device=device,
                )
        except _LeftError:
            return None
        except Exception as error:
            print(f"[trudi_rsl] The evaluation of this checkpoint failed; training goes on: {error}", flush=True)
            return None

    def _leave_if_stopped(self, _share: float) -> None:
        if self._stopped():
            raise _LeftError

    def end(self) -> None:
        """Close the environments; further evaluations give None."""
        env, self._env = self._env, None
        if env is not None and hasattr(env, "close"):
            env.close()  # type: ignore[attr-defined]


def require_episodes(episodes: object) -> None:
    """Refuse a setting ``evaluation_episodes`` that no evaluation can have.

    Raises:
        ConfigError: If it is neither None nor an integer of at least 1.
    """
    if episodes is not None and not is_count(episodes):
        raise ConfigError(
            "evaluation_episodes must be an integer of at least 1, or None for no evaluations, not "
            f"{one_line(repr(episodes), 50)}."
        )


@contextlib.contextmanager
def _apart(seed: int) -> Iterator[None]:
    """Let all random generators begin at a seed inside the block, and go on afterwards as if it had not been."""
    state = rng_state()
    try:
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        yield
    finally:
        set_rng_state(state)
