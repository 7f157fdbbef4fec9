# SPDX-License-Identifier: BSD-3-Clause
"""What a task keeps in Python: attributes of its environment and wrappers, and of the objects that these hold.

An attribute has a path, ``task/goal`` or ``robots/[1]/target``: names of attributes and, in brackets, keys of
containers.
"""

from __future__ import annotations

import ast
import contextlib
import logging
import pathlib
import pickle
import threading
import types
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from torch import nn

from trudi_rsl.errors import CheckpointError
from trudi_rsl.hosts.gymnasium.plain import (
    LONGEST,
    DoesNotFitError,
    Generator,
    NotPlainError,
    decode,
    encode,
    equal,
    fits,
)

MOST_OBJECTS = 20_000
"""Objects that are looked through for the state of one layer."""

_CODE = (
    *(type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.CodeType),
    *(
        property,
        staticmethod,
        classmethod,
        EnvSpec,
        nn.Module,
        logging.Logger,
        pathlib.PurePath,
        np.dtype,
        type(threading.Lock()),
    ),
)
"""Values that do not change as a task runs: code, descriptions, trained networks."""
_SIMULATORS = frozenset({"mujoco", "glfw", "OpenGL"})
"""Packages whose objects have no attributes of a task: MuJoCo's models and data are saved apart."""
_RENDERERS = "gymnasium.envs.mujoco.mujoco_rendering"


class Attributes:
    """Saves and restores the attributes of one layer of an environment that have changed since it was made.

    Args:
        layer: An environment or wrapper, just made: its attributes are the reference for what has changed.
        elsewhere: Objects that are saved elsewhere, such as the other layers.
    """

    def __init__(self, layer: gym.Env, elsewhere: tuple[object, ...] = ()) -> None:
        self._layer = layer
        self._elsewhere = elsewhere
        self._made, self._opaque = self._read()

    def drawn_in(self, other: Attributes) -> set[str]:
        """Return the paths whose values differ between two copies that were just made: a constructor drew them."""
        paths = self._made.keys() | other._made.keys()
        return {p for p in paths if p not in self._made or not equal(self._made[p], other._made.get(p))}

    def save_always(self, paths: set[str]) -> None:
        """Save these from now on, although they have not changed since the layer was made."""
        self._made = {path: value for path, value in self._made.items() if path not in paths}

    def save(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return what has changed, by path, and the types of what has changed and cannot be stored, by path."""
        values, opaque = self._read()
        changed = {p: v for p, v in values.items() if p not in self._made or not equal(v, self._made[p])}
        left_out = {p: kind for p, (kind, mark) in opaque.items() if self._opaque.get(p, (kind, None))[1] != mark}
        left_out |= {p: kind for p, (kind, mark) in opaque.items() if mark is None}
        return changed, left_out

    def load(self, saved: Mapping[str, Any]) -> None:
        """Restore what :meth:`save` returned first; all other attributes become those that the layer was made with.

        Raises:
            CheckpointError: It names something that is no value, such as a method.
            DoesNotFitError: The task, as it is now, lacks an object that it names.
        """
        for path, value in (self._made | dict(saved)).items():
            *holders, name = path.split("/")
            holder: Any = self._layer
            try:
                for part in holders:
                    holder = _get(holder, part)
                if not _is_container(holder):
                    raise KeyError(path)
                current = _get(holder, name, None)
                if current is None and value is not None and name == "_np_random":
                    current = holder.np_random
            except Exception as error:  # a part is missing, or code of the task raises
                if path not in saved:  # an object of the constructor that a reset has replaced
                    continue
                raise DoesNotFitError(f"it has {path!r:.80}, which the task lacks") from error
            # a manipulated file could name a method or a property, or put a number in the place of a generator
            if not _is_value(holder, name, current) or not fits(value, current):
                if path not in saved:
                    continue
                raise CheckpointError(f"The saved simulator state sets {path!r:.80}, which is no value of the task.")
            _set(holder, name, decode(value, current), current)

    def _read(self) -> tuple[dict[str, Any], dict[str, tuple[str, Any]]]:
        """Return plain values by path; and type and fingerprint by path of values that cannot be stored."""
        values: dict[str, Any] = {}
        opaque: dict[str, tuple[str, Any]] = {}
        seen = {id(self._layer), *map(id, self._elsewhere)}
        waiting: list[tuple[str, Any]] = [("", self._layer)]
        for prefix, holder in waiting:  # grows while it is read
            for name, value in _parts(holder):
                path = prefix + name
                if id(value) in seen or (value is None and name == "_np_random"):  # Gymnasium makes it on first use
                    continue
                try:
                    if _is_constant(value):
                        continue
                    values[path] = encode(value)
                    continue
                except Exception:  # it is not plain, or cannot even be looked at, as a weak reference to what is gone
                    seen.add(id(value))
                if "/" in name or len(waiting) >= MOST_OBJECTS or issubclass(type(value), Generator):
                    opaque[path] = (type(value).__name__, None)
                elif _is_container(value):
                    waiting.append((f"{path}/", value))
                else:
                    opaque[path] = (type(value).__name__, _fingerprint(value))
        return values, opaque


def _is_constant(value: Any) -> bool:
    if isinstance(value, _CODE):
        return True
    module = type(value).__module__
    return module.partition(".")[0] in _SIMULATORS or module == _RENDERERS


def _is_plain(value: Any) -> bool:
    try:
        encode(value)
    except NotPlainError:
        return False
    return True


def _is_container(value: Any) -> bool:
    """Return whether a value holds others that can be reached and replaced."""
    try:
        if _is_constant(value):
            return False
        if isinstance(value, list | dict):
            return len(value) <= LONGEST
        if isinstance(value, tuple | set | frozenset | np.ndarray):
            return False
        return hasattr(value, "__dict__") or bool(_slots(value))
    except Exception:  # reading its attributes runs code of the task or of a library, which may raise anything
        return False


def _slots(value: Any) -> list[str]:
    names = [getattr(cls, "__slots__", ()) for cls in type(value).__mro__]
    flat = [name for group in names for name in ((group,) if isinstance(group, str) else group)]
    return [name for name in flat if name not in ("__dict__", "__weakref__")]


def _parts(holder: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(holder, list):
        yield from ((f"[{i}]", value) for i, value in enumerate(list.__iter__(holder)))
    elif isinstance(holder, dict):
        yield from ((f"[{key!r}]", value) for key, value in dict.items(holder) if type(key) in (str, int))
    else:
        yield from getattr(holder, "__dict__", {}).items()
        for name in _slots(holder):
            with contextlib.suppress(Exception):  # an unset one, or code of the task that raises
                yield name, getattr(holder, name)


_REQUIRED: Any = object()


def _get(holder: Any, part: str, default: Any = _REQUIRED) -> Any:
    """Return a part of a container; a missing one is ``default``, and a KeyError without."""
    if not _is_container(holder):
        raise KeyError(part)
    if part.startswith("["):
        return holder[ast.literal_eval(part[1:-1])]
    found = getattr(holder, "__dict__", {}).get(part, _REQUIRED)
    if found is _REQUIRED and part in _slots(holder):
        found = getattr(holder, part, _REQUIRED)
    if found is _REQUIRED and default is _REQUIRED:
        raise KeyError(part)
    return default if found is _REQUIRED else found


def _set(holder: Any, part: str, value: Any, current: Any) -> None:
    if value is current and current is not None:
        return
    if part.startswith("["):
        holder[ast.literal_eval(part[1:-1])] = value
    else:
        object.__setattr__(holder, part, value)


def _is_value(holder: Any, name: str, current: Any) -> bool:
    """Return whether a part of a container is a plain value, or a new one that hides at most a value of the class."""
    if isinstance(holder, list | dict) or current is not None:
        return _is_plain(current)
    own = getattr(holder, "__dict__", {})
    return name in own or name in _slots(holder) or _is_plain(getattr(type(holder), name, None))


def _fingerprint(value: Any) -> Any:
    """Return what stays equal while a value that cannot be stored does not change; None if that cannot be said."""
    try:
        return None if isinstance(value, Iterator) else hash(pickle.dumps(value))
    except Exception:  # an object of a library; whether its inside matters, the rehearsal finds out
        return id(value)


def learned_statistics(layer: gym.Env) -> str | None:
    """Return the name of an attribute that holds running statistics which steps update, None if there is none.

    Running statistics have ``mean``, ``var`` or ``std``, ``count`` and ``update()``, as those of Gymnasium and
    Stable-Baselines3; a wrapper of Gymnasium with ``update_running_mean = False`` no longer updates them.
    """
    if getattr(layer, "_update_running_mean", True) is False:
        return None
    for name, value in vars(layer).items():
        with contextlib.suppress(Exception):  # attributes that raise when they are read are no statistics
            has = [hasattr(value, part) for part in ("mean", "var", "std", "count")]
            if has[0] and (has[1] or has[2]) and has[3] and callable(getattr(value, "update", None)):
                return name
    return None
