# SPDX-License-Identifier: BSD-3-Clause
"""What a host is: a simulator of tasks, as an entry point of the group ``trudi_rsl.hosts`` names it.

A host is described in a module that imports no simulator, because the descriptions of all hosts are read for any task;
the functions of a description import it when they are called. Nor is torch imported here, so that commands refuse wrong
arguments at once.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any, Protocol

from omegaconf import OmegaConf

from trudi_rsl.command_line import refuse_flags, require_new
from trudi_rsl.config import compose, resume_path
from trudi_rsl.config.compose import (
    check_env_overrides,
    check_sequences,
    find_played,
    names_of,
    preset_name,
    setting_paths,
)
from trudi_rsl.config.schema import HostSettings, read_env
from trudi_rsl.distributed import check_launch, quiet_unless_rank0
from trudi_rsl.errors import ConfigError, nearest

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

    from trudi_rsl.evaluation.policies import Simulation

DEVICES = ("cpu", "cuda", "hpu", "ipu", "maia", "mps", "mtia", "xla", "xpu")
"""Kinds of devices of torch that can compute; packages of the entry-point group ``torch.backends`` add others."""


class MakeEnv(Protocol):
    """Makes the environments of a task."""

    def __call__(self, name: str, cfg: Any, device: str, seed: int, render_mode: str | None, /) -> VecEnv:
        """Return ``cfg.num_envs`` environments.

        Args:
            name: The task, without the prefix of its host.
            cfg: An instance of the host's :attr:`EnvironmentHost.env_cfg`, of plain Python values.
            device: Device of observations, rewards and flags; it exists.
            seed: Environment i is seeded with ``seed + i``.
            render_mode: ``rgb_array`` if ``env.render()`` must return images, else None.

        Raises:
            ConfigError: The task does not exist, or a setting is impossible.
            ImportError: A package that the task needs is missing.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Host(HostSettings, ABC):
    """A simulator with tasks; its :attr:`name` is that of its entry point, and the prefix of ``name:Task``."""

    title: str
    """Name in messages."""
    package: str
    """The Python package that is importable if the host is installed."""
    install: str
    """A sentence on how to install it."""
    tasks: Callable[[], Sequence[str]]
    """Returns the names of its tasks; called only if it is installed."""
    untrainable: Callable[[], Mapping[str, str]] | None = None
    """Returns those of its tasks that cannot be trained here, each with the reason; None if all can."""
    patterns: tuple[str, ...] = ()
    """Patterns (``*``, ``?``, ``[...]``) of the names of tasks that it claims, matched with all of ``--task``."""
    has_task: Callable[[str], bool] | None = None
    """Returns whether a name that no pattern claims is a task of this host, asked only if it is installed. None if its
    patterns and prefix name all of them."""

    def claims(self, task: str) -> bool:
        """Return whether one of the patterns matches a task's name."""
        return any(fnmatchcase(task, pattern) for pattern in self.patterns)

    def local_name(self, task: str) -> str:
        """Return a task's name without the prefix of this host."""
        return task.removeprefix(f"{self.name}:")

    def is_installed(self) -> bool:
        """Return whether the package can be imported."""
        return importlib.util.find_spec(self.package) is not None

    def require_installed(self, task: str) -> None:
        """Raise an ImportError that says how to install the host if it is not."""
        if not self.is_installed():
            raise ImportError(f"{self.title} is not installed, and task {task!r} needs it. {self.install}")

    def refuse_early(self, command: str, args: argparse.Namespace, rest: Sequence[str]) -> None:
        """Raise a ConfigError for an override that a task of this host is known not to have, without importing it.

        Called before the host of a task is looked up, so for every task and with the arguments of :meth:`train`;
        ``command`` is ``train`` or ``play``.
        """
        return

    @abstractmethod
    def train(self, args: argparse.Namespace, rest: Sequence[str]) -> None:
        """Train a task with the flags of ``trudi train``; ``rest`` are overrides, and flags of the host.

        Raises:
            ImportError: The host is not installed.
            ConfigError: A flag, task or setting does not exist or cannot be used.
            CheckpointError: The checkpoint to resume does not exist or belongs to another task or algorithm.
        """

    @abstractmethod
    def play(self, args: argparse.Namespace, rest: Sequence[str]) -> None:
        """Play a policy; arguments and errors are those of :meth:`train`, the flags those of ``trudi play``."""

    @abstractmethod
    def make(
        self,
        task: str,
        env_cfg: Mapping[str, Any],
        device: str = "cpu",
        seed: int = 0,
        render_mode: str | None = None,
    ) -> VecEnv:
        """Make the environments of a task from the ``env`` section of a configuration; see :class:`MakeEnv`.

        Raises:
            ConfigError: As :meth:`require`, or the task does not exist, or a setting is unknown or impossible.
            ImportError: The host or a package that the task needs is not installed.
        """

    @abstractmethod
    def require(self, task: str, device: str) -> None:
        """Raise a ConfigError or ImportError if :meth:`make` cannot make environments in this process, or on a device.

        The task itself is not looked up.
        """

    def look_up(self, task: str, env_cfg: Mapping[str, Any] | None = None) -> None:
        """Raise a ConfigError or ImportError if a task is known not to exist, as far as that takes less than a second.

        With an ``env`` section also if it cannot be made or trained with that.
        """

    @abstractmethod
    def run_settings(self, task: str, algo: str, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the settings of a training run with the sections ``agent`` and ``env``, as far as they are known here.

        Runs with other settings are other runs. Raises ConfigError for an unknown or impossible override.
        """

    @abstractmethod
    def try_task(self, task: str, settings: Mapping[str, Any], device: str | None = None) -> None:
        """Raise a ConfigError or ImportError if a run cannot be started here, as far as that is known within seconds.

        Args:
            task: Its name.
            settings: The result of :meth:`run_settings`.
            device: Replaces that of the settings.
        """


@dataclass(frozen=True, kw_only=True)
class EnvironmentHost(Host):
    """A host whose environments are made in this process, any number of times, from an ``env`` section."""

    make_env: MakeEnv
    """Makes the environments."""
    find_task: Callable[[str, Any], None] | None = None
    """Raises a ConfigError, or an ImportError for its module, if there is no task of a name, or if it cannot be trained
    with an instance of :attr:`env_cfg`, unless that is None; imports no torch."""
    starts_in_seconds: bool = True
    """Whether one environment is made within seconds, so that a sweep tries each of its tasks before it starts; else
    it looks them up in :attr:`tasks`."""

    @property
    def simulation(self) -> Simulation:
        """This host's environments, for evaluations."""
        from trudi_rsl.evaluation.policies import Simulation
        from trudi_rsl.runners import OnPolicyRunner

        return Simulation(self.make, OnPolicyRunner, self.require, lambda _task: self)

    def train(self, args: argparse.Namespace, rest: Sequence[str]) -> None:
        """See :meth:`Host.train`."""
        self.require_installed(args.task)
        refuse_flags(rest, args.flags, setting_paths(args.algo))
        if args.video:
            raise ConfigError(
                f"--video is for tasks of Isaac Lab and mjlab, not for those of {self.title}. trudi play --video "
                "records a trained policy."
            )
        check_launch(args.distributed)
        with quiet_unless_rank0():
            flags = flag_settings(args)
            cfg = compose(args.task, args.algo, rest, settings=flags, host=self)
            check_sequences(cfg)
            preset = preset_name(args.task, args.algo, rest, self)
            named = names_of(flags, rest)
            if "agent.device" in named:
                check_build(cfg.agent.device)
            self.look_up(args.task, None if cfg.agent.resume else cfg.env)
            checkpoint = resume_path(cfg)
            if checkpoint is None:  # else the device is that of the run
                check_build(cfg.agent.device)
            if checkpoint is None and args.more_iterations is not None:
                raise ConfigError(
                    "--more_iterations adds to those of a checkpoint: add --resume, or use --max_iterations."
                )
            from trudi_rsl.hosts.training import train

            train(cfg, self.make, checkpoint, named, args.more_iterations, preset)

    def play(self, args: argparse.Namespace, rest: Sequence[str]) -> None:
        """See :meth:`Host.play`."""
        refuse_flags(rest, args.flags)
        check_env_overrides(rest, self)
        if args.device is not None:
            check_build(args.device)
        if args.results is not None:
            require_new(args.results, flag="--results")
        algo = args.algo or "trudi"
        checkpoint = find_played(args.task, algo, args.experiment_name, args.load_run, args.checkpoint, self)
        from trudi_rsl.evaluation.play import play

        play(args, checkpoint, rest, self.simulation)

    def make(
        self,
        task: str,
        env_cfg: Mapping[str, Any],
        device: str = "cpu",
        seed: int = 0,
        render_mode: str | None = None,
    ) -> VecEnv:
        """See :meth:`Host.make`. The environments' ``task`` is the full name, which checkpoints store."""
        self.require(task, device)
        env = self.make_env(self.local_name(task), read_env(self.env_cfg, env_cfg), device, seed, render_mode)
        env.task = task  # pyright: ignore[reportAttributeAccessIssue]
        return env

    def require(self, task: str, device: str) -> None:
        """See :meth:`Host.require`."""
        self.require_installed(task)
        check_device(device)

    def look_up(self, task: str, env_cfg: Mapping[str, Any] | None = None) -> None:
        """See :meth:`Host.look_up`."""
        if self.find_task is not None and self.is_installed():
            self.find_task(self.local_name(task), None if env_cfg is None else read_env(self.env_cfg, env_cfg))

    def run_settings(self, task: str, algo: str, overrides: Sequence[str]) -> dict[str, Any]:
        """See :meth:`Host.run_settings`."""
        cfg: Any = OmegaConf.to_container(compose(task, algo, overrides, host=self))
        return cfg

    def try_task(self, task: str, settings: Mapping[str, Any], device: str | None = None) -> None:
        """See :meth:`Host.try_task`."""
        device = str(settings["agent"]["device"]) if device is None else device
        if self.starts_in_seconds:
            self.make(task, settings["env"] | {"num_envs": 1}, device).close()  # pyright: ignore[reportAttributeAccessIssue]
            return
        self.require(task, device)
        if (name := self.local_name(task)) not in (tasks := self.tasks()):
            raise ConfigError(f"{self.title} has no task {name!r}. {nearest(name, tasks)}")


def flag_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the values of the flags of ``trudi train`` by the full names of their settings."""
    same_name = ("max_iterations", "seed", "device", "num_threads", "experiment_name", "run_name", "logger", "load_run")
    same_name = (*same_name, "verbose")
    return {
        "env.num_envs": args.num_envs,
        **{f"agent.{name}": getattr(args, name) for name in same_name},
        "agent.resume": True if args.resume or args.load_run or args.checkpoint else None,
        "agent.load_checkpoint": args.checkpoint,
    }


def check_build(device: str) -> None:
    """Raise a ConfigError if torch has no device of this kind, by its text and by torch's version alone."""
    if not entry_points(group="torch.backends") and not re.fullmatch(rf"({'|'.join(DEVICES)})(:\d+)?", device):
        near = nearest(device.partition(":")[0], DEVICES)
        raise ConfigError(f"There is no device {device!r}. {near} A number may follow, as in cuda:0.")
    try:
        installed = version("torch")
    except PackageNotFoundError:
        return
    if device.startswith("cuda") and installed.endswith("+cpu"):
        raise _without_cuda(device, installed)


def _without_cuda(device: str, installed: str) -> ConfigError:
    return ConfigError(
        f"Cannot use device {device!r}: the installed torch {installed} is built without CUDA. Choose --device cpu, or "
        "install a build with CUDA, see pytorch.org."
    )


def check_device(device: str) -> None:
    """Raise a ConfigError that lists this machine's devices if ``device`` is none of them."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        have = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        if device.startswith("cuda") and torch.version.cuda is None:
            raise _without_cuda(device, torch.__version__) from error
        raise ConfigError(
            f"Cannot use device {device!r}; this machine has: {', '.join(have)}. Choose one with --device."
        ) from error
