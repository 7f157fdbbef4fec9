# SPDX-License-Identifier: BSD-3-Clause
"""Rehearsing a resume during training: whether a saved state really brings an environment back.

An environment keeps its state wherever its author wanted: in globals, closures, objects of libraries. So a claim that a
resume is exact is tested: a few steps of one environment are recorded together with the state before them, and before
the next checkpoint another copy, started elsewhere, is put into that state and must repeat them bitwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from trudi_rsl.checkpoints.resume import rng_state, set_rng_state
from trudi_rsl.errors import one_line
from trudi_rsl.hosts.gymnasium.state import SimulatorStates, time_limits
from trudi_rsl.hosts.gymnasium.vector import Step, TaskVector

LENGTH = 32
"""Steps of a recording."""
FIRST_PAUSE = 64
"""Steps after which the second recording begins; each pause is four times the one before."""
_OTHER_SEED = 987_654_321
"""Seed of the copy, so that it starts in another state than any environment of a training."""


@dataclass
class _Recording:
    env: int
    length: int
    """Steps of the episode before the recording, as its time limits count them."""
    state: dict[str, Any]
    actions: list[np.ndarray] = field(default_factory=list)
    outcomes: list[tuple[Any, ...]] = field(default_factory=list)


class Rehearsal:
    """Records steps of the environment that is nearest to the end of its episode, and repeats them in another copy.

    Args:
        states: Of the environments.
        make_copy: Makes a vector of one more copy of the task.
    """

    def __init__(self, states: SimulatorStates, make_copy: Callable[[], TaskVector]) -> None:
        self._states, self._make_copy = states, make_copy
        self._copy: tuple[TaskVector, SimulatorStates] | None = None
        self._running: _Recording | None = None
        self._finished: _Recording | None = None
        self._steps, self._due, self._pause = 0, 0, FIRST_PAUSE
        self._failure: str | None = None

    def before_step(self, lengths: np.ndarray) -> None:
        """Start a recording if one is due; ``lengths`` ``[E]`` are the steps that time limits have counted."""
        if not self._states.readable or self._failure is not None:
            return
        if self._running is None and self._steps >= self._due:
            env = int(lengths.argmax())
            self._running = _Recording(env, int(lengths[env]), self._states.save([env]).content)
            self._due, self._pause = self._steps + self._pause, 4 * self._pause
        self._steps += 1

    def after_step(self, actions: np.ndarray, step: Step) -> None:
        """Record a step with actions ``[E, A]``."""
        if (recording := self._running) is None:
            return
        outcome = _outcome(step, recording.env)
        if not np.isfinite(outcome[-1]).all():  # it was reset because of NaN, not by its task
            self.interrupt()
            return
        recording.actions.append(actions[recording.env].copy())
        recording.outcomes.append(outcome)
        if len(recording.actions) == LENGTH:
            self._running, self._finished = None, recording

    def interrupt(self) -> None:
        """Drop a running recording, because the environments were changed other than by steps."""
        self._running = None

    def failure(self) -> str | None:
        """Repeat what was recorded since the last call; return why a resume is not exact, None as far as is known.

        Random generators of torch, NumPy and Python are left as they were.
        """
        recordings = [recording for recording in (self._finished, self._running) if recording and recording.actions]
        self._running = self._finished = None
        self._due, self._pause = self._steps, FIRST_PAUSE
        for recording in recordings:
            if self._failure is None:
                with _generators_kept():
                    self._failure = self._repeat(recording)
        return self._failure

    def _repeat(self, recording: _Recording) -> str | None:
        try:
            if self._copy is None:
                vector = self._make_copy()
                self._copy = vector, SimulatorStates(vector.envs)
            vector, states = self._copy
            vector.start(_OTHER_SEED)
            if (why := states.load(recording.state)) is not None:
                return why
            for limit in time_limits(vector.envs[0]):
                limit._elapsed_steps = recording.length
            for number, (action, expected) in enumerate(zip(recording.actions, recording.outcomes, strict=True), 1):
                found = _outcome(vector.advance(action[None]), 0)
                for name, mine, its in zip(_NAMES, found, expected, strict=True):
                    if not np.array_equal(mine, its):
                        return f"a copy that was put into a saved state differs in its {name} after {number} steps"
        except Exception as error:  # a task's own code, which nobody has made for this
            return f"a copy could not be put into a saved state ({type(error).__name__}: {one_line(error, 120)})"
        return None


_NAMES = ("observation", "reward", "termination", "truncation", "last observation")


def _outcome(step: Step, env: int) -> tuple[Any, ...]:
    flags = (bool(step.terminated[env]), bool(step.truncated[env]))
    return step.obs[env].copy(), float(step.rewards[env]), *flags, step.final_obs[env].copy()


@contextmanager
def _generators_kept() -> Iterator[None]:
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
