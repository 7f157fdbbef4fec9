# SPDX-License-Identifier: BSD-3-Clause
"""Which host simulates a task. Hosts are the entry points of the group ``trudi_rsl.hosts``, of this and other packages.

A task belongs to the host with a pattern that matches its name; then to the installed host that knows it otherwise;
then to Gymnasium. ``host:Task`` names the host, and Gymnasium's own ``module:Task`` a module to import.
"""

from __future__ import annotations

import argparse
import functools
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from trudi_rsl import config
from trudi_rsl.config.compose import check_env_overrides
from trudi_rsl.config.overrides import parse_overrides
from trudi_rsl.config.run_folder import task_beside
from trudi_rsl.errors import ConfigError, one_line
from trudi_rsl.hosts.host import Host

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv

    from trudi_rsl.evaluation.policies import Simulation

    SIMULATION: Simulation

logger = logging.getLogger(__name__)

GROUP = "trudi_rsl.hosts"
"""Entry-point group of hosts; the name of an entry is that of its host, its value a :class:`Host`."""
OWN_HOSTS = ("dm_control", "gymnasium", "humanoidbench", "isaaclab", "maniskill", "mjlab", "playground")
"""Hosts that this package brings."""
FALLBACK = "gymnasium"


@functools.cache
def hosts() -> tuple[Host, ...]:
    """Return all hosts in the order of their names, installed or not.

    A host of another package that cannot be loaded is left out, with a warning.

    Raises:
        ConfigError: Two packages have a host of the same name.
    """
    found: dict[str, tuple[Host, str]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        if (host := _load(entry)) is None:
            continue
        if host.name in found:
            packages = f"{found[host.name][1]} and {_package(entry)}"
            raise ConfigError(f"The packages {packages} both have a host {host.name!r}. Uninstall one of them.")
        found[host.name] = host, _package(entry)
    # a checkout need not be installed, and the installation of one may be older
    for name in OWN_HOSTS:
        if name not in found and (host := _load(own_entry(name))) is not None:
            found[name] = host, "trudi_rsl"
    return tuple(host for _, (host, _) in sorted(found.items()))


def find_host(task: str) -> Host:
    """Return the host of a task.

    Raises:
        ConfigError: Two hosts claim the name; or it is ``module:Name``, an installed host imports such modules to find
            its tasks, and this one cannot be imported.
    """
    named = {host.name: host for host in hosts()}
    prefix, colon, _ = task.partition(":")
    if colon and prefix in named:
        return named[prefix]
    claiming = [host for host in named.values() if host.claims(task)]
    if len(claiming) > 1:
        titles = " and ".join(host.title for host in claiming)
        choices = " or ".join(f"{host.name}:{task}" for host in claiming)
        raise ConfigError(f"Task {task!r} is claimed by {titles}. Choose one: {choices}.")
    if claiming:
        return claiming[0]
    for host in named.values():
        if host.has_task is not None and host.is_installed() and host.has_task(task):
            return host
    return named[FALLBACK]


def canonical_name(task: str) -> str:
    """Return a task's name without the prefix of its host if the host is found without it, too."""
    host = find_host(task)
    bare = host.local_name(task)
    if bare == task:
        return task
    try:
        return bare if find_host(bare) is host else task
    except ConfigError:  # another host claims it as well
        return task


def train(args: argparse.Namespace, rest: Sequence[str]) -> None:
    """Train on the host of ``args.task``; see :meth:`Host.train`."""
    for host in hosts():
        host.refuse_early("train", args, rest)
    args.task = canonical_name(args.task)
    find_host(args.task).train(args, rest)


def play(args: argparse.Namespace, rest: Sequence[str]) -> None:
    """Play on the host of ``args.task``; see :meth:`Host.play`."""
    for host in hosts():
        host.refuse_early("play", args, rest)
    args.task = canonical_name(args.task)
    find_host(args.task).play(args, rest)


def check_overrides(checkpoints: Iterable[Path], overrides: Sequence[str]) -> None:
    """Raise a ConfigError for overrides that the tasks of checkpoints do not have, before torch is imported.

    The task is that of ``params/`` beside a checkpoint; without any, names are checked when the checkpoint is read.
    """
    if not overrides:
        return
    tasks = dict.fromkeys(filter(None, map(task_beside, checkpoints)))
    for host in dict.fromkeys(map(find_host, tasks)):
        check_env_overrides(overrides, host)
    if not tasks:
        parse_overrides(overrides)


def compose(
    task: str, algo: str = "trudi", overrides: Sequence[str] = (), *, settings: Mapping[str, Any] | None = None
) -> DictConfig:
    """Compose the configuration of a run with the schema and presets of its host; see :func:`trudi_rsl.config.compose`.

    The configuration of a task whose host has training commands of its own is not complete without those.
    """
    task = canonical_name(task)
    return config.compose(task, algo, overrides, settings=settings, host=find_host(task))


def make_env(
    task: str, env_cfg: Mapping[str, Any], device: str = "cpu", seed: int = 0, render_mode: str | None = None
) -> VecEnv:
    """Make the environments of a task from the ``env`` section of a configuration; see :meth:`Host.make`."""
    return find_host(task).make(task, env_cfg, device, seed, render_mode)


@functools.cache
def _simulation() -> Simulation:
    from trudi_rsl.evaluation.policies import Simulation
    from trudi_rsl.runners import OnPolicyRunner

    return Simulation(make_env, OnPolicyRunner, lambda task, device: find_host(task).require(task, device), find_host)


def __getattr__(name: str) -> Any:
    """Return ``SIMULATION``, the environments of all hosts for evaluations, which takes the seconds to import torch."""
    if name != "SIMULATION":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _simulation()


@dataclass(frozen=True)
class HostTasks:
    """What a host can train."""

    host: Host
    installed: bool
    tasks: Sequence[str] = field(default_factory=list)
    """Names of its tasks; empty if it is not installed (``host.patterns`` has what it claims) or cannot list them."""
    untrainable: Mapping[str, str] = field(default_factory=dict)
    """Names of further tasks, which cannot be trained here, each with the reason."""
    problem: str | None = None
    """Why an installed host cannot list its tasks."""


def list_tasks() -> list[HostTasks]:
    """Return all hosts with their tasks; imports the simulators that are installed."""
    listed = []
    for host in hosts():
        if not host.is_installed():
            listed.append(HostTasks(host, False))
            continue
        try:
            untrainable = host.untrainable() if host.untrainable is not None else {}
            tasks = [task for task in host.tasks() if task not in untrainable]
            listed.append(HostTasks(host, True, tasks, untrainable))
        except Exception as error:  # a simulator that is installed may still not start here
            listed.append(HostTasks(host, True, problem=f"{type(error).__name__}: {one_line(error)}"))
    return listed


def own_entry(name: str) -> EntryPoint:
    """Return the entry point of a host that this package brings."""
    module = f"launched:{name.upper()}" if name in ("isaaclab", "mjlab") else f"{name}.host:HOST"
    return EntryPoint(name, f"trudi_rsl.hosts.{module}", GROUP)


def _load(entry: EntryPoint) -> Host | None:
    """Return the host of an entry point; None, with a warning, if it cannot be loaded."""
    try:
        host = entry.load()
        if not isinstance(host, Host):
            raise TypeError(f"{entry.value} is not a trudi_rsl.hosts.host.Host")
        if host.name != entry.name:
            raise ValueError(f"its entry point is named {entry.name!r}, but the host {host.name!r}")
    except Exception as error:  # any code of another package
        # An editable installation may be newer than the checkout, which then lacks some of its hosts.
        level = logging.DEBUG if _package(entry) == "trudi_rsl" else logging.WARNING
        logger.log(level, "The host %s of %s cannot be used: %s", entry.name, _package(entry), one_line(error))
        return None
    return host


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value.partition(":")[0]
