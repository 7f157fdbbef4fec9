# SPDX-License-Identifier: BSD-3-Clause
"""Presets of tasks: the files in ``configs/``, of a checkout or of the installed package."""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from trudi_rsl.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parents[1] / "configs"

CONFIG_DIR = _CHECKOUT if (_CHECKOUT / "tasks.yaml").is_file() else _PACKAGE / "configs"
"""The checkout's ``configs/``, or the copy in the installed package."""


def available(group: str, config_dir: Path = CONFIG_DIR) -> list[str]:
    """Return the names of the files in one folder of ``configs/``."""
    return sorted(path.stem for path in (config_dir / group).glob("*.yaml"))


def preset_of(task: str, algo: str, host: str = "gymnasium", config_dir: Path = CONFIG_DIR) -> str:
    """Return a task's preset for an algorithm: the first of the host that lists a pattern of the task's name.

    A leading ``module:`` or ``host:`` is no part of the name. ``config_dir`` is the host's folder of presets.

    Raises:
        ConfigError: The host has no presets for the algorithm, or none for this task.
    """
    tables = _host_table(host, config_dir)
    if algo not in tables:
        with_presets = ", ".join(sorted(tables)) or "none"
        raise ConfigError(
            f"The host {host} has no presets for {algo!r}, only for: {with_presets}. Choose one with preset=NAME, or "
            f"add a section {algo} to the host's part of {config_dir / 'tasks.yaml'}."
        )
    name = task.rpartition(":")[2]
    for preset, patterns in tables[algo].items():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            return str(preset)
    raise ConfigError(f"No preset of the host {host} for {algo!r} lists task {name!r}. Choose one with preset=NAME.")


def task_preset(task: str, host: str, config_dir: Path = CONFIG_DIR) -> dict[str, Any]:
    """Return only the settings of a task's TruDi preset: ``{"env": {...}, "agent": {...}}``.

    For hosts that merge it into configurations of their own; :func:`~trudi_rsl.config.compose` composes whole ones.
    """
    merged = _read(config_dir / "preset" / "trudi" / f"{preset_of(task, 'trudi', host, config_dir)}.yaml")
    return cast("dict[str, Any]", OmegaConf.to_container(merged))


def _host_table(host: str, config_dir: Path) -> DictConfig:
    path = config_dir / "tasks.yaml"
    if not path.is_file():
        raise ConfigError(f"The host {host} has no file of presets {path}; install its package again.")
    table = _load(path, path.stat().st_mtime_ns).get(host)
    if not isinstance(table, DictConfig):
        raise ConfigError(f"{path} has no section {host!r}, which lists the presets of that host's tasks.")
    return table


@functools.cache
def _load(path: Path, _changed_at: int) -> DictConfig:
    return cast("DictConfig", OmegaConf.load(path))


def _read(path: Path) -> DictConfig:
    """Return a preset merged over those in its ``defaults``."""
    own = cast("DictConfig", OmegaConf.load(path))
    bases = [name for name in own.pop("defaults", []) if name != "_self_"]
    return cast("DictConfig", OmegaConf.merge(*(_read(path.with_name(f"{name}.yaml")) for name in bases), own))
