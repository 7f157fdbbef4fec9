# SPDX-License-Identifier: BSD-3-Clause
"""Python values and random generators of a task as the plain values and tensors that a checkpoint can hold, and back.

A value is written by :func:`encode` and put back by :func:`decode`, which takes the value that it replaces: types are
those of the running task, never names from a file.
"""

from __future__ import annotations

import random
from collections import deque
from enum import Enum
from typing import Any

import numpy as np
import torch

LONGEST = 10_000
"""Most entries of a container of Python values; arrays and tensors may be larger."""
DEEPEST = 12
"""Most levels of containers in containers, well below what the reader of checkpoints accepts."""

_SCALARS = (type(None), bool, int, float, complex, str, bytes)
_ENUM, _SET, _GENERATOR = "__enum__", "__set__", "__generator__"
"""Keys of the one-entry dicts that stand for values of these kinds."""
Generator = np.random.Generator | np.random.RandomState | random.Random | torch.Generator


class NotPlainError(TypeError):
    """A value that a checkpoint cannot hold."""


class DoesNotFitError(ValueError):
    """A saved value that the task, as it is now, has no place for."""


def encode(value: Any, levels: int = DEEPEST) -> Any:
    """Return a copy of a value as plain values and tensors.

    Numbers, flags, text and None stay as they are; arrays become tensors; enum members, sets and random generators
    dicts; lists, tuples, deques and dicts with names or integers as keys are converted entry by entry.

    Raises:
        NotPlainError: It is, or contains, anything else, or has more than ``levels`` of containers.
    """
    if isinstance(value, Enum):
        return {_ENUM: value.name}
    if type(value) in _SCALARS:
        return value
    if isinstance(value, np.ndarray | np.generic):
        try:
            return torch.from_numpy(np.array(value))
        except TypeError as error:
            raise NotPlainError(f"array of {value.dtype}") from error
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, Generator):
        return {_GENERATOR: generator_state(value)}
    if levels == 0:
        raise NotPlainError(f"{type(value).__name__} in many others")
    if isinstance(value, list | tuple | deque | set | frozenset) and len(value) <= LONGEST:
        entries = [encode(entry, levels - 1) for entry in value]
        if isinstance(value, set | frozenset):
            return {_SET: entries}
        return tuple(entries) if isinstance(value, tuple) else entries
    if isinstance(value, dict) and len(value) <= LONGEST and all(type(key) in (str, int) for key in value):
        return {key: encode(entry, levels - 1) for key, entry in value.items()}
    raise NotPlainError(type(value).__name__)


def decode(saved: Any, current: Any) -> Any:
    """Return what to put in the place of ``current``, given the result of :func:`encode`.

    Arrays of the same shape, lists, dicts and generators are changed in place and returned, since others may refer to
    them.

    Raises:
        DoesNotFitError: ``current`` is of a kind that cannot take the value.
    """
    if isinstance(saved, dict) and len(saved) == 1:
        if _GENERATOR in saved:
            set_generator(current, saved[_GENERATOR])
            return current
        if _ENUM in saved:
            if not isinstance(current, Enum) or saved[_ENUM] not in type(current).__members__:
                raise DoesNotFitError(f"it has {saved[_ENUM]!r:.40} where the task has {current!r:.80}")
            return type(current)[saved[_ENUM]]
        if _SET in saved:
            kind = type(current) if isinstance(current, set | frozenset) else set
            return kind(decode(entry, None) for entry in saved[_SET])
    if isinstance(saved, torch.Tensor):
        return _decode_array(saved, current)
    if isinstance(saved, list | tuple | deque):
        return _decode_sequence(saved, current)
    if isinstance(saved, dict):
        entries = {key: decode(value, _entry(current, key)) for key, value in saved.items()}
        if not isinstance(current, dict):
            return entries
        current.clear()
        current.update(entries)
        return current
    return saved


def fits(saved: Any, current: Any) -> bool:
    """Return whether a result of :func:`encode` is of the kind of the value that it would replace."""
    tag = next(iter(saved)) if isinstance(saved, dict) and len(saved) == 1 else None
    for key, kind in ((_GENERATOR, Generator), (_ENUM, Enum)):
        if isinstance(current, kind) or tag == key:
            return isinstance(current, kind) and tag == key
    if saved is None or current is None:
        return True
    if isinstance(current, set | frozenset) or tag == _SET:
        return isinstance(current, set | frozenset) and tag == _SET
    kinds = ((list, tuple, deque), (dict,), (str, bytes))
    return all(isinstance(current, kind) == isinstance(saved, kind) for kind in kinds)


def _decode_array(saved: torch.Tensor, current: Any) -> Any:
    if isinstance(current, torch.Tensor):
        return saved.to(current.device)
    values = saved.cpu().numpy()
    if isinstance(current, np.ndarray):
        if current.shape == values.shape and current.dtype == values.dtype and current.flags.writeable:
            current[...] = values
            return current
        return values.copy()
    return values.copy() if values.ndim else values[()]


def _decode_sequence(saved: Any, current: Any) -> Any:
    same = isinstance(current, list | tuple | deque)
    olds = list(current) if same and len(current) == len(saved) else [None] * len(saved)
    entries = [decode(value, old) for value, old in zip(saved, olds, strict=True)]
    if isinstance(current, list):
        current[:] = entries
        return current
    if isinstance(current, deque):
        current.clear()
        current.extend(entries)
        return current
    if isinstance(saved, tuple):
        make = getattr(current, "_make", tuple)  # of a named tuple
        return make(entries)
    return entries


def _entry(container: Any, key: Any) -> Any:
    return container.get(key) if isinstance(container, dict) else None


def equal(first: Any, second: Any) -> bool:
    """Return whether two results of :func:`encode` are bitwise equal; NaN equals nothing."""
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(value, second[key]) for key, value in first.items())
    return first == second


# -- random generators ------------------------------------------------------------------------------------------------


def generator_state(generator: Any) -> Any:
    """Return the state of a random generator of NumPy (any bit generator, also legacy), Python or torch.

    Raises:
        NotPlainError: It is none of these, or has no state, as the operating system's.
    """
    try:
        if isinstance(generator, np.random.Generator):
            return _plain_state(generator.bit_generator.state)
        if isinstance(generator, np.random.RandomState):
            return _plain_state(generator.get_state(legacy=False))
        if isinstance(generator, random.Random):
            return {"python": encode(generator.getstate())}
        if isinstance(generator, torch.Generator):
            return {"torch": generator.get_state()}
    except (NotImplementedError, AttributeError) as error:
        raise NotPlainError(f"{type(generator).__name__} without a state") from error
    raise NotPlainError(type(generator).__name__)


def set_generator(generator: Any, saved: Any) -> None:
    """Restore :func:`generator_state`.

    Raises:
        DoesNotFitError: The generator is of another kind than the saved one.
    """
    try:
        if isinstance(generator, np.random.Generator):
            bits = generator.bit_generator
            bits.state = _like(saved, bits.state)
        elif isinstance(generator, np.random.RandomState):
            generator.set_state(_like(saved, generator.get_state(legacy=False)))
        elif isinstance(generator, random.Random):
            version, words, gauss = saved["python"]
            generator.setstate((version, tuple(words), gauss))
        elif isinstance(generator, torch.Generator):
            generator.set_state(saved["torch"].cpu())
        else:
            raise TypeError(f"the task has a {type(generator).__name__} there")
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as error:
        raise DoesNotFitError(f"its random generators are not the task's ({error})") from error


def _plain_state(state: Any) -> Any:
    """Convert the arrays of a bit generator's state to lists of integers, which need no conversion of their type."""
    if isinstance(state, dict):
        return {str(key): _plain_state(value) for key, value in state.items()}
    if isinstance(state, np.ndarray | np.generic):
        return state.tolist()
    return state


def _like(saved: Any, current: Any) -> Any:
    """Convert lists back to arrays where the current state has arrays."""
    if isinstance(current, dict):
        return {key: _like(saved[key], value) for key, value in current.items()}
    return np.asarray(saved, dtype=current.dtype) if isinstance(current, np.ndarray) else saved
