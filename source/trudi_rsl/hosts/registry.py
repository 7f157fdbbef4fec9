# SPDX-License-Identifier: BSD-3-Clause
"""Which host simulates a task: Isaac Lab and mjlab start their simulators themselves; all other tasks are Gymnasium's.

Hosts are imported inside functions: each needs its own simulator, and a task must not import that of another.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

import torch
from rsl_rl.env import VecEnv

from trudi_rsl.command_line import refuse_flags
from trudi_rsl.config import check_startable
from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.policies import Simulation
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.task_names import counterpart


@dataclass(frozen=True)
class Host:
    """A framework that starts its simulator itself, once per process, and has training commands of its own."""

    name: str
    """Name in messages."""
    package: str
    """Its Python package, our package for it, and the first part of its entry-point group ``<package>.tasks``."""
    prefixes: tuple[str, ...]
    """Prefixes of the names of its own tasks."""
    install: str
    """How to install it."""
    checks_arguments: bool
    """Whether its launcher checks flags and device, because its commands have flags of their own."""
    has_task: Callable[[str], bool]
    """Whether a task of this name is registered; the host must be installed."""

    def is_installed(self) -> bool:
        """Return whether the package can be imported."""
        return importlib.util.find_spec(self.package) is not None

    def train(self, args: argparse.Namespace, rest: Sequence[str]) -> None:
        """Train a task with the flags of ``scripts/train.py``; ``rest`` are overrides, and flags of the host.

        Raises:
            ImportError: The host is not installed.
            ConfigError: A flag, task or setting does not exist or cannot be used.
            CheckpointError: The checkpoint to resume does not exist or belongs to another task or algorithm.
        """
        self._launcher(args, rest).train(args, rest)

    def play(self, args: argparse.Namespace, rest: Sequence[str]) -> None:
        """Play a policy; arguments and errors are those of :meth:`train`, the flags those of ``scripts/play.py``."""
        self._launcher(args, rest).play(args, rest)

    def _launcher(self, args: argparse.Namespace, rest: Sequence[str]) -> ModuleType:
        if not self.is_installed():
            raise ImportError(f"{self.name} is not installed, and task {args.task!r} needs it. {self.install}")
        if not self.checks_arguments:
            refuse_flags(rest, args.flags)
            if args.device is not None:
                check_device(args.device)
        return importlib.import_module(f"trudi_rsl.hosts.{self.package}.launch")


def _is_in_isaaclab(name: str) -> bool:
    import gymnasium

    tasks = [task for task, spec in gymnasium.registry.items() if "env_cfg_entry_point" in spec.kwargs]
    return counterpart(name, tasks) is not None


def _is_in_mjlab(name: str) -> bool:
    from mjlab.tasks import registry  # pyright: ignore[reportMissingImports]

    return name in registry.list_tasks()


ISAACLAB = Host(
    "Isaac Lab",
    "isaaclab",
    ("Isaac-", "IsaacContrib-"),
    "Isaac Lab 3.0 (Python 3.12): pip install isaaclab. If Isaac Lab is a checkout, run this script as "
    "./isaaclab.sh -p scripts/train.py ...",
    True,
    _is_in_isaaclab,
)
MJLAB = Host("mjlab", "mjlab", ("Mjlab-",), 'Run: pip install "mjlab==1.6.0"', False, _is_in_mjlab)
HOSTS = (MJLAB, ISAACLAB)
"""All hosts but Gymnasium."""


def find_host(task: str) -> Host | None:
    """Return the host of a task, None for Gymnasium, whose environments :func:`make_env` makes.

    A name without a host's prefix belongs to a host if a project has registered it there, for ``module:Name`` by
    importing ``module``; ConfigError if that cannot be imported.
    """
    module, _, name = task.rpartition(":")
    for host in HOSTS:
        if name.startswith(host.prefixes):
            return host
    installed = [host for host in HOSTS if host.is_installed()]
    for host in installed:
        for entry_point in entry_points(group=f"{host.package}.tasks"):
            entry_point.load()
    if module and installed:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            # A task package of Isaac Lab 2.3 can only be imported after the simulator has started.
            if error.name == module or ISAACLAB not in installed:
                raise ConfigError(f"Cannot import {module!r} of task {task!r}: {error}.") from error
            return ISAACLAB
    return next((host for host in installed if host.has_task(name)), None)


def make_env(
    task: str, env_cfg: Mapping[str, Any], device: str = "cpu", seed: int = 0, render_mode: str | None = None
) -> VecEnv:
    """Make the environments of a Gymnasium task from the ``env`` section of a configuration.

    Arguments and errors are those of :class:`~trudi_rsl.hosts.gymnasium.env.GymnasiumVecEnv`; ConfigError also if the
    task belongs to another host or this machine does not have the device.
    """
    if any(task.startswith(host.prefixes) for host in HOSTS):
        raise ConfigError(f"The simulator of task {task!r} starts itself; train it with scripts/train.py.")
    check_device(device)
    from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv

    bounds = env_cfg.get("action_bounds")
    if bounds is not None and len(bounds) != 2:
        raise ConfigError(f"env.action_bounds must be [low, high]; got {list(bounds)}.")
    return GymnasiumVecEnv(
        task,
        env_cfg["num_envs"],
        seed=seed,
        device=device,
        max_episode_steps=env_cfg.get("max_episode_steps"),
        env_kwargs=dict(env_cfg.get("env_kwargs") or {}),
        render_mode=render_mode,
        action_bounds=None if bounds is None else (bounds[0], bounds[1]),
    )


def check_device(device: str) -> None:
    """Raise a ConfigError that lists this machine's devices if ``device`` is none of them."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        have = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise ConfigError(
            f"Cannot use device {device!r}; this machine has: {', '.join(have)}. Choose one with --device."
        ) from error


def require_gymnasium(task: str, device: str) -> None:
    """Raise a ConfigError if :func:`make_env` cannot make a task's environments on a device."""
    check_startable(task)
    if find_host(task) is not None:
        raise ConfigError(
            f"The simulator of task {task!r} starts itself, once per process; only Gymnasium's tasks are evaluated "
            f"side by side. For one checkpoint: scripts/play.py --task {task} --checkpoint FILE --headless "
            "--episodes 32."
        )
    check_device(device)


GYMNASIUM = Simulation(make_env, OnPolicyRunner, require_gymnasium)
"""Gymnasium's environments, for evaluations."""
