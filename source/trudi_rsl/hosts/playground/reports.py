# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""What the host reads of the simulation besides its outputs: statistics of ended episodes, and faults."""

from __future__ import annotations

import warnings

import jax
import numpy as np

from trudi_rsl.errors import NonFiniteError
from trudi_rsl.hosts.faults import WITHOUT_FURTHER_WARNINGS, describe_faults
from trudi_rsl.hosts.playground.simulation import FAULTS, Carry, Simulation

GPU_INTERVAL = 16
"""Steps between two readings on a GPU, where each forces a sync."""


class Reports:
    """Reads statistics and faults from the device.

    On a CPU, or with ``immediately``, those of a step are read after that step. On a GPU a reading starts every
    :data:`GPU_INTERVAL` steps and is used that many steps later, when it has long been copied.

    Args:
        task: Task name for messages.
        simulation: Names the statistics.
        device: The device.
    """

    def __init__(self, task: str, simulation: Simulation, device: jax.Device) -> None:
        self.task = task
        self._device, self.on_cpu = device, device.platform == "cpu"
        self._success = simulation.success
        self._metrics = simulation.metrics
        self._copied: tuple[jax.Array, jax.Array] | None = None
        self._steps = 0
        self._warned = False

    def read(self, carry: Carry, immediately: bool) -> tuple[Carry, dict[str, float] | None]:
        """Return the state with statistics that start from zero if they were read, and means over ended episodes.

        The means are None if nothing was read or no episode has ended. With ``immediately``, as for an evaluation, any
        fault is an error.

        Raises:
            NonFiniteError: The simulator or the policy returned NaN or infinity, and ``immediately`` is True or the
                environments cannot go on: all are affected, or one again in the first step after its restart.
        """
        self._steps += 1
        if immediately or self.on_cpu:
            totals, faults = np.asarray(carry.totals), np.asarray(carry.faults)
            if totals[0] or faults[0]:
                carry = self._cleared(carry)
        elif self._steps % GPU_INTERVAL:
            return carry, None
        else:
            copied, self._copied = self._copied, (carry.totals, carry.faults)
            for array in self._copied:
                array.copy_to_host_async()
            carry = self._cleared(carry)
            if copied is None:
                return carry, None
            totals, faults = map(np.asarray, copied)
        self._check(faults, len(carry.clock), immediately)
        return carry, self._log(totals)

    def _cleared(self, carry: Carry) -> Carry:
        zeros = np.zeros(carry.totals.shape, np.float32), np.zeros(FAULTS, np.int32)
        totals, faults = jax.device_put(zeros, self._device)
        return carry._replace(totals=totals, faults=faults)

    def forget(self) -> None:
        """Discard what has been copied but not used, as it is of other episodes than those of the simulation."""
        self._copied = None

    def _log(self, totals: np.ndarray) -> dict[str, float] | None:
        count, length, succeeded, returns, *metrics = totals.tolist()
        if not count:
            return None
        log = {"Episode/return": returns / count, "Episode/length": length / count}
        if self._success is not None:
            log["Episode/success"] = succeeded / count
        named = zip(self._metrics, metrics, strict=True)
        return log | {_log_name(name): value / count for name, value in named if name != self._success}

    def _check(self, faults: np.ndarray, num_envs: int, is_error: bool) -> None:
        number, env, step, fatal, caused = faults.tolist()
        if not number:
            return
        source = "the policy returned an action with" if caused else "the simulator returned"
        found = describe_faults(self.task, number, num_envs, env, f"{step} steps into its episode", source)
        if is_error or fatal:
            raise NonFiniteError(found)
        if not self._warned:
            self._warned = True
            warnings.warn(f"{found} {WITHOUT_FURTHER_WARNINGS}", stacklevel=4)


def _log_name(metric: str) -> str:
    """Return the name in the log of the mean of a task's metric over the steps of an episode."""
    section, _, name = metric.partition("/")
    return f"Episode_Reward/{name}" if section == "reward" and name else f"Episode_Metrics/{metric}"
