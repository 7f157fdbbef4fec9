# SPDX-License-Identifier: BSD-3-Clause
"""The settings of PPO and its relatives by name, read from source files: importing their classes takes seconds.

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


@functools.cache
def section_names(algo: str) -> dict[str, frozenset[str]]:
    """Return the names of each section of an agent by the section's name; empty if the files are not as expected.

    Args:
        algo: ppo, spo, dppo or fpo.
    """
    spec = importlib.util.find_spec("rsl_rl")
    if spec is None or not spec.submodule_search_locations:
        return {}
    rsl_rl = Path(next(iter(spec.submodule_search_locations)))
    try:
        mlp = _arguments(rsl_rl / "models" / "mlp_model.py")
        actor = critic = mlp.union(*PPO_MODEL_KEYS.values())
        if algo in _MODELS:
            actor = mlp | _arguments(_OWN / "generative.py") | _arguments(_OWN / _MODELS[algo])
        algorithm = _arguments(rsl_rl / "algorithms" / "ppo.py")
    except (OSError, SyntaxError):
        return {}
    if algo == "dppo":
        algorithm |= {name for name, *_ in schema_fields(DPPOCfg)}
    return {"agent.algorithm": algorithm, "agent.actor": actor, "agent.critic": critic}


def _arguments(file: Path) -> frozenset[str]:
    """Return the names of all arguments of the constructors in a file, and of a configuration's ``class_name``."""
    constructors = (
        node
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name == "__init__"
    )
    names = {arg.arg for node in constructors for arg in (*node.args.args, *node.args.kwonlyargs)}
    return frozenset(names - {"self"} | {"class_name"})
