# SPDX-License-Identifier: BSD-3-Clause
"""The settings of PPO and its relatives, read from source files: importing their classes takes seconds.

Composing a configuration derives names, types and defaults from the classes themselves.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
from pathlib import Path

from trudi_rsl.model_sections import PPO_MODEL_KEYS
from trudi_rsl.settings import DPPOCfg, schema_fields

_OWN = Path(__file__).parents[1] / "policies"
_MODELS = {"dppo": "denoising.py", "fpo": "flow.py"}
"""Files of the actors that are not RSL-RL's."""
_RESOLVERS = {"resolve_nn_activation": "activation", "resolve_optimizer": "optimizer"}
"""RSL-RL's functions that have a dictionary of a setting's values, in ``utils/utils.py``."""


@functools.cache
def section_types(algo: str) -> dict[str, dict[str, str]]:
    """Return name and type of each setting of an agent, by the section's name; empty if the files are not as expected.

    Types are annotations, as ``float``; empty for what has none.

    Args:
        algo: ppo, spo, dppo or fpo.
    """
    if (rsl_rl := _rsl_rl()) is None:
        return {}
    try:
        mlp = _arguments(rsl_rl / "models" / "mlp_model.py")
        actor = critic = dict.fromkeys(set().union(*PPO_MODEL_KEYS.values()), "") | mlp
        if algo in _MODELS:
            actor = mlp | _arguments(_OWN / "generative.py") | _arguments(_OWN / _MODELS[algo])
        algorithm = _arguments(rsl_rl / "algorithms" / "ppo.py")
    except (OSError, SyntaxError):
        return {}
    if algo == "dppo":
        algorithm |= {name: getattr(hint, "__name__", "") for name, hint, _ in schema_fields(DPPOCfg)}
    return {"agent.algorithm": algorithm, "agent.actor": actor, "agent.critic": critic}


@functools.cache
def choices() -> dict[str, list[str]]:
    """Return the values of the settings that RSL-RL looks up by name; empty if its files are not as expected."""
    if (rsl_rl := _rsl_rl()) is None:
        return {}
    try:
        tree = ast.parse((rsl_rl / "utils" / "utils.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return {}
    found = {}
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        table = next((node for node in ast.walk(function) if isinstance(node, ast.Dict)), None)
        if (name := _RESOLVERS.get(function.name)) and table is not None:
            found[name] = [key.value for key in table.keys if isinstance(key, ast.Constant)]
    return found


def _rsl_rl() -> Path | None:
    spec = importlib.util.find_spec("rsl_rl")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _arguments(file: Path) -> dict[str, str]:
    """Return name and type of all arguments of the constructors in a file, and of a configuration's ``class_name``."""
    constructors = (
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    arguments = (arg for node in constructors for arg in (*node.args.args, *node.args.kwonlyargs) if arg.arg != "self")
    types = {arg.arg: "" if arg.annotation is None else ast.unparse(arg.annotation) for arg in arguments}
    return types | {"class_name": "str"}
