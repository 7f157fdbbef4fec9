# SPDX-License-Identifier: BSD-3-Clause
"""Presets of tasks: the files in ``configs/``, of a checkout or of the installed package."""

from __future__ import annotations

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


def preset_of(task: str, algo: str, config_dir: Path = CONFIG_DIR) -> str:
    """Return a task's preset in a section of ``configs/tasks.yaml``: the first with a pattern that matches its name.

    A leading ``module:`` is no part of the name.
    """
    table = _task_table(algo, config_dir)
    name = task.rpartition(":")[2]
    return next(str(preset) for preset, patterns in table.items() if any(fnmatchcase(name, p) for p in patterns))


def task_preset(task: str, host: str = "", config_dir: Path = CONFIG_DIR) -> dict[str, Any]:
    """Return only the settings of a task's TruDi preset: ``{"env": {...}, "agent": {...}}``.

    For hosts that merge it into configurations of their own; :func:`~trudi_rsl.config.compose` composes whole ones.
    Names of a host's presets start with ``host``, which itself names the preset of tasks that match no pattern.
    """
    name = preset_of(task, "trudi", config_dir)
    merged = _read(config_dir / "preset" / "trudi" / f"{name if name.startswith(host) else host}.yaml")
    return cast("dict[str, Any]", OmegaConf.to_container(merged))


def check_startable(task: str, config_dir: Path = CONFIG_DIR) -> None:
    """Raise a ConfigError for a task of an unsupported simulator, even if it has a preset; ``module:Name`` passes."""
    if ":" in task:
        return
    preset = preset_of(task, "trudi", config_dir)
    for simulator, presets in _task_table("without_host", config_dir).items():
        if preset in presets:
            raise ConfigError(
                f"Task {task!r} belongs to {simulator}, which this version of trudi_rsl cannot start. Wrap it as an "
                "RSL-RL VecEnv and train it with trudi_rsl.runners.OnPolicyRunner, or, if a package registers it with "
                f"Gymnasium, name it module:{task}."
            )


def _task_table(section: str, config_dir: Path) -> DictConfig:
    return OmegaConf.select(OmegaConf.load(config_dir / "tasks.yaml"), section)


def _read(path: Path) -> DictConfig:
    """Return a preset merged over those in its ``defaults``."""
    own = cast("DictConfig", OmegaConf.load(path))
    bases = [name for name in own.pop("defaults", []) if name != "_self_"]
    return cast("DictConfig", OmegaConf.merge(*(_read(path.with_name(f"{name}.yaml")) for name in bases), own))
