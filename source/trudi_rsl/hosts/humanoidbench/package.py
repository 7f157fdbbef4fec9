# SPDX-License-Identifier: BSD-3-Clause
"""Importing HumanoidBench under versions newer than its pins, and what of it cannot run.

It pins MuJoCo 3.1.6 and JAX. Three things stand between it and current releases, and each is bridged only where needed:

- it imports JAX to convert weights of hierarchical policies, which flat tasks do not have;
- its copy of dm_control's index lists fields of MuJoCo's structs that later versions dropped and its tasks never read;
- the kitchen's model has a nameless place for a default class that MuJoCo 3.3.7 and newer refuse.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import gymnasium as gym

from trudi_rsl.errors import ConfigError, nearest

PACKAGE = "humanoid_bench"
KETTLE = Path("kitchen/adept_models/kitchen/assets/kettle_asset.xml")
"""Part of the kitchen's model, in the folder of assets."""


def import_package() -> ModuleType:
    """Import HumanoidBench, which registers its tasks with Gymnasium.

    Raises:
        ImportError: A package that it needs is missing.
    """
    if (module := sys.modules.get(PACKAGE)) is None:
        try:
            with _jax_optional():
                module = importlib.import_module(PACKAGE)
        except ModuleNotFoundError as error:
            raise ImportError(
                f'HumanoidBench needs the package {error.name}: pip install "gymnasium[mujoco]" dm_control'
            ) from error
    _drop_missing_fields()
    return module


@contextlib.contextmanager
def _jax_optional() -> Iterator[None]:
    """Provide empty modules in place of JAX while HumanoidBench is imported, if JAX is not installed."""
    if importlib.util.find_spec("jax") is not None:
        yield
        return
    jax, numpy = types.ModuleType("jax"), types.ModuleType("jax.numpy")
    jax.numpy = numpy  # pyright: ignore[reportAttributeAccessIssue]
    sys.modules.update({"jax": jax, "jax.numpy": numpy})
    try:
        yield
    finally:
        for name in ("jax", "jax.numpy"):
            del sys.modules[name]


def _drop_missing_fields() -> None:
    """Take fields that the installed MuJoCo does not have out of HumanoidBench's lists of array sizes."""
    mujoco: Any = importlib.import_module("mujoco")  # whose stubs leave the structs out
    sizes = importlib.import_module(f"{PACKAGE}.dmc_deps.dmc_sizes").array_sizes
    for struct, cls in (("mjmodel", mujoco.MjModel), ("mjdata", mujoco.MjData)):
        for field in [field for field in sizes.get(struct, {}) if not hasattr(cls, field)]:
            del sizes[struct][field]


def assets() -> Path:
    """Return the folder of HumanoidBench's models."""
    (package,) = import_package().__path__
    return Path(package) / "assets"


def _model_path(task: str) -> str:
    kwargs = gym.spec(task).kwargs
    return f"envs/{kwargs['robot']}_{kwargs['control']}_{kwargs['task']}.xml"


def _registered() -> list[str]:
    import_package()
    return [name for name, spec in gym.registry.items() if str(spec.entry_point).startswith(f"{PACKAGE}.env:")]


def supported_tasks() -> list[str]:
    """Return the names of all tasks with a model."""
    folder = assets()
    return sorted(name for name in _registered() if (folder / _model_path(name)).is_file())


def require_supported(task: str) -> None:
    """Raise a ConfigError for a task that HumanoidBench does not have, or registers without a model of it."""
    supported = supported_tasks()
    if task in supported:
        return
    if task not in _registered():
        raise ConfigError(f"HumanoidBench has no task {task!r}. {nearest(task, supported)}")
    robot, activity = task.partition("-")[::2]
    others = [name for name in supported if name.partition("-")[2] == activity]
    advice = f"It has one for {', '.join(others)}." if others else f"Of {robot} it has others: trudi tasks lists them."
    missing = assets() / _model_path(task)
    raise ConfigError(f"HumanoidBench registers {task!r} but has no model of it ({missing} does not exist). {advice}")


@contextlib.contextmanager
def readable_model(task: str) -> Iterator[Path | None]:
    """Provide a model that the installed MuJoCo reads in place of the task's own; None if that one will do.

    The file lies in a copy of the folder of assets, made of links, that exists only until the context ends.
    """
    folder, model = assets(), _model_path(task)
    if not model.endswith("_kitchen.xml") or not (folder / KETTLE).is_file():
        yield None
        return
    root = ElementTree.parse(folder / KETTLE).getroot()
    for position, part in enumerate(list(root)):
        if part.tag == "default" and part.get("class") not in (None, "main"):
            # A default class outside of the unnamed one counts as another main class.
            unnamed = ElementTree.Element("default")
            root.remove(part)
            unnamed.append(part)
            root.insert(position, unnamed)
    with TemporaryDirectory(prefix="humanoid_bench-") as copy:
        _link_tree(folder, Path(copy), KETTLE.parts)
        ElementTree.ElementTree(root).write(Path(copy) / KETTLE)
        yield Path(copy) / model


def _link_tree(source: Path, target: Path, path: tuple[str, ...]) -> None:
    """Fill a folder with links to everything in ``source`` but the file at ``path`` below it."""
    for entry in source.iterdir():
        if entry.name != path[0]:
            (target / entry.name).symlink_to(entry.resolve())
    if len(path) > 1:
        (target / path[0]).mkdir()
        _link_tree(source / path[0], target / path[0], path[1:])


def missing_file(error: Exception) -> str | None:
    """Return the file of a model that MuJoCo could not open, from its error; None for another error."""
    found = re.search(r"Error opening file '([^']+)'", str(error))
    return None if found is None else found[1]
