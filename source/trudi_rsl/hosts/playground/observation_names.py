# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Names and sizes of the parts of a task's observation, read from its code.

Playground's tasks name their observations nowhere but in the expression that concatenates them in ``_get_obs``. Its
elements are the names; their sizes are those of the concatenation in the traced reset.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections import Counter
from collections.abc import Mapping
from typing import Any

import jax

CONCATENATIONS = ("concatenate", "hstack", "concat")
"""Functions of ``jax.numpy`` by which tasks make an observation."""
OBSERVATION_METHOD = "_get_obs"
"""Method in which Playground's tasks compute their observations."""
_NOISE = re.compile(r"\b(?:noisy_|self\._|state\.info|info|data\.)|\.(?:ravel|flatten|reshape)\([^()]*\)|[\[\]]?['\"]")
_CALLS = frozenset({"pjit", "jit", "closed_call", "core_call", "custom_jvp_call"})
_SAME_SIZE = frozenset({"convert_element_type", "copy", "copy_p", "reshape"})


def observation_terms(env: Any, reset: Any, group: str) -> list[dict[str, Any]] | None:
    """Return name and size of each part of an observation group in its order, None if the code does not show them.

    Args:
        env: Playground's ``MjxEnv``.
        reset: Its compiled ``reset``, whose trace is reused.
        group: Playground's name of the group; ``state`` for observations without groups.
    """
    names = _names(env, group)
    if names is None:
        return None

    def observation(key: jax.Array) -> jax.Array:
        obs = reset(key).obs
        return obs[group] if isinstance(obs, Mapping) else obs

    jaxpr = jax.make_jaxpr(observation)(jax.random.PRNGKey(0)).jaxpr
    parts = _operands(jaxpr, jaxpr.outvars[0])
    if parts is not None and len(parts) != len(names):
        # JAX concatenates many arrays in several steps
        inner = [_operands(*part) or [part] for part in parts]
        parts = [part for several in inner for part in several]
    if parts is None or len(parts) != len(names):
        return None
    sizes = [var.aval.shape[-1] if var.aval.shape else 1 for _, var in parts]
    return [{"name": name, "size": int(size)} for name, size in zip(names, sizes, strict=True)]


def _names(env: Any, group: str) -> list[str] | None:
    """Return the elements of the concatenation that the observation method returns for a group, as names."""
    method = getattr(type(env), OBSERVATION_METHOD, None)
    if method is None:
        return None
    try:
        function = ast.parse(textwrap.dedent(inspect.getsource(method))).body[0]
    except (OSError, SyntaxError):
        return None
    assigned = {
        target.id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    returned = [node.value for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None]
    if len(returned) != 1:
        return None
    found: ast.expr | None = _resolve(returned[0], assigned)
    if isinstance(found, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in found.keys]
        found = _resolve(found.values[keys.index(group)], assigned) if group in keys else None
    elif group != "state":
        return None
    if not (isinstance(found, ast.Call) and isinstance(found.func, ast.Attribute)):
        return None
    is_concatenation = found.func.attr in CONCATENATIONS and bool(found.args)
    if not is_concatenation or not isinstance(found.args[0], ast.List | ast.Tuple):
        return None
    names = [_readable(element) for element in found.args[0].elts]
    # a policy's inputs are addressed by these names
    repeated = {name for name, count in Counter(names).items() if count > 1}
    return [f"{name} ({i})" if name in repeated else name for i, name in enumerate(names)]


def _resolve(node: ast.expr, assigned: Mapping[str, ast.expr]) -> ast.expr:
    """Return the expression that a name was assigned, or the expression itself."""
    return assigned.get(node.id, node) if isinstance(node, ast.Name) else node


def _readable(node: ast.expr) -> str:
    """Return an expression as a name: ``info['last_act']`` is last_act, ``noisy_gyro`` is gyro."""
    return re.sub(r"^\[?(\w+)\]$", r"\1", _NOISE.sub("", ast.unparse(node)).strip())


def _operands(jaxpr: Any, var: Any) -> list[tuple[Any, Any]] | None:
    """Return the arrays, with the jaxprs that compute them, whose concatenation a variable of a jaxpr is, else None."""
    made = next((eqn for eqn in jaxpr.eqns if var in eqn.outvars), None)
    if made is None:
        return None
    name = made.primitive.name
    if name == "concatenate":
        return [(jaxpr, operand) for operand in made.invars]
    if name in _SAME_SIZE:
        return _operands(jaxpr, made.invars[0])
    inner = made.params.get("jaxpr") or made.params.get("call_jaxpr")
    if name in _CALLS and inner is not None:
        inner = getattr(inner, "jaxpr", inner)
        return _operands(inner, inner.outvars[made.outvars.index(var)])
    return None
