# SPDX-License-Identifier: BSD-3-Clause
"""Fresh episodes of every checkpoint's policy, of which training notices nothing but the time they take."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Callable, Iterator

import numpy as np
import torch
from rsl_rl.env import VecEnv

from trudi_rsl.algorithms.resume import rng_state, set_rng_state
from trudi_rsl.errors import ConfigError, one_line
from trudi_rsl.evaluation.episodes import EpisodeResults, Policy, evaluate
from trudi_rsl.plain_values import is_count
from trudi_rsl.rsl_rl_compat.progress import host_progress, set_host_progress

SEED = 10_000
"""Seed of the episodes, the same for every checkpoint; runs count theirs from much lower ones."""

MOST_ENVS = 64

MEAN_RETURN = "Evaluation/mean_return"
"""Name in the log of the number that decides which checkpoint is the best."""


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
        self._episodes, self._stopped = episodes, stopped
        self._env: VecEnv | None = None
        try:
            with _apart(SEED), _silent():
                self._env = make_env(min(episodes, MOST_ENVS), SEED)
                self._place = None if self._env is None else host_progress(self._env)
            why = None if self._env is not None else "no second set of its environments can be made in this process"
        except Exception as error:
            why = one_line(error).rstrip(".")
        if why is not None:
            print(
                f"[trudi_rsl] Checkpoints are not evaluated during this training: {why}. best.pt goes by the training "
                "return; scripts/play.py --every_checkpoint evaluates them afterwards.",
                flush=True,
            )

    @property
    def possible(self) -> bool:
        """Whether there are environments to evaluate in."""
        return self._env is not None

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
            with _apart(SEED):
                with _silent():
                    if self._place is not None:
                        set_host_progress(self._env, self._place)
                    if hasattr(self._env, "seed"):
                        self._env.seed(SEED)  # type: ignore[attr-defined]
                return evaluate(
                    self._env,
                    policy,
                    self._episodes,
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


def scalars(results: EpisodeResults) -> dict[str, float]:
    """Return what the log gets of an evaluation, by name."""
    numbers = {MEAN_RETURN: results.returns.mean(), "Evaluation/mean_episode_length": results.lengths.double().mean()}
    if results.success is not None:
        numbers["Evaluation/success"] = results.success.mean()
    return {name: value.item() for name, value in numbers.items()}


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


def _silent() -> contextlib.AbstractContextManager[object]:
    """Print nothing inside the block: simulators that describe themselves as they start have done so in training.

    Not for the episodes, which a signal may come in, and the answer to it has to be seen.
    """
    return contextlib.redirect_stdout(io.StringIO())
