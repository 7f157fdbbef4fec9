# SPDX-License-Identifier: BSD-3-Clause
"""Running an exported policy at its control period without PyTorch. Needs only numpy and onnxruntime."""

from __future__ import annotations

import time
import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trudi_rsl.deploy.contract import Array, Contract, ContractError, ObservationTerm
from trudi_rsl.deploy.session import check_shapes, open_session
from trudi_rsl.errors import nearest, one_line


class ObservationBuilder:
    """Clips and scales the terms of an observation, keeps their histories and concatenates them in order."""

    def __init__(self, terms: Sequence[ObservationTerm]) -> None:
        self._terms = {term.name: term for term in terms}
        self._latest: dict[str, Array] = {}
        self.reset()

    def reset(self) -> None:
        """Clear the histories; the next frame fills them."""
        self._histories = {name: deque(maxlen=term.history) for name, term in self._terms.items()}

    def build(self, values: Mapping[str, ArrayLike]) -> Array:
        """Return the observation ``[O]`` with the given frame as the newest, without changing the histories.

        Args:
            values: One unscaled frame per term, by name.

        Raises:
            ContractError: If a term is missing, unknown or of the wrong size.
        """
        frames = {name: self._frame(term, values) for name, term in self._terms.items()}
        for name in values:
            if name not in self._terms:
                raise ContractError(f"Unknown observation term {name!r}. {nearest(name, self._terms)}")
        self._latest = frames
        if not frames:
            return np.zeros(0, np.float32)
        return np.concatenate([np.concatenate(self._with(name, frame)) for name, frame in frames.items()])

    def keep(self) -> None:
        """Append the frame of the last :meth:`build` to the histories."""
        for name, frame in self._latest.items():
            self._histories[name].extend(self._with(name, frame))

    def repeat(self) -> None:
        """Append the newest frame of the histories once more, in place of an unusable one."""
        for history in self._histories.values():
            history.extend(list(history)[-1:])

    def _with(self, name: str, frame: Array) -> list[Array]:
        """Return the frames of a term, with ``frame`` as the newest."""
        length = self._terms[name].history
        return ([*self._histories[name], frame] if self._histories[name] else [frame] * length)[-length:]

    def _frame(self, term: ObservationTerm, values: Mapping[str, ArrayLike]) -> Array:
        if term.name not in values:
            raise ContractError(
                f"The observation term {term.name!r} is missing; the policy reads {', '.join(self._terms)}."
            )
        frame = np.asarray(values[term.name], np.float32).reshape(-1)
        if len(frame) != term.size:
            raise ContractError(f"The observation term {term.name!r} has {len(frame)} numbers instead of {term.size}.")
        if term.clip is not None:
            frame = np.clip(frame, *term.clip)
        return frame * np.asarray(term.scale, np.float32)


class Latency(NamedTuple):
    """Milliseconds per call."""

    p50: float
    p99: float
    worst: float

    @classmethod
    def from_seconds(cls, seconds: Sequence[float] | np.ndarray) -> Latency:
        """Summarise the durations of calls, in seconds."""
        return cls(*(1e3 * np.quantile(np.asarray(seconds), [0.5, 0.99, 1.0])).tolist())

    def warning(self, period_ms: float | None) -> str | None:
        """Return a warning if calls are too slow for a control period, None if they are not or it is unknown."""
        if period_ms is None or self.p99 <= period_ms:
            return None
        return (
            f"The policy takes {self.p99:.2f} ms at the 99th percentile, longer than the control period of "
            f"{period_ms:.2f} ms."
        )


class PolicyStoppedError(RuntimeError):
    """The policy received unusable observations for too long. ``Policy.reset`` starts it again."""


class Policy:
    """A policy from an ONNX file, with safeguards for a robot.

    - If an observation holds NaN or infinity, lies too far from those of training, or leads to an action that is not
      finite, the last action is held; after too many such steps in a row the policy stops.
    - A policy that remembers keeps its state here, and unusable observations do not change it.
    - Actions are clipped to the bounds of training; the clipped steps are counted.

    Args:
        file: ONNX file written by ``trudi export``; its metadata is the contract.
        max_held: Steps in a row for which the last action may be held; at least 0.
        max_deviation: Distance from the mean of training, in standard deviations, beyond which an observation is
            unusable; None checks only for NaN and infinity.
        num_threads: As for :func:`open_session`.
        latent_seed: Seed of the initial latents of a file that takes them (``trudi export --latent_input``), of which
            each step draws a new one; None draws different ones in each process.

    Raises:
        ContractError: If the file has no valid contract.
        FileNotFoundError: If there is no such file.
        ValueError: If an option is out of range.
    """

    def __init__(
        self,
        file: str | Path,
        max_held: int = 5,
        max_deviation: float | None = None,
        num_threads: int = 1,
        latent_seed: int | None = None,
    ) -> None:
        if max_held < 0:
            raise ValueError(f"max_held must be at least 0, got {max_held}.")
        if max_deviation is not None and not max_deviation > 0.0:
            raise ValueError(f"max_deviation must be above 0 or None, got {max_deviation}.")
        if not Path(file).is_file():
            raise FileNotFoundError(f"There is no policy at {file}.")
        try:
            self._session = open_session(file, num_threads)
            metadata = self._session.get_modelmeta().custom_metadata_map
        except Exception as error:  # onnxruntime raises many classes of its own
            raise ContractError(f"{file} is not a policy that onnxruntime can run: {one_line(error)}") from error
        self.contract = Contract.from_metadata(metadata)
        self.num_actions = check_shapes(self._session, self.contract)
        takes_latents = self._session.get_inputs()[-1].name == "latent"
        self._latents = np.random.default_rng(latent_seed) if takes_latents else None
        self._builder = ObservationBuilder(self.contract.terms)
        self._outputs = [node.name for node in self._session.get_outputs()]
        self._state: dict[str, Array] = {}
        self._max_held, self._max_deviation = max_held, max_deviation
        if max_deviation is not None and (self.contract.obs_mean is None or self.contract.obs_std is None):
            raise ContractError("max_deviation needs the statistics of training, which the file does not hold.")
        self.num_clipped = 0
        """Steps with a clipped action, in total."""
        self.num_held = 0
        """Steps at which the last action was held, in total."""
        self._held_in_a_row = 0
        self._last: Array | None = None
        self.reset()

    def reset(self) -> None:
        """Start an episode: clear histories, memory and the last action, and resume after a stop."""
        self._builder.reset()
        self._state = {} if self.contract.memory is None else self.contract.memory.zeros()
        self._held_in_a_row, self._last = 0, None

    @property
    def last_action(self) -> Array:
        """The previous action ``[A]``, which many policies observe; zeros at the start of an episode."""
        return np.zeros(self.num_actions, np.float32) if self._last is None else self._last.copy()

    def joint_commands(self, action: Array) -> dict[str, float]:
        """Return the commands of an action ``[A]`` by joint name, in radians or metres for positions.

        Raises:
            ContractError: If the file does not describe the joints.
        """
        if not self.contract.actions:
            raise ContractError("The file does not say which joints its actions command.")
        commands = {}
        for term in self.contract.actions:
            own, action = np.split(action, [len(term.joint_names)])
            commands |= zip(term.joint_names, term.commands(own).tolist(), strict=True)
        return commands

    def latency_ms(self, num_calls: int = 200) -> Latency:
        """Measure the network's time for one action, in at least one call; histories and counters do not change."""
        inputs: dict[str, np.ndarray] = {}
        if self.contract.num_obs:
            inputs["obs"] = np.zeros((1, self.contract.num_obs), np.float32)
        inputs |= {image.name: np.zeros((1, *image.shape), image.dtype) for image in self.contract.images}
        if self._latents is not None:
            inputs["latent"] = np.zeros((1, self.num_actions), np.float32)
        inputs |= self._state
        seconds = np.empty(num_calls)
        for i in range(-(num_calls // 10), num_calls):
            begin = time.perf_counter()
            self._session.run(["actions"], inputs)
            seconds[i] = time.perf_counter() - begin
        return Latency.from_seconds(seconds)

    def __call__(
        self, obs: ArrayLike | Mapping[str, ArrayLike], images: Mapping[str, np.ndarray] | None = None
    ) -> Array:
        """Return the action ``[A]`` in the simulator's units.

        Args:
            obs: The complete, scaled observation ``[O]``; or one unscaled frame per term by name, from which the policy
                builds it with scales and histories.
            images: Images ``[C, H, W]`` by name, of the types of training, for a policy that sees any; None takes them
                out of a mapping ``obs``.

        Raises:
            ContractError: If the observation has the wrong size or terms.
            PolicyStoppedError: If more than ``max_held`` observations in a row are unusable, or the first of an
                episode, when there is no action to hold.
        """
        seen = self._images(obs, images)
        if isinstance(obs, Mapping):
            whole = self._builder.build({name: value for name, value in obs.items() if name not in seen})
        else:
            whole = np.asarray(obs, np.float32).reshape(-1)
            if len(whole) != self.contract.num_obs:
                parts = ", ".join(f"{term.name} {term.total}" for term in self.contract.terms)
                raise ContractError(
                    f"The observation has {len(whole)} numbers instead of {self.contract.num_obs} ({parts})."
                )
        if (reason := self._unusable(whole, seen)) is not None:
            return self._hold(reason)
        inputs = {name: image[None] for name, image in seen.items()} | self._state
        if self.contract.num_obs:
            inputs["obs"] = whole[None]
        if self._latents is not None:
            inputs["latent"] = self._latents.standard_normal((1, self.num_actions), np.float32)
        actions, *state = self._session.run(self._outputs, inputs)
        action = np.asarray(actions, np.float32)[0]
        if not np.isfinite(action).all():
            return self._hold(f"NaN or infinity in the action at positions {_positions(~np.isfinite(action))}")
        if isinstance(obs, Mapping):
            self._builder.keep()
        self._state = {name: np.asarray(part) for name, part in zip(self._state, state, strict=True)}
        self._held_in_a_row = 0
        self._last = self._clip(action)
        return self._last.copy()

    def _images(self, obs: Any, images: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        """Return the images ``[C, H, W]`` that the policy sees.

        Raises:
            ContractError: If one is missing, or of another shape or type.
        """
        given = images if images is not None else obs if isinstance(obs, Mapping) else {}
        seen = {}
        for image in self.contract.images:
            if image.name not in given:
                raise ContractError(f"The image {image.name!r} {image.shape} is missing.")
            seen[image.name] = values = np.asarray(given[image.name])
            if values.shape != image.shape or values.dtype != image.dtype:
                raise ContractError(
                    f"The image {image.name!r} is {values.dtype} {values.shape} instead of {image.dtype} {image.shape}."
                )
        return seen

    def _unusable(self, obs: Array, images: Mapping[str, np.ndarray]) -> str | None:
        """Return why an observation is unusable, None if it is usable."""
        for name, values in images.items():
            if not np.isfinite(values).all():
                return f"NaN or infinity in the image {name!r}"
        if not np.isfinite(obs).all():
            return f"NaN or infinity at positions {_positions(~np.isfinite(obs))}"
        mean, std = self.contract.obs_mean, self.contract.obs_std
        if self._max_deviation is not None and mean is not None and std is not None:
            far = np.abs(obs - mean) > self._max_deviation * std
            if far.any():
                return f"more than {self._max_deviation:g} standard deviations off at positions {_positions(far)}"
        return None

    def _hold(self, reason: str) -> Array:
        self._builder.repeat()
        self._held_in_a_row += 1
        if self._last is None or self._held_in_a_row > self._max_held:
            raise PolicyStoppedError(
                f"Unusable observation for {self._held_in_a_row} step(s) in a row ({reason}); "
                f"{'there is no action yet to hold' if self._last is None else 'the last action was held until now'}. "
                "Bring the robot to a safe state, then call reset()."
            )
        self.num_held += 1
        warnings.warn(f"Holding the last action: unusable observation ({reason}).", RuntimeWarning, stacklevel=3)
        return self._last.copy()

    def _clip(self, action: Array) -> Array:
        low, high = self.contract.action_low, self.contract.action_high
        if low is None or high is None:
            return action
        bounded = np.clip(action, low, high)
        # rounding of the scaled squashed action stays below this
        self.num_clipped += bool((np.abs(bounded - action) > 1e-5 * (high - low)).any())
        return bounded


def _positions(mask: np.ndarray) -> str:
    found = np.flatnonzero(mask)
    return ", ".join(map(str, found[:8])) + (", ..." if len(found) > 8 else "")


@dataclass(frozen=True)
class LoopReport:
    """Timing of a control loop; a step's time covers reading, acting and writing."""

    num_steps: int
    num_late: int
    """Steps that took longer than the period."""
    ms_p50: float
    ms_p99: float
    ms_worst: float


def control_loop(
    policy: Policy,
    read: Callable[[], ArrayLike | Mapping[str, ArrayLike]],
    write: Callable[[Array], None],
    num_steps: int,
    period_s: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> LoopReport:
    """Read an observation, act and write the action once per period.

    A late step delays the following ones; no step is skipped to catch up.

    Args:
        policy: The policy, which is reset first.
        read: Returns the observation, in either form that the policy accepts.
        write: Receives the action ``[A]``.
        num_steps: Steps to run, at least 1.
        period_s: Control period in seconds, above 0; None is the period of training.
        clock: Returns monotonic seconds.
        sleep: Blocks for a number of seconds.

    Raises:
        ContractError: If no period is given and the file does not hold one.
        PolicyStoppedError: Raised by the policy. The robot keeps the last action that was written; the caller must
            bring it to a safe state.
        ValueError: If an option is out of range.
    """
    period = policy.contract.control_period_s if period_s is None else period_s
    if period is None:
        raise ContractError("The policy's file does not hold its control period; pass period_s.")
    if not period > 0.0 or num_steps < 1:
        raise ValueError(f"period_s must be above 0 and num_steps at least 1, got {period} and {num_steps}.")
    if (warning := policy.latency_ms().warning(1e3 * period)) is not None:
        warnings.warn(warning, RuntimeWarning, stacklevel=2)
    policy.reset()
    seconds = np.empty(num_steps)
    begin = clock()
    for step in range(num_steps):
        write(policy(read()))
        seconds[step] = clock() - begin
        sleep(max(0.0, period - seconds[step]))
        begin += max(period, seconds[step])
    return LoopReport(num_steps, int((seconds > period).sum()), *Latency.from_seconds(seconds))
