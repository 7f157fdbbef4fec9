# SPDX-License-Identifier: BSD-3-Clause
"""Overrides in Isaac Lab's and Hydra's grammar, for mjlab's own command line."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import io
import re
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import mjlab  # pyright: ignore[reportMissingImports]
import tyro  # pyright: ignore[reportMissingImports]
from hydra.core.override_parser.types import QuotedString

from trudi_rsl.config.compose import parse_overrides
from trudi_rsl.errors import ConfigError, nearest


def apply(cfg: Any, settings: Mapping[str, Any], overrides: Sequence[str] = ()) -> Any:
    """Return ``cfg`` with settings and overrides applied, as mjlab's command line would.

    Args:
        cfg: A configuration dataclass of mjlab; left as it is.
        settings: Dotted names to values; entries of None are ignored. Weaker than ``overrides``.
        overrides: ``agent.algorithm.kl_bound=0.2``, ``env.scene.num_envs=64``.

    Raises:
        ConfigError: If a name is unknown (with the nearest ones), or mjlab refuses a value.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    given |= {o.key_or_group: o.value() for o in parse_overrides(overrides)}
    args = [token for name, value in given.items() for token in _tokens(cfg, name, value)]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return tyro.cli(type(cfg), args=args, default=cfg, config=mjlab.TYRO_FLAGS)  # pyright: ignore[reportAttributeAccessIssue]
    except SystemExit as error:
        raise ConfigError(_reason(said.getvalue())) from error


def _tokens(cfg: Any, name: str, value: Any) -> list[str]:
    """Return what sets one value on the command line."""
    hint, current = _find(cfg, name)
    option = "--" + name.replace("_", "-")
    if isinstance(value, QuotedString):
        value = value.text
    if not isinstance(value, list):
        return [f"{option}={value}"]
    # mjlab has collections written as Python does, but tyro knows that of lists and tuples only
    if typing.get_origin(hint) is collections.abc.Sequence:
        return [option, *map(str, value)]
    return [f"{option}={value if isinstance(current, list) else tuple(value)}"]


def _find(cfg: Any, name: str) -> tuple[Any, Any]:
    """Return the type hint and the value of a setting.

    Raises:
        ConfigError: If there is no such setting.
    """
    hint, node = None, cfg
    walked: list[str] = []
    for part in name.split("."):
        if dataclasses.is_dataclass(node):
            hints = typing.get_type_hints(type(node))
            known = {f.name: (hints[f.name], getattr(node, f.name)) for f in dataclasses.fields(node)}
        else:
            known = {key: (None, value) for key, value in node.items()} if isinstance(node, Mapping) else {}
        if part not in known:
            where = ".".join(walked) or "the configuration"
            hint = nearest(part, map(str, known)) if known else "It has no parts."
            raise ConfigError(f"Unknown setting {name!r}: no {part!r} in {where}. {hint}")
        hint, node = known[part]
        walked.append(part)
    return hint, node


def _reason(message: str) -> str:
    """Return the sentence of tyro's boxed message that says what is wrong."""
    lines = [line.strip(" │") for line in message.splitlines()]
    text = " ".join(line for line in lines if line and not set(line) <= set("-─╭╮╰╯"))
    found = re.search(r"(Error parsing|Unrecognized options).*?(?= Argument helptext:| For full helptext|$)", text)
    return f"mjlab refuses a setting. {found[0] if found else text}"
