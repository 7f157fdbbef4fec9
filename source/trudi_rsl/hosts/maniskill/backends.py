# SPDX-License-Identifier: BSD-3-Clause
"""Where ManiSkill simulates: on a GPU, in this process or in worker processes."""

from __future__ import annotations

import torch

from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.hosts.maniskill.make import CPU, CUDA, TaskOptions
from trudi_rsl.hosts.maniskill.simulations import CpuSimulations, GpuSimulation, Simulations
from trudi_rsl.hosts.maniskill.workers import WorkerSimulations, count_processes

SIM_BACKENDS = ("auto", CPU, CUDA)


def choose_backend(chosen: str, device: torch.device) -> str:
    """Return ManiSkill's backend for ``env.sim_backend`` and the training device.

    Raises:
        ConfigError: The backend is unknown, or the device is not its.
    """
    if chosen not in SIM_BACKENDS:
        raise ConfigError(f"Unknown env.sim_backend={chosen}. {nearest(chosen, SIM_BACKENDS)}")
    if chosen == CUDA and device.type != "cuda":
        raise ConfigError(f"env.sim_backend={CUDA} needs a CUDA device; --device is {device}.")
    if chosen == CPU or device.type != "cuda":
        return CPU
    return f"{CUDA}:{device.index}" if device.index else CUDA


def choose_workers(chosen: int | str, num_envs: int, backend: str) -> int:
    """Return the number of processes that simulate for ``env.workers``; 1 is this one.

    Raises:
        ConfigError: ``chosen`` is neither ``auto`` nor a number from 1 to ``num_envs``.
    """
    is_number = isinstance(chosen, int) and not isinstance(chosen, bool)
    if chosen != "auto" and not (is_number and 1 <= int(chosen) <= num_envs):
        raise ConfigError(
            "env.workers must be auto, or an integer of at least 1 and at most the number of environments "
            f"({num_envs}); got {chosen!r}."
        )
    if backend != CPU:
        return 1
    return int(chosen) if is_number else count_processes(num_envs)


def simulate(options: TaskOptions, num_envs: int, num_workers: int, render_mode: str | None) -> Simulations:
    """Make the simulations of E environments of checked options.

    Raises:
        ConfigError: The machine has no Vulkan device, or the task cannot run with the options.
    """
    if options.sim_backend != CPU:
        return GpuSimulation(options, num_envs, render_mode)
    if num_workers == 1:
        return CpuSimulations(options, num_envs, render_mode)
    return WorkerSimulations(options, num_envs, num_workers, render_mode)
