# SPDX-License-Identifier: BSD-3-Clause
"""Isaac Lab and mjlab, which start their simulators themselves, once per process, with training commands of their own.

Their packages here register tasks when they are imported, so their descriptions are not in them.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, NoReturn

from trudi_rsl.choices import NAMES
from trudi_rsl.command_line import refuse_flags
from trudi_rsl.config import task_preset
from trudi_rsl.config.compose import check_algorithm, setting_paths
from trudi_rsl.config.overrides import check_section_names, parse_overrides
from trudi_rsl.config.run_folder import require_path
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.hosts.host import Host, check_build, check_device
from trudi_rsl.hosts.setting_names import Start, selecting
from trudi_rsl.ppo_fields import PPO_ONLY_FIELDS
from trudi_rsl.settings import SETTINGS, TruDiCfg
from trudi_rsl.task_names import counterpart


@dataclass(frozen=True, kw_only=True)
class LaunchedHost(Host):
    """A host that a launcher starts: ``trudi_rsl.hosts.<name>.launch``, with ``train(args, rest)`` and ``play``."""

    checks_arguments: bool
    """Whether its launcher checks flags and device, because its commands have flags of their own."""
    has_variants: bool
    """Whether overrides can select parts of a task's configuration."""

    def refuse_early(self, command: str, args: argparse.Namespace, rest: Sequence[str]) -> None:
        """See :meth:`Host.refuse_early`."""
        resumes = command == "train" and bool(args.resume or args.load_run or args.checkpoint)
        if not (resumes and self.has_variants):  # the settings of a run may select other parts
            self._start(command, self.local_name(args.task), args.algo, rest).check(rest, self.title)

    def train(self, args: argparse.Namespace, rest: Sequence[str]) -> None:
        """See :meth:`Host.train`. What is known without the simulator is refused before anything heavy is imported."""
        self._check_algorithm(args.task, args.algo, rest)
        if args.device is not None:
            check_build(args.device)
        self._launcher("train", args, rest, setting_paths(args.algo)).train(args, rest)

    def play(self, args: argparse.Namespace, rest: Sequence[str]) -> None:
        """See :meth:`Host.play`."""
        self._launcher("play", args, rest).play(args, rest)

    def _check_algorithm(self, task: str, algo: str, overrides: Sequence[str]) -> None:
        """Raise a ConfigError for an unknown algorithm, or for a wrong name or value in its section of overrides.

        All other settings are those of the simulator's own configuration of the task.
        """
        if algo not in NAMES:
            raise ConfigError(f"Unknown algorithm {algo!r}. {nearest(algo, NAMES)}")
        if algo not in SETTINGS:
            return
        prefix = "agent.algorithm."
        parsed = parse_overrides([text for text in overrides if text.lstrip("+").startswith(prefix)])
        # a project's own configuration may have kept those of PPO, which are ignored
        ignored = {"class_name", *PPO_ONLY_FIELDS}
        check_section_names(parsed, {prefix[:-1]: {*ignored, *TruDiCfg().to_dict()}})
        values = task_preset(task, self.name, self.config_dir)["agent"].get("algorithm", {})
        for override in parsed:
            name, value = override.key_or_group.removeprefix(prefix), override.value()
            if "." not in name and "${" not in (override.input_line or ""):  # entries of sections, references
                values[name] = getattr(value, "text", value)
        check_algorithm(algo, {name: value for name, value in values.items() if name not in ignored})

    def make(
        self,
        task: str,
        env_cfg: Mapping[str, Any],
        device: str = "cpu",
        seed: int = 0,
        render_mode: str | None = None,
    ) -> NoReturn:
        """Raise a ConfigError: this host makes environments only in its own commands."""
        raise ConfigError(f"The simulator of task {task!r} starts itself; train it with trudi train.")

    def require(self, task: str, device: str) -> None:
        """Raise a ConfigError: this host makes environments only in its own commands."""
        raise ConfigError(
            f"The simulator of task {task!r} starts itself, once per process, so it is not evaluated side by side with "
            f"others. For one checkpoint: trudi play --task {task} --checkpoint FILE --headless --episodes 32."
        )

    def run_settings(self, task: str, algo: str, overrides: Sequence[str]) -> dict[str, Any]:
        """See :meth:`Host.run_settings`. All other settings are those of the host's own configuration of the task."""
        if algo not in NAMES:
            raise ConfigError(f"Unknown algorithm {algo!r}. {nearest(algo, NAMES)}")
        given = {override.key_or_group: override.value() for override in parse_overrides(overrides)}
        if limited := [name for name in ("agent.max_seconds", "agent.evaluation_episodes") if name in given]:
            raise ConfigError(f"{self.title}'s training commands have no setting {limited[0]}.")
        arguments = self.train_arguments(overrides)
        self._start("train", self.local_name(task), algo, arguments).check(arguments, self.title)
        preset = task_preset(task, self.name, self.config_dir) if algo in SETTINGS else {}
        agent = {name: preset.get("agent", {}).get(name) for name in ("num_steps_per_env", "max_iterations")}
        num_envs = given.get("env.scene.num_envs", preset.get("env", {}).get("num_envs"))
        return {
            "task": task,
            "algorithm": algo,
            "agent": {name: given.get(f"agent.{name}", value) for name, value in agent.items()},
            "env": {"num_envs": num_envs},
            "preset": preset,
            "overrides": list(overrides),
        }

    def try_task(self, task: str, settings: Mapping[str, Any], device: str | None = None) -> None:
        """See :meth:`Host.try_task`. Only the launched host itself knows more than that it is installed."""
        self.require_installed(task)

    def train_arguments(self, overrides: Sequence[str]) -> list[str]:
        """Return the flags and overrides with which ``trudi train`` trains a run of an experiment."""
        devices = [text.partition("=")[2] for text in overrides if text.startswith("agent.device=")]
        flags = ["--headless", *(["--device", devices[-1]] if devices else [])]
        return [*flags, *(text for text in overrides if not text.startswith("agent.device="))]

    def play_arguments(self, overrides: Sequence[str]) -> list[str]:
        """Return the flags and overrides with which ``trudi play`` plays such a run, without the agent's."""
        return [text for text in self.train_arguments(overrides) if not text.startswith("agent.")]

    def _start(self, command: str, task: str, algo: str | None, overrides: Sequence[str]) -> Start:
        return Start(self.name, command, task, algo, selecting(overrides, algo) if self.has_variants else ())

    def _launcher(
        self, command: str, args: argparse.Namespace, rest: Sequence[str], settings: Sequence[str] = ()
    ) -> ModuleType:
        if args.checkpoint is not None:
            require_path(args.checkpoint)
        self.require_installed(args.task)
        args.task = self.local_name(args.task)
        args.start = self._start(command, args.task, args.algo, rest)
        if not self.checks_arguments:
            refuse_flags(rest, args.flags, settings)
            if args.device is not None:
                check_device(args.device)
        return importlib.import_module(f"trudi_rsl.hosts.{self.name}.launch")


def _load_task_packages(host: str) -> None:
    """Import the packages whose tasks a host's entry points ``<host>.tasks`` name."""
    for entry_point in entry_points(group=f"{host}.tasks"):
        entry_point.load()


def import_module_of(task: str) -> None:
    """Import ``module`` of ``module:Name``, which registers tasks.

    Raises:
        ConfigError: There is no such module.
        ModuleNotFoundError: The module imports another one that does not exist.
    """
    module = task.rpartition(":")[0]
    if not module:
        return
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise ConfigError(f"Cannot import {module!r} of task {task!r}: {error}.") from error
        raise


def isaaclab_tasks() -> list[str]:
    """Return the names of Isaac Lab's registered tasks, without importing Isaac Lab."""
    import gymnasium

    return [task for task, spec in gymnasium.registry.items() if "env_cfg_entry_point" in spec.kwargs]


def _list_isaaclab_tasks() -> list[str]:
    _load_task_packages("isaaclab")
    importlib.import_module("isaaclab_tasks")
    return sorted(isaaclab_tasks())


def _is_in_isaaclab(task: str) -> bool:
    _load_task_packages("isaaclab")
    try:
        import_module_of(task)
    except ModuleNotFoundError:
        return True  # a task package of Isaac Lab 2.3 can only be imported after the simulator has started
    return counterpart(task.rpartition(":")[2], isaaclab_tasks()) is not None


def _list_mjlab_tasks() -> list[str]:
    from mjlab.tasks import registry  # pyright: ignore[reportMissingImports]

    _load_task_packages("mjlab")
    return list(registry.list_tasks())


def _is_in_mjlab(task: str) -> bool:
    _load_task_packages("mjlab")
    module, _, name = task.rpartition(":")
    try:
        import_module_of(task)
    except ModuleNotFoundError as error:
        raise ConfigError(f"Cannot import {module!r} of task {task!r}: {error}.") from error
    return name in _list_mjlab_tasks()


ISAACLAB = LaunchedHost(
    name="isaaclab",
    title="Isaac Lab",
    package="isaaclab",
    install="Isaac Lab 3.0 (Python 3.12): pip install isaaclab. In a checkout of Isaac Lab, run trudi as "
    "./isaaclab.sh -p -m trudi_rsl",
    tasks=_list_isaaclab_tasks,
    patterns=("Isaac-*", "*:Isaac-*", "IsaacContrib-*", "*:IsaacContrib-*"),
    has_task=_is_in_isaaclab,
    checks_arguments=True,
    has_variants=True,
)
MJLAB = LaunchedHost(
    name="mjlab",
    title="mjlab",
    package="mjlab",
    install='Run: pip install "mjlab==1.6.0"',
    tasks=_list_mjlab_tasks,
    patterns=("Mjlab-*", "*:Mjlab-*"),
    has_task=_is_in_mjlab,
    checks_arguments=False,
    has_variants=False,
)
