# SPDX-License-Identifier: BSD-3-Clause
"""Tables from the code: every setting, from the dataclass that defines it; the presets; the policies that it brings."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal

import yaml
from omegaconf import MISSING
from results import ROOT, Results

from trudi_rsl.choices import NAMES
from trudi_rsl.config.presets import CONFIG_DIR
from trudi_rsl.config.schema import EnvCfg, GymnasiumEnvCfg, RunnerCfg
from trudi_rsl.hosts.maniskill.host import ManiSkillEnvCfg
from trudi_rsl.hosts.playground.host import PlaygroundEnvCfg
from trudi_rsl.pretrained import NAMES as PRETRAINED
from trudi_rsl.pretrained import find_pretrained
from trudi_rsl.settings import SETTINGS, DPPOCfg, TruDiCfg

SECTIONS: dict[str, type] = {
    "algorithm": TruDiCfg,
    "dppo": DPPOCfg,
    "agent": RunnerCfg,
    "gymnasium": GymnasiumEnvCfg,
    "playground": PlaygroundEnvCfg,
    "maniskill": ManiSkillEnvCfg,
}
"""Tables by name, and the dataclasses whose fields they list."""
BY_PRESET = "by the preset"
TYPES: dict[Any, str] = {
    **{int: "integer", float: "number", bool: "true, false", str: "text", types.NoneType: "null", Any: "any"},
    **{Sequence[int]: "integers", tuple[float, float]: "two numbers", list[float]: "two numbers"},
    dict[str, Any]: "mapping",
    dict[str, list[str]]: "lists by name",
}
RANGE = re.compile(r"at (?:least|most) (?:ln )?\d+(?: and below [\d^]+)?|above 0|in [\[(][\d., ]+[\])]")


def settings(_: Results, section: str) -> list[dict[str, str]]:
    """Return a row for each setting of one of :data:`SECTIONS`; TruDi's also say which algorithms have them."""
    cls = SECTIONS[section]
    hints, about, rows = typing.get_type_hints(cls), documentation(cls), []
    shared = fields_of(EnvCfg) if issubclass(cls, EnvCfg) and section != "gymnasium" else {}
    for field in dataclasses.fields(cls):
        if field.name in shared:
            continue
        found = RANGE.search(about[field.name])
        row = {"setting": f"`{field.name}`", "type": type_name(hints[field.name]), "default": default_of(field)}
        row["range"] = found[0] if found else "-"
        if cls is TruDiCfg:
            row["default"] += "".join(other_defaults(field))
            having = [NAMES[algo] for algo, cfg in SETTINGS.items() if field.name in fields_of(cfg)]
            row["of"] = "all" if len(having) == len(SETTINGS) else ", ".join(having)
        rows.append(row | {"meaning, and source of the default": about[field.name]})
    return rows


def presets(_: Results) -> list[dict[str, str]]:
    """Return a row for each preset of TruDi: its tasks, and what it sets."""
    tasks: dict[str, list[str]] = {}
    for host, tables in yaml.safe_load((CONFIG_DIR / "tasks.yaml").read_text()).items():
        for name, patterns in tables["trudi"].items():
            shown = ", ".join(f"`{pattern}`" for pattern in patterns if pattern != "*")
            tasks.setdefault(name, []).append(f"{host}: {shown or 'the others' if patterns else 'by its name only'}")
    rows = []
    for file in sorted((ROOT / "configs" / "preset" / "trudi").glob("*.yaml")):
        content = yaml.safe_load(file.read_text())
        base = [f"as `{name}`" for name in content.pop("defaults", [])]
        values = [f"`{name}: {plain(value)}`" for name, value in flat(content)]
        rows.append(
            {"preset": f"`{file.stem}`", "tasks": "; ".join(tasks[file.stem]), "sets": ", ".join(base + values)}
        )
    return rows


def pretrained(_: Results) -> list[dict[str, str]]:
    """Return a row for each policy that comes with the package."""
    rows = []
    for found in map(find_pretrained, PRETRAINED):
        returns = f"{found.return_mean:.2f} +- {found.return_std:.2f} ({found.episodes} episodes)"
        row = {"policy": f"`{found.name}`", "trained by": f"`{found.command}`", "env steps": f"{found.env_steps:,}"}
        row["return"] = returns
        behaviours = ", ".join(f"{name} {count}" for name, count in found.behaviours.items())
        rows.append(row | {"behaviours": behaviours or "-", "date": found.date})
    return rows


def fields_of(cls: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name."""
    return {field.name: field for field in dataclasses.fields(cls)}


def documentation(cls: type) -> dict[str, str]:
    """Return the docstrings below the fields of a dataclass and its bases, each as one line."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        (definition,) = ast.parse(inspect.getsource(base)).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in zip(definition.body, definition.body[1:], strict=False):
            text = below.value if isinstance(below, ast.Expr) else None
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Constant):
                # a bar would end the table's cell
                found[ast.unparse(field.target)] = " ".join(str(text.value).split()).replace("|", r"\|")
    return found


def type_name(hint: Any) -> str:
    """Return what a value may be."""
    if hint in TYPES:
        return TYPES[hint]
    if typing.get_origin(hint) is Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(hint))
    return " or ".join(map(type_name, typing.get_args(hint)))


def default_of(field: Any) -> str:
    """Return a field's default as YAML writes it."""
    value = field.default_factory() if field.default is dataclasses.MISSING else field.default
    return BY_PRESET if value == MISSING else "empty" if value == "" else f"`{plain(value)}`"


def other_defaults(field: Any) -> list[str]:
    """Return the defaults of REPPO and DIME that are not TruDi's."""
    others = ((NAMES[algo], fields_of(cfg).get(field.name)) for algo, cfg in SETTINGS.items())
    return [f"; {name} {default_of(of)}" for name, of in others if of is not None and of.default != field.default]


def plain(value: Any) -> str:
    """Return a value as YAML writes it in one line."""
    if isinstance(value, tuple):
        value = list(value)
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    return text.strip("'")


def flat(section: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the names and values in a preset, without the names of its three sections."""
    found = []
    for name, value in section.items():
        if isinstance(value, dict):
            inner = "" if name in ("agent", "algorithm", "env") else f"{prefix}{name}."
            found += flat(value, inner)
        else:
            found.append((f"{prefix}{name}", value))
    return found


CODE_TABLES = {"settings": settings, "presets": presets, "pretrained": pretrained}
