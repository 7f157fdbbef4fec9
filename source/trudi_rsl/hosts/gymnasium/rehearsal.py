# SPDX-License-Identifier: BSD-3-Clause
"""Rehearsing a resume during training: whether a saved state really brings an environment back.

An environment keeps its state wherever its author wanted: in globals, closures, objects of libraries. So a claim that a
resume is exact is tested: a few steps of one environment are recorded together with the state before them, and before
the next checkpoint two other copies, started elsewhere, are put into that state, must repeat them bitwise, and then
agree with each other about the next episode.
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
NEXT_EPISODE = 4
"""Steps that the copies are compared for after a reset."""
_OTHER_SEED = 987_654_321
"""Seed of the copies, so that they start in another state than any environment of a training."""


@dataclass
class _Recording:
    env: int
    length: int
    """Steps of the episode before the recording, as its time limits count them."""
    state: dict[str, Any]
    actions: list[np.ndarray] = field(default_factory=list)
    outcomes: list[tuple[Any, ...]] = field(default_factory=list)


class Rehearsal:
    """Records steps of the environment that is nearest to the end of its episode, and repeats them in other copies.

    Args:
        states: Of the environments.
        make_copies: Makes a vector of two more copies of the task.
    """

    def __init__(self, states: SimulatorStates, make_copies: Callable[[], TaskVector]) -> None:
        self._states, self._make_copies = states, make_copies
        self._copies: tuple[TaskVector, SimulatorStates] | None = None
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
            if self._copies is None:
                vector = self._make_copies()
                self._copies = vector, SimulatorStates(vector.envs)
            vector, states = self._copies
            vector.start(_OTHER_SEED)
            state = {name: 2 * values for name, values in recording.state.items()}
            if (why := states.load(state)) is not None:
                return why
            for env in vector.envs:
                for limit in time_limits(env):
                    limit._elapsed_steps = recording.length
            for number, (action, expected) in enumerate(zip(recording.actions, recording.outcomes, strict=True), 1):
                step = vector.advance(np.stack([action, action]))
                for env in range(2):
                    if (name := _difference(_outcome(step, env), expected)) is not None:
                        return f"a copy that was put into a saved state differs in its {name} after {number} steps"
            first, second = vector.start()
            if not np.array_equal(first, second):
                return "two copies that were put into a saved state start different episodes after it"
            for action in recording.actions[:NEXT_EPISODE]:
                step = vector.advance(np.stack([action, action]))
                if (name := _difference(_outcome(step, 0), _outcome(step, 1))) is not None:
                    return f"two copies that were put into a saved state differ in the {name} of the next episode"
        except Exception as error:  # a task's own code, which nobody has made for this
            return f"a copy could not be put into a saved state ({type(error).__name__}: {one_line(error, 120)})"
        return None


_NAMES = ("observation", "reward", "termination", "truncation", "last observation")


def _outcome(step: Step, env: int) -> tuple[Any, ...]:
    flags = (bool(step.terminated[env]), bool(step.truncated[env]))
    return step.obs[env].copy(), float(step.rewards[env]), *flags, step.final_obs[env].copy()


def _difference(found: tuple[Any, ...], expected: tuple[Any, ...]) -> str | None:
    """Return the name of the first part of two outcomes that is not bitwise the same."""
    pairs = zip(_NAMES, found, expected, strict=True)
    return next((name for name, mine, its in pairs if not np.array_equal(mine, its)), None)


@contextmanager
def _generators_kept() -> Iterator[None]:
    state = rng_state()
    try:
        yield
    finally:
        set_rng_state(state)
