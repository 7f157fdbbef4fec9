# SPDX-License-Identifier: BSD-3-Clause
"""mjlab's tasks by name and algorithm, and their configurations with overrides in Isaac Lab's and Hydra's grammar."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import io
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import mjlab  # pyright: ignore[reportMissingImports]
import tyro  # pyright: ignore[reportMissingImports]
import yaml
from hydra.core.override_parser.types import QuotedString
from mjlab.tasks import registry  # pyright: ignore[reportMissingImports]

from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import task_of
from trudi_rsl.choices import NAMES, Algorithm
from trudi_rsl.config.overrides import parse_overrides
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.evaluation.identify import is_of_task
from trudi_rsl.hosts.launched import import_module_of
from trudi_rsl.hosts.mjlab.conversion import relative_of_ppo, sibling_from_trudi, why_not
from trudi_rsl.hosts.setting_names import names_in
from trudi_rsl.hosts.stock_names import OPEN, Names
from trudi_rsl.settings import SETTINGS

SUFFIX = "-TruDi"
"""Appended to the name of a task for its registration with TruDi."""


@dataclass(frozen=True)
class Task:
    """A task of mjlab and the algorithm that trains it."""

    name: str
    """The task's name regardless of the algorithm, stored in checkpoints."""
    algo: Algorithm
    """The algorithm."""

    @property
    def id(self) -> str:
        """The name in mjlab's registry; the algorithms of TruDi's learner share one."""
        return self.name + SUFFIX if self.algo in SETTINGS else self.name

    def agent_cfg(self) -> Any:
        """Return the runner configuration for training."""
        cfg = registry.load_rl_cfg(self.id)
        if self.algo in ("trudi", "ppo"):
            return cfg
        if self.algo in ("spo", "dppo", "fpo"):
            return relative_of_ppo(cfg, self.algo)
        return sibling_from_trudi(cfg, self.algo)

    def played_names(self) -> Names:
        """Return the names of the settings of the environment in its variant for playing."""
        return {"env": names_in(registry.load_env_cfg(self.id, play=True)), "agent": None, OPEN: None}

    def may_have_trained(self, checkpoint: Path) -> bool:
        """Return whether a checkpoint is of this task as far as is known; tasks of a robot share a folder of runs.

        PPO's checkpoints do not name their task. The settings of their run identify it if it has other observations
        or another kind of terrain.
        """
        if not is_of_task(checkpoint, self.name):
            return False
        settings = checkpoint.resolve().parent / "params" / "env.yaml"
        if task_of(read_checkpoint(checkpoint)) is not None or not settings.is_file():
            return True
        cfg = registry.load_env_cfg(self.id)
        terms = {name: sorted(group.terms) for name, group in cfg.observations.items()}
        terrain = cfg.scene.terrain and cfg.scene.terrain.terrain_type
        saved = yaml.load(settings.read_text(), _PlainLoader)
        saved_terms = {name: sorted(group["terms"]) for name, group in saved["observations"].items()}
        saved_terrain = saved["scene"]["terrain"] and saved["scene"]["terrain"]["terrain_type"]
        return (terms, terrain) == (saved_terms, saved_terrain)


class _PlainLoader(yaml.SafeLoader):
    """Reads the plain values of settings that mjlab wrote; Python's objects among them become None."""


_PlainLoader.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def find_task(name: str, algo: str | None = None) -> Task:
    """Return the task registered as ``name``, with or without :data:`SUFFIX`, for an algorithm (default: TruDi).

    ``module:Name`` is a task that ``module`` registers.

    Raises:
        ConfigError: The module, the task or the algorithm does not exist, or the algorithm cannot train the task.
    """
    import_module_of(name)
    name = name.rpartition(":")[2]
    algo, base = algo or "trudi", name.removesuffix(SUFFIX)
    names = [task for task in registry.list_tasks() if not task.endswith(SUFFIX)]
    if base not in names:
        raise ConfigError(f"mjlab has no task {base!r}. {nearest(base, names)}")
    if algo not in NAMES:
        raise ConfigError(f"Unknown algorithm {algo!r}. {nearest(algo, NAMES)}")
    if algo != "trudi" and name != base:
        raise ConfigError(f"{name!r} is the task for TruDi. With --algo {algo} use --task {base}.")
    task = Task(base, cast(Algorithm, algo))
    if task.id not in registry.list_tasks():
        raise ConfigError(f"TruDi cannot train {base!r}: {why_not(registry.load_rl_cfg(base))} Use --algo ppo.")
    return task


def apply(cfg: Any, settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> Any:
    """Return ``cfg`` with settings and overrides applied by mjlab's own command-line parser.

    Args:
        cfg: A configuration dataclass of mjlab, not modified.
        settings: Dotted names to values, weaker than ``overrides``; entries of None are ignored.
        overrides: ``agent.algorithm.kl_bound=0.2``, ``env.scene.num_envs=64``.

    Raises:
        ConfigError: A name does not exist (with the nearest ones), or mjlab refuses a value.
    """
    values = {name: value for name, value in settings.items() if value is not None}
    values |= {o.key_or_group: o.value() for o in parse_overrides(overrides)}
    args = [arg for name, value in values.items() for arg in _arguments(cfg, name, value)]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            return tyro.cli(type(cfg), args=args, default=cfg, config=mjlab.TYRO_FLAGS)  # pyright: ignore[reportAttributeAccessIssue]
    except SystemExit as error:
        raise ConfigError(_reason(output.getvalue())) from error


def _arguments(cfg: Any, name: str, value: Any) -> list[str]:
    """Return the command-line arguments that set one value."""
    hint, current = _find(cfg, name)
    option = "--" + name.replace("_", "-")
    if isinstance(value, QuotedString):
        value = value.text
    if not isinstance(value, list):
        return [f"{option}={value}"]
    # mjlab's command line uses Python's syntax for collections, but tyro supports it for lists and tuples only.
    if typing.get_origin(hint) is collections.abc.Sequence:
        return [option, *map(str, value)]
    return [f"{option}={value if isinstance(current, list) else tuple(value)}"]


def _find(cfg: Any, name: str) -> tuple[Any, Any]:
    """Return the type hint (None for entries of a dict) and the value of a setting; raise ConfigError if it is none."""
    hint, node, parts = None, cfg, name.split(".")
    for depth, part in enumerate(parts):
        is_section = dataclasses.is_dataclass(node)
        hints = typing.get_type_hints(type(node)) if is_section else {}
        known: Any = {f.name: getattr(node, f.name) for f in dataclasses.fields(node)} if is_section else node
        if not isinstance(known, Mapping) or part not in known:
            where = ".".join(parts[:depth]) or "the configuration"
            advice = nearest(part, map(str, known)) if isinstance(known, Mapping) else "It has no fields."
            raise ConfigError(f"Unknown setting {name!r}: no {part!r} in {where}. {advice}")
        hint, node = hints.get(part), known[part]
    return hint, node


def _reason(message: str) -> str:
    """Return the sentence of tyro's boxed message that names the mistake."""
    lines = [line.strip(" │") for line in message.splitlines()]
    text = " ".join(line for line in lines if line and not set(line) <= set("-─╭╮╰╯"))
    found = re.search(r"(Error parsing|Unrecognized options).*?(?= Argument helptext:| For full helptext|$)", text)
    return f"mjlab refuses a setting. {found[0] if found else text}"
