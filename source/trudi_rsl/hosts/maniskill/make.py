# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Making one simulation of a ManiSkill task, with errors that say what to change."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Dict

try:
    import mani_skill.envs  # noqa: F401  registers the tasks
    from mani_skill.utils import assets
    from mani_skill.utils.registration import REGISTERED_ENVS
    from mani_skill.utils.wrappers.flatten import FlattenActionSpaceWrapper
except ModuleNotFoundError as error:
    raise ImportError('ManiSkill\'s tasks need mani_skill: pip install "mani-skill==3.0.1"') from error

from trudi_rsl.errors import ConfigError, nearest, one_line

logger = logging.getLogger(__name__)

REWARD_MODES = ("normalized_dense", "dense", "sparse")
"""Reward modes in the order of preference; ``normalized_dense`` is in [0, 1]."""
OBS_MODE = "state"
"""The supported observation mode: all numbers of ManiSkill's ``state_dict`` in one vector, in its order."""
CPU, CUDA = "physx_cpu", "physx_cuda"
"""Simulation backends."""
VULKAN = (
    "ManiSkill needs a Vulkan device, even for state observations, and its renderer finds none. On Debian and Ubuntu "
    "run: apt install mesa-vulkan-drivers libvulkan1. A machine without a GPU needs Mesa 25.0.7 or newer, which Debian "
    "12 has in its backports"
)
_SETTINGS = {
    **{name: f"env.{name}" for name in ("num_envs", "obs_mode", "reward_mode", "control_mode", "sim_backend")},
    "max_episode_steps": "env.max_episode_steps",
    "render_mode": "--video of scripts/play.py",
}
"""Options of a task's constructor that are settings of their own."""
_OPTION_ERRORS = (TypeError, ValueError, LookupError, AttributeError, AssertionError, NotImplementedError, RuntimeError)
"""Exceptions that ManiSkill raises for unusable option values."""


@dataclass(frozen=True)
class TaskOptions:
    """How the simulations of a task are made; plain values, because worker processes receive them."""

    task: str
    """Name, or ``module:Name-v1`` for a task that importing ``module`` registers."""
    sim_backend: str
    """:data:`CPU` or :data:`CUDA`, the latter followed by ``:<index>`` for another GPU than the first."""
    obs_mode: str = OBS_MODE
    reward_mode: str | None = None
    """None takes the first of :data:`REWARD_MODES` that the task has."""
    control_mode: str | None = None
    """Name of a controller of the robot; None takes the task's own."""
    max_episode_steps: int | None = None
    """Time limit in steps; None keeps the task's own."""
    action_bounds: tuple[float, float] | None = None
    """Bounds of the action entries that the controller leaves unbounded."""
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Further options of the task's constructor."""

    def checked(self) -> TaskOptions:
        """Return the options with the reward mode filled in.

        Raises:
            ConfigError: The task, a mode or an option is unknown or not supported, or assets are missing.
            ImportError: The module of ``module:Name`` cannot be imported.
        """
        spec = _spec(self.task)
        if self.obs_mode != OBS_MODE:
            raise ConfigError(
                f"env.obs_mode={self.obs_mode} is not supported. Supported is {OBS_MODE!r}, one vector with all "
                "numbers of ManiSkill's 'state_dict'; images and point clouds are not."
            )
        if OBS_MODE not in spec.cls.SUPPORTED_OBS_MODES:
            modes = ", ".join(spec.cls.SUPPORTED_OBS_MODES)
            raise ConfigError(f"Task {self.task!r} has no state observations, only {modes}, which are not supported.")
        if missing := _missing_assets(spec):
            raise ConfigError(
                f"Task {self.task!r} needs the assets {', '.join(missing)}, which are not on this machine. Run: "
                f"python -m mani_skill.utils.download_asset {spec.uid}"
            )
        for name in self.env_kwargs:
            if name in _SETTINGS:
                raise ConfigError(f"env.env_kwargs.{name} is a setting of its own: {_SETTINGS[name]}.")
            if name not in (known := _option_names(spec.cls)):
                raise ConfigError(f"Task {self.task!r} has no option {name!r} (env.env_kwargs). {nearest(name, known)}")
        return replace(self, reward_mode=_reward_mode(self.task, spec.cls, self.reward_mode))


def task_names() -> list[str]:
    """Return the names of all registered tasks with state observations."""
    return sorted(name for name, spec in REGISTERED_ENVS.items() if OBS_MODE in spec.cls.SUPPORTED_OBS_MODES)


def make_simulation(options: TaskOptions, num_envs: int = 1, render_mode: str | None = None) -> gym.Env:
    """Make a simulation of checked options, of one environment on the CPU or of any number on a GPU.

    Actions of several robots are one vector, in the order of the robots' names.

    Raises:
        ConfigError: The machine has no Vulkan device, or the task cannot run with the options.
    """
    kwargs = {
        "num_envs": num_envs,
        "obs_mode": options.obs_mode,
        "reward_mode": options.reward_mode,
        "control_mode": options.control_mode,
        "render_mode": render_mode,
        "sim_backend": options.sim_backend,
        "render_backend": "cpu" if options.sim_backend == CPU else options.sim_backend.replace(CUDA, "gpu"),
        "max_episode_steps": options.max_episode_steps,
    }
    kwargs = {name: value for name, value in kwargs.items() if value is not None} | dict(options.env_kwargs)
    try:
        env = gym.make(options.task, **kwargs)
    except _OPTION_ERRORS as error:
        raise _explained(options, error) from error
    return FlattenActionSpaceWrapper(env) if isinstance(env.action_space, Dict) else env


@contextmanager
def quiet() -> Iterator[None]:
    """Discard ManiSkill's warnings inside the block: each further simulation repeats those of the first."""
    log = logging.getLogger("mani_skill")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def time_limit(env: gym.Env) -> int | None:
    """Return the time limit of a simulation in steps, None if it has none."""
    # The spec's is None: ManiSkill replaces Gymnasium's wrapper by one of its own.
    layer = env
    while isinstance(layer, gym.Wrapper):
        if isinstance(limit := vars(layer).get("_max_episode_steps"), int):
            return limit
        layer = layer.env
    return None


def _spec(task: str) -> Any:
    module, _, name = task.rpartition(":")
    if module:
        importlib.import_module(module)
    if name not in REGISTERED_ENVS:
        raise ConfigError(f"ManiSkill has no task {name!r}. {nearest(name, REGISTERED_ENVS)}")
    return REGISTERED_ENVS[name]


def _missing_assets(spec: Any) -> list[str]:
    """Return the downloads that a task needs and that are missing; ManiSkill would ask for them on the terminal."""
    sources = []
    for name in spec.asset_download_ids or []:
        is_group = name in assets.DATA_GROUPS
        sources += assets.expand_data_group_into_individual_data_source_ids(name) if is_group else [name]
    return [name for name in sources if not assets.is_data_source_downloaded(name)]


def _option_names(cls: type) -> list[str]:
    """Return the names of the constructor's parameters, and of those of its bases that it passes on."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    constructors = [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]
    found = [p for init in constructors for p in list(inspect.signature(init).parameters.values())[1:]]
    return list(dict.fromkeys(p.name for p in found if p.kind not in variadic and p.name not in _SETTINGS))


def _reward_mode(task: str, cls: Any, chosen: str | None) -> str:
    available = [mode for mode in REWARD_MODES if mode in cls.SUPPORTED_REWARD_MODES]
    if chosen is not None:
        if chosen not in cls.SUPPORTED_REWARD_MODES:
            raise ConfigError(
                f"Task {task!r} has no reward mode {chosen!r} (env.reward_mode). {nearest(chosen, available)}"
            )
        return chosen
    if not available:
        raise ConfigError(f"Task {task!r} has no reward.")
    if available[0] == "sparse":
        logger.info("%s has no dense reward; the reward is sparse: 1 for success.", task)
    return available[0]


def _explained(options: TaskOptions, error: Exception) -> ConfigError:
    text = one_line(error)
    if not has_vulkan_device():
        return ConfigError(f"{VULKAN} ({text}).")
    if options.control_mode is not None and options.control_mode in text:
        env = make_simulation(replace(options, control_mode=None))
        agent: Any = env.get_wrapper_attr("agent")
        modes = getattr(agent, "agents", [agent])[0].supported_control_modes
        env.close()
        where = f"Task {options.task!r} has no control mode {options.control_mode!r} (env.control_mode)."
        return ConfigError(f"{where} {nearest(options.control_mode, modes)}")
    chosen = f" with env_kwargs {dict(options.env_kwargs)}" if options.env_kwargs else ""
    return ConfigError(f"ManiSkill cannot make task {options.task!r}{chosen}: {type(error).__name__}: {text}")


def has_vulkan_device() -> bool:
    """Return whether SAPIEN, ManiSkill's renderer, finds a Vulkan device that it can use."""
    import sapien

    try:
        return sapien.render.RenderSystem() is not None
    except RuntimeError:
        return False
