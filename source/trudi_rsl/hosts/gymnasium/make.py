# SPDX-License-Identifier: BSD-3-Clause
"""Making Gymnasium environments by task name, with errors that say what to change."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, find_highest_version, load_env_creator, parse_env_id
from gymnasium.spaces import Box, Space

import trudi_rsl.tasks  # noqa: F401  registers the built-in tasks
from trudi_rsl.errors import ConfigError, nearest, one_line
from trudi_rsl.hosts.gymnasium.mujoco_messages import import_advice, log_warnings_once

_GYMNASIUM = Path(gym.__file__).parent
_OPTION_ERRORS = (TypeError, ValueError, LookupError, AttributeError, OSError, AssertionError, ArithmeticError)
"""Exceptions that simulators raise for unusable option values."""


def action_limits(
    space: Space, task: str, fallback: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return lower and upper action bounds of an environment, each ``[A]`` in the space's dtype.

    ``fallback`` is ``(low, high)`` for entries that the Box leaves unbounded on that side.

    Raises:
        ConfigError: The space is not a 1-D Box of floats, is unbounded without ``fallback``, or is empty.
    """
    if not isinstance(space, Box) or len(space.shape) != 1 or space.dtype.kind != "f" or not space.shape[0]:
        raise ConfigError(
            f"Task {task!r} has actions in {space}. Supported are 1-D Box spaces of floats: TruDi's policy is a "
            "distribution over continuous action vectors."
        )
    low, high = space.low.copy(), space.high.copy()
    # Some tasks use the largest float for "no bound".
    largest = np.finfo(np.float32).max
    no_low, no_high = low <= -largest, high >= largest
    if no_low.any() or no_high.any():
        if fallback is None:
            raise ConfigError(
                f"Task {task!r} has no finite bounds on action entries {np.flatnonzero(no_low | no_high).tolist()}. "
                "Set them, for example env.action_bounds=[-1.0,1.0]."
            )
        if not (np.isfinite(fallback).all() and fallback[0] < fallback[1]):
            raise ConfigError(f"action_bounds must be two finite numbers, low < high, not {fallback}.")
        low[no_low], high[no_high] = fallback
    empty = np.flatnonzero(~(low < high))
    if len(empty):
        raise ConfigError(
            f"Task {task!r} has an empty range for action entry {empty[0]}: low {low[empty[0]]}, high "
            f"{high[empty[0]]}. Low must be below high."
        )
    return low, high


def make_env(
    task: str,
    *,
    max_episode_steps: int | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
    render_mode: str | None = None,
    spec: EnvSpec | None = None,
) -> gym.Env:
    """Make one environment of a task; arguments are those of :class:`~trudi_rsl.hosts.gymnasium.env.GymnasiumVecEnv`.

    ``spec`` describes a task that is not in Gymnasium's registry.

    Raises:
        ConfigError: The task or an option is unknown, the task cannot use an option's value, or ``MUJOCO_GL`` is wrong.
        ImportError: A package that the task needs is missing.
    """
    options = dict(env_kwargs or {})
    if max_episode_steps is not None:
        options["max_episode_steps"] = max_episode_steps
    if render_mode is not None:
        options["render_mode"] = render_mode
        use_headless_rendering()
    try:
        log_warnings_once(task)
        if render_mode is None and _renders_by_default(spec or _registered(task)):
            options.setdefault("render_mode", None)
        return gym.make(spec or task, **options)
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        raise _not_importable(task, error) from error
    except gym.error.Error as error:
        raise _not_registered(task, error) from error
    except RuntimeError as error:
        if "MUJOCO_GL" not in str(error) or render_mode is not None:  # rendering has advice of its own
            raise
        raise ConfigError(f"MuJoCo: {error}. Unset it, or set it to egl, osmesa or glfw.") from error
    except _OPTION_ERRORS as error:
        unknown = [key for key in options if f"unexpected keyword argument {key!r}" in str(error)]
        if unknown:
            known = _option_names(spec or _registered(task))
            raise ConfigError(f"Task {task!r} has no option {unknown[0]!r}. {nearest(unknown[0], known)}") from error
        if raised_by_gymnasium(error) and not env_kwargs:
            raise ConfigError(f"Task {task!r} breaks Gymnasium's interface: {one_line(error)}") from error
        if not env_kwargs or render_mode is not None:  # rendering may be what failed
            raise
        raise ConfigError(_unusable_options(task, env_kwargs, error)) from error


def raised_by_gymnasium(error: BaseException) -> bool:
    """Return whether Gymnasium's own wrappers and checks raised an error, not a task."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file = Path(trace.tb_frame.f_code.co_filename) if trace is not None else Path()
    return file.is_relative_to(_GYMNASIUM / "wrappers") or file.is_relative_to(_GYMNASIUM / "utils")


def require_registered(task: str) -> None:
    """Raise the error of :func:`make_env` for a task that does not exist, without making it.

    A module in front of the name is not imported, since that may draw random numbers or take long; it must exist.

    Raises:
        ConfigError: No task of this name is registered.
        ImportError: There is no such module.
    """
    module, _, name = task.rpartition(":")
    if module:
        package = module.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            error = ModuleNotFoundError(f"there is no module {package!r}, installed or in the working folder.")
            raise _not_importable(task, error) from error
        return
    try:
        namespace, base, version = parse_env_id(name)
        if version is None and find_highest_version(namespace, base) is not None:
            return
        gym.spec(name)
    except gym.error.Error as error:
        raise _not_registered(task, error) from error


def require_usable(
    task: str,
    *,
    max_episode_steps: int | None,
    env_kwargs: Mapping[str, Any],
    action_bounds: tuple[float, float] | None,
) -> None:
    """Raise the errors of :func:`make_env` and :func:`action_limits` for one environment of a task; imports no torch.

    Arguments are those of :class:`~trudi_rsl.hosts.gymnasium.env.GymnasiumVecEnv`.
    """
    env = make_env(task, max_episode_steps=max_episode_steps, env_kwargs=env_kwargs)
    try:
        action_limits(env.action_space, task, action_bounds)
    finally:
        with contextlib.suppress(Exception):  # a task that cannot be closed can still be trained
            env.close()


def _not_importable(task: str, error: Exception) -> ImportError:
    advice = import_advice(task, error)
    return ImportError(
        advice or f"Task {task!r} needs a package that is not installed or a newer version of the task: {error}"
    )


def _not_registered(task: str, error: Exception) -> ConfigError:
    reason = str(error).partition(" Did you mean")[0].rstrip(".")  # Gymnasium's guess ignores versions
    return ConfigError(
        f"Gymnasium cannot make task {task!r}: {reason}. {nearest(task, latest_ids(), at_most=30)} "
        "A task of another package is named 'module:Env-v0'."
    )


def try_options(task: str, env_kwargs: Mapping[str, Any], make: Callable[[], gym.Env]) -> None:
    """Raise ConfigError if one step of a throw-away environment fails: some options are read only then."""
    with _mujoco_warnings_off():
        env = make()
    try:
        env.reset()
        env.step(env.action_space.sample())
    except _OPTION_ERRORS as error:
        raise ConfigError(_unusable_options(task, env_kwargs, error)) from error
    finally:
        with contextlib.suppress(Exception):  # a task that cannot be closed can still be trained
            env.close()


def make_copies(first: gym.Env, make: Callable[[], gym.Env], num_envs: int) -> list[gym.Env]:
    """Return ``first`` and ``num_envs - 1`` more environments."""
    with _mujoco_warnings_off():
        return [first, *(make() for _ in range(num_envs - 1))]


def use_headless_rendering() -> None:
    """Let MuJoCo render without a window system where there is none; before it, or dm_control, is imported."""
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("MUJOCO_GL", "egl")


@contextlib.contextmanager
def _mujoco_warnings_off() -> Iterator[None]:
    """Keep MuJoCo from repeating for each further environment its warnings about the model of the first."""
    with contextlib.ExitStack() as stack:
        if (mujoco := sys.modules.get("mujoco")) is not None:
            stack.callback(mujoco.set_mju_user_warning, mujoco.get_mju_user_warning())
            mujoco.set_mju_user_warning(lambda _message: None)
        yield


def _unusable_options(task: str, env_kwargs: Mapping[str, Any], error: Exception) -> str:
    reason = " ".join(str(error).split()) or "no message"
    return f"Task {task!r} cannot run with env_kwargs {dict(env_kwargs)}: {type(error).__name__}: {reason}"


def latest_ids() -> list[str]:
    """Return the ids of all registered tasks, each in its newest version."""
    by_version = sorted(gym.registry.values(), key=lambda spec: spec.version or 0)
    return list({(spec.namespace, spec.name): spec.id for spec in by_version}.values())


def untrainable_tasks() -> dict[str, str]:
    """Return the tasks of :func:`latest_ids` that cannot be trained here, each with the reason.

    One environment of each is made for that.
    """
    reasons: dict[str, str] = {}
    with contextlib.ExitStack() as quietly:
        with contextlib.suppress(Exception):  # a wrong MUJOCO_GL raises others than ImportErrors
            importlib.import_module("mujoco")
        quietly.enter_context(_mujoco_warnings_off())
        quietly.enter_context(warnings.catch_warnings(action="ignore"))
        quietly.enter_context(contextlib.redirect_stdout(io.StringIO()))
        for task in latest_ids():
            try:
                options = {"render_mode": None} if _renders_by_default(_registered(task)) else {}
                env = gym.make(task, disable_env_checker=True, **options)
                action_limits(env.action_space, task, (-1.0, 1.0))
                with contextlib.suppress(Exception, SystemExit):  # as after a training
                    env.close()
            except ConfigError:
                reasons[task] = "other actions than vectors of numbers"
            except (ImportError, gym.error.DependencyNotInstalled) as error:
                reasons[task] = f"{_missing_package(error)} not installed"
            except (Exception, SystemExit) as error:  # any code of other packages
                reasons[task] = f"{type(error).__name__} when it is made"
    return reasons


def _missing_package(error: Exception) -> str:
    """Return the package that an import or its advice names."""
    named = getattr(error, "name", None)
    found = re.search(r"(\w+) is not installed|pip install \W*(\w+)", str(error))
    return named or (next(filter(None, found.groups())) if found else "a package")


def _registered(task: str) -> EnvSpec | None:
    """Return the registered task of a name, which may be ``module:Env-v0``; None if there is none."""
    module, _, name = task.rpartition(":")
    if module:
        with contextlib.suppress(ImportError):  # gymnasium.make reports it
            importlib.import_module(module)
    return gym.registry.get(name)


def _option_names(spec: EnvSpec | None) -> list[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, parameter in _parameters(spec).items() if parameter.kind not in variadic]


def _renders_by_default(spec: EnvSpec | None) -> bool:
    """Return whether the constructor by default opens a window or OpenGL context for each environment."""
    parameter = _parameters(spec).get("render_mode")
    return parameter is not None and isinstance(parameter.default, str)


def _parameters(spec: EnvSpec | None) -> Mapping[str, inspect.Parameter]:
    """Return the parameters of a task's constructor by name; none if it is unknown."""
    entry = None if spec is None else spec.entry_point
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    return {} if creator is None else inspect.signature(creator).parameters
