# SPDX-License-Identifier: BSD-3-Clause
"""Running an exported policy without PyTorch: numpy and onnxruntime."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from trudi_rsl.deploy.contract import Array, Contract, ContractError
from trudi_rsl.deploy.observation import ObservationBuilder
from trudi_rsl.deploy.session import open_session
from trudi_rsl.errors import one_line
from trudi_rsl.plain_values import is_count

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class Latency(NamedTuple):
    """Milliseconds of one call."""

    p50: float
    p99: float
    worst: float


class PolicyStoppedError(RuntimeError):
    """A policy that was given unusable observations for too long. ``Policy.reset`` starts it again."""


class Policy:
    """A policy from an ONNX file, with rules for what goes wrong on a robot.

    - An observation that holds NaN or infinity, or lies too far from those of training, is not given to the policy: the
      last action is held, and after too many in a row the policy stops. So it is where the action would not be finite.
    - Actions are clipped to the bounds that the policy was trained within; what was clipped is counted.

    Args:
        file: What ``scripts/export.py`` wrote; its metadata is the contract.
        max_held: Steps in a row for which the last action may be held; at least 0.
        max_deviation: Distance from the mean of training, in standard deviations of training, beyond which an
            observation is unusable; None looks at NaN and infinity alone.
        num_threads: Threads of onnxruntime. More than one makes a network of this size slower.

    Raises:
        ContractError: If the file does not tell what its policy reads, or contradicts itself.
        FileNotFoundError: If there is no such file.
        ValueError: If an option is out of range.
    """

    def __init__(
        self, file: str | Path, max_held: int = 5, max_deviation: float | None = None, num_threads: int = 1
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
        except Exception as error:  # onnxruntime has a class of its own for each
            raise ContractError(f"{file} is no policy that onnxruntime can run: {one_line(error)}") from error
        self.contract = Contract.from_metadata(metadata)
        self.num_actions = _checked_sizes(self._session, self.contract)
        self._builder = ObservationBuilder(self.contract.terms)
        self._max_held, self._max_deviation = max_held, max_deviation
        if max_deviation is not None and (self.contract.obs_mean is None or self.contract.obs_std is None):
            raise ContractError("max_deviation needs the statistics of training, which the file does not hold.")
        self.num_clipped = 0
        """Steps whose action was clipped, in all."""
        self.num_held = 0
        """Steps at which the last action was held, in all."""
        self._held_in_a_row = 0
        self._last: Array | None = None

    def reset(self) -> None:
        """Begin an episode: forget histories and the last action, and start again after a stop."""
        self._builder.reset()
        self._held_in_a_row, self._last = 0, None

    @property
    def last_action(self) -> Array:
        """The action before the next one ``[A]``, which many policies observe; zeros at the start of an episode."""
        return np.zeros(self.num_actions, np.float32) if self._last is None else self._last.copy()

    def joint_commands(self, action: Array) -> dict[str, float]:
        """Return what an action ``[A]`` commands, in radians or metres for positions, by the joints' names.

        Raises:
            ContractError: If the file does not tell what its actions command.
        """
        if not self.contract.actions:
            raise ContractError("The file does not tell which joints its actions command.")
        commands, begin = {}, 0
        for term in self.contract.actions:
            end = begin + len(term.joint_names)
            values = term.commands(action[begin:end]).tolist()
            commands |= dict(zip(term.joint_names, values, strict=True))
            begin = end
        return commands

    def latency_ms(self, num_calls: int = 200) -> Latency:
        """Return how long the network takes for one action, measured now; histories and counts stay as they are.

        Args:
            num_calls: Calls to measure, at least 1, after a tenth as many that are not.
        """
        obs = np.zeros((1, self.contract.num_obs), np.float32)
        taken = np.empty(num_calls)
        for i in range(-(num_calls // 10), num_calls):
            begin = time.perf_counter()
            self._session.run(["actions"], {"obs": obs})
            taken[i] = time.perf_counter() - begin
        p50, p99 = 1e3 * np.quantile(taken, [0.5, 0.99])
        return Latency(float(p50), float(p99), float(1e3 * taken.max()))

    def __call__(self, obs: ArrayLike | Mapping[str, ArrayLike]) -> Array:
        """Return the action ``[A]`` in the simulator's units.

        Args:
            obs: The whole observation ``[O]`` as the policy sees it, or one frame of each of its terms by name, which
                are then scaled, put in order and kept for their histories.

        Raises:
            ContractError: If the observation has another size or other terms than the policy reads.
            PolicyStoppedError: If observations were unusable for more than ``max_held`` steps in a row, or the first
                of an episode is, so that there is no action to hold.
        """
        if isinstance(obs, Mapping):
            whole = self._builder.build(obs)
        else:
            whole = np.asarray(obs, np.float32).reshape(-1)
            if len(whole) != self.contract.num_obs:
                parts = ", ".join(f"{term.name} {term.total}" for term in self.contract.terms)
                raise ContractError(
                    f"The observation has {len(whole)} numbers instead of {self.contract.num_obs} ({parts})."
                )
        if (reason := self._unusable(whole)) is not None:
            self._builder.repeat()
            return self._hold(reason)
        (actions,) = self._session.run(["actions"], {"obs": whole[None]})
        action = np.asarray(actions, np.float32)[0]
        if not np.isfinite(action).all():
            self._builder.repeat()
            return self._hold(f"NaN or infinity in the action at positions {_positions(~np.isfinite(action))}")
        if isinstance(obs, Mapping):
            self._builder.keep()
        self._held_in_a_row = 0
        self._last = self._clipped(action)
        return self._last.copy()

    def _unusable(self, obs: Array) -> str | None:
        if not np.isfinite(obs).all():
            return f"NaN or infinity at positions {_positions(~np.isfinite(obs))}"
        mean, std = self.contract.obs_mean, self.contract.obs_std
        if self._max_deviation is not None and mean is not None and std is not None:
            far = np.abs(obs - mean) > self._max_deviation * std
            if far.any():
                return f"more than {self._max_deviation:g} standard deviations off at positions {_positions(far)}"
        return None

    def _hold(self, reason: str) -> Array:
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

    def _clipped(self, action: Array) -> Array:
        low, high = self.contract.action_low, self.contract.action_high
        if low is None or high is None:
            return action
        bounded = np.clip(action, low, high)
        # the scaling of a squashed action rounds, by less than this
        self.num_clipped += bool((np.abs(bounded - action) > 1e-5 * (high - low)).any())
        return bounded


def _checked_sizes(session: InferenceSession, contract: Contract) -> int:
    """Return the number of actions, having compared the file's shapes with its contract."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    names = [[node.name for node in nodes] for nodes in (inputs, outputs)]
    if names != [["obs"], ["actions"]]:
        raise ContractError(f"The file maps {names[0]} to {names[1]} instead of ['obs'] to ['actions'].")
    rows = next(iter(inputs[0].shape), "no")
    if rows != 1:
        raise ContractError(f"The file takes {one_line(rows)} observations per call, a robot has one. Export batch 1.")
    if inputs[0].shape != [1, contract.num_obs]:
        raise ContractError(
            f"The file's metadata tells of {contract.num_obs} observations, its input has shape "
            f"{one_line(inputs[0].shape)}."
        )
    num_actions: int = [0, *outputs[0].shape][-1]
    if not is_count(num_actions) or outputs[0].shape != [1, num_actions]:
        raise ContractError(f"The file gives actions of shape {one_line(outputs[0].shape)} instead of [1, A].")
    for node in (inputs[0], outputs[0]):
        if node.type != "tensor(float)":
            raise ContractError(f"The file's {node.name} are {one_line(node.type)}, not float32.")
    if contract.actions and sum(len(action.joint_names) for action in contract.actions) != num_actions:
        raise ContractError(f"The file gives {num_actions} actions, its metadata tells of others.")
    for name, values, size in (
        ("action_low", contract.action_low, num_actions),
        ("action_high", contract.action_high, num_actions),
        ("obs_mean", contract.obs_mean, contract.num_obs),
        ("obs_std", contract.obs_std, contract.num_obs),
    ):
        if values is not None and values.shape != (size,):
            raise ContractError(f"The file's metadata has {name} of shape {values.shape} instead of ({size},).")
    return num_actions


def _positions(chosen: np.ndarray) -> str:
    found = np.flatnonzero(chosen)
    return ", ".join(map(str, found[:8])) + (", ..." if len(found) > 8 else "")
