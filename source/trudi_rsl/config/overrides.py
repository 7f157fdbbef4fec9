# SPDX-License-Identifier: BSD-3-Clause
"""Overrides ``name=value``: reading them in Hydra's grammar, and hints for names that do not exist."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import make_dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import BooleanNode, DictConfig, FloatNode, IntegerNode, ListConfig, OmegaConf, StringNode
from omegaconf.errors import OmegaConfBaseException

from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.ppo_fields import PPO_ONLY_FIELDS
from trudi_rsl.setting_ranges import PPO_ALLOWED
from trudi_rsl.settings import TruDiCfg, schema_fields

OPEN_SECTIONS = (
    "agent.obs_groups",
    *("agent.algorithm.actor_encoder", "agent.algorithm.critic_encoder"),
    *(f"agent.{model}.{section}" for model in ("actor", "critic") for section in ("distribution_cfg", "cnn_cfg")),
)
"""Sections of an agent that accept keys beyond those of the schema."""

INSTEAD = {
    "agent.algorithm.clip_param": "agent.algorithm.kl_bound",
    "agent.algorithm.desired_kl": "agent.algorithm.kl_bound",
    "agent.algorithm.entropy_coef": "agent.algorithm.entropy_target_per_dim",
    "agent.actor.hidden_dims": "agent.algorithm.actor_hidden_dims",
    "agent.actor.obs_normalization": "agent.algorithm.obs_normalization",
    **{f"agent.{model}.class_name": f"agent.algorithm.{model}_encoder" for model in ("actor", "critic")},
    **{f"agent.{model}.cnn_cfg": f"agent.algorithm.{model}_encoder" for model in ("actor", "critic")},
    "agent.critic.hidden_dims": "agent.algorithm.critic_hidden_dim",
    "agent.critic.obs_normalization": "agent.algorithm.obs_normalization",
    "agent.empirical_normalization": "agent.algorithm.obs_normalization",
    "agent.policy.actor_hidden_dims": "agent.algorithm.actor_hidden_dims",
    "agent.policy.critic_hidden_dims": "agent.algorithm.critic_hidden_dim",
}
"""Settings of RSL-RL's PPO and its models, and those of TruDi that serve the same purpose."""


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse overrides with Hydra's grammar; values that only quotes could make a part of it are read as text.

    Raises:
        ConfigError: If one is malformed or replaces a section.
    """
    parsed = []
    for text in overrides:
        override = _parse(text)
        if override is None or override.is_sweep_override():
            override = _parse(_with_quotes(text))
        if override is None or override.is_sweep_override() or override.is_delete():
            if re.fullmatch(r"[^=]+=[+-]?\d,\d+", text):
                number, pair = text.replace(",", "."), f"{text.replace('=', '=[')}]"
                raise ConfigError(f"Cannot read {text!r}; write {number} for a number, {pair} for a list.")
            raise ConfigError(
                f"Cannot read {text!r} as an override; write name=value, as env.num_envs=64, and lists in brackets."
            )
        if override.key_or_group in ("agent", "task", "env"):
            single = f"override single settings, as {override.key_or_group}.name=value"
            raise ConfigError(f"{text!r} replaces a whole section; {single}, or use --algo and --task.")
        parsed.append(override)
    return parsed


def check_names(cfg: DictConfig, overrides: Iterable[Override], opened: Sequence[str] = OPEN_SECTIONS) -> None:
    """Raise a ConfigError for the first override of a setting that ``cfg`` does not have, with the names to use.

    Keys inside of the sections ``opened`` pass.
    """
    for override in overrides:
        node: Any = cfg
        walked: list[str] = []
        if override.key_or_group == "preset":
            continue
        for part in override.key_or_group.split("."):
            if ".".join(walked) in opened:
                break
            if not isinstance(node, DictConfig) or part not in node:
                where = ".".join(walked) or "the configuration"
                names = [str(name) for name in node] if isinstance(node, DictConfig) else None
                reason = f"Unknown setting {override.key_or_group!r}: no {part!r} in {where}."
                rest = override.key_or_group.removeprefix("".join(f"{section}." for section in walked))
                hint = _in_another_section(rest, _paths(cfg)) or _hint(override.key_or_group, part, names)
                raise ConfigError(f"{reason} {hint}")
            node = OmegaConf.select(node, part, throw_on_missing=False)
            walked.append(part)


KINDS: dict[type, tuple[str, str]] = {
    IntegerNode: ("an integer", "a list of integers, as [256,256]"),
    FloatNode: ("a number", "a list of numbers, as [-1.0,1.0]"),
    BooleanNode: ("true or false", "a list of true and false"),
    StringNode: ("text", "a list of names, as [policy,critic]"),
}
"""How a user writes the values of a setting's type, and lists of them."""
NODES = {int: IntegerNode, float: FloatNode, bool: BooleanNode, str: StringNode}


def wrong_value(error: Exception, cfg: DictConfig, overrides: Iterable[Override]) -> str:
    """Return in one line which setting of ``cfg`` OmegaConf refused, what it takes, and what the user wrote."""
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if not isinstance(cause, OmegaConfBaseException):
        return " ".join(str(error).split())
    line = (cause.msg or str(cause)).strip().splitlines()[0]
    name = re.sub(r"\[\d+\]$", "", str(cause.full_key or ""))
    kind = _kind(cfg, name)
    written = [(o.input_line or "").partition("=")[2] for o in overrides if o.key_or_group == name]
    if not name or kind is None or not written:
        return f"{name}: {line}" if name else line
    return f"{name} must be {kind}; got {written[-1]}."


def _kind(cfg: DictConfig, name: str) -> str | None:
    """Return what values a setting takes; None if that is not known."""
    section, _, last = name.rpartition(".")
    parent = OmegaConf.select(cfg, section, throw_on_missing=False) if section else cfg
    node = parent._get_node(last) if isinstance(parent, DictConfig) and last in parent else None
    if isinstance(node, DictConfig):
        return f"a section, whose settings are written as {name}.NAME=value"
    if isinstance(node, ListConfig):
        element = NODES.get(node._metadata.element_type)  # pyright: ignore[reportArgumentType]
        return None if element is None else KINDS[element][1]
    if type(node) not in KINDS:
        return None
    return KINDS[type(node)][0] + (" or null" if node._is_optional() else "")  # pyright: ignore


def check_section_names(overrides: Iterable[Override], known: Mapping[str, Collection[str]]) -> None:
    """Raise a ConfigError as :func:`check_names` for a setting that is not among the ``known`` ones of its section."""
    for override in overrides:
        section, _, part = override.key_or_group.rpartition(".")
        if section in known and part not in known[section]:
            reason = f"Unknown setting {override.key_or_group!r}: no {part!r} in {section}."
            paths = [f"{other}.{name}" for other, names in known.items() for name in names]
            hint = _in_another_section(part, paths) or _hint(override.key_or_group, part, sorted(known[section]))
            raise ConfigError(f"{reason} {hint}")


def check_sections(
    overrides: Sequence[Override], known: Mapping[str, Mapping[str, str]], choices: Mapping[str, Collection[str]]
) -> None:
    """Raise a ConfigError as :func:`check_section_names`, or for a value of the wrong type or outside of its range.

    Args:
        overrides: What the user wrote.
        known: Settings of PPO or a relative and their types by section, as
            :func:`~trudi_rsl.config.ppo_names.section_types` returns them. Types other than numbers, text and flags
            are not checked.
        choices: The values of settings that have a few, in lower case.
    """
    check_section_names(overrides, known)
    scalars = {kind.__name__: kind for kind in NODES}
    for override in overrides:
        name, (section, _, part) = override.key_or_group, override.key_or_group.rpartition(".")
        if part not in known.get(section, {}) or "${" in (override.input_line or ""):
            continue
        value = override.value()
        if (kind := scalars.get(known[section][part])) is not None:
            schema = make_dataclass("Section", [(part, kind, kind())])
            cfg = OmegaConf.create()
            OmegaConf.update(cfg, section, OmegaConf.structured(schema), force_add=True)
            try:
                OmegaConf.update(cfg, name, value)
            except OmegaConfBaseException as error:
                raise ConfigError(wrong_value(error, cfg, [override])) from error
            value = OmegaConf.select(cfg, name)
        if part in PPO_ALLOWED and not PPO_ALLOWED[part][0](value):
            raise ConfigError(f"{name} must be {PPO_ALLOWED[part][1]}; got {value}.")
        if part in choices and str(value).lower() not in choices[part]:
            raise ConfigError(f"Unknown {part} {str(value)!r} of {section}. {nearest(str(value), choices[part])}")


def quoted(value: Any) -> str:
    """Return a value as Hydra reads it back, text in quotes."""
    return QuotedString(value, Quote.single).with_quotes() if isinstance(value, str) else str(value)


def allow_new_keys(override: Override, opened: Iterable[str]) -> str:
    """Return the override's text, prefixed by ``++`` inside one of the open sections."""
    text = override.input_line or ""
    key = override.key_or_group
    is_open = any(key == section or key.startswith(f"{section}.") for section in opened)
    return "++" + text.lstrip("+") if is_open else text


def _parse(text: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None


def _with_quotes(text: str) -> str:
    """Return ``name=value`` with the value in quotes, unless it has the characters of another form."""
    name, equals, value = text.partition("=")
    # of the task's constructor, text is more likely than a list; elsewhere no setting is text with commas
    is_text = value and value[0] not in "[{('\"" and ("," not in value or name.lstrip("+").startswith("env."))
    return f"{name}{equals}{quoted(value)}" if is_text else text


def _paths(cfg: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield the full names of all settings and sections."""
    for name, value in cfg.items_ex(resolve=False):
        yield f"{prefix}{name}"
        if isinstance(value, DictConfig):
            yield from _paths(value, f"{prefix}{name}.")


def _in_another_section(rest: str, paths: Iterable[str]) -> str:
    """Return which settings are meant by a name without its first sections; empty if there are none."""
    found = [path for path in paths if path.endswith(f".{rest}")]
    return f"Did you mean {', '.join(map(repr, found[:3]))}?" if found else ""


def _hint(name: str, part: str, known: list[str] | None) -> str:
    """Return what to write instead of an unknown ``part`` of a setting's name, where the names ``known`` exist."""
    own = {field for field, *_ in schema_fields(TruDiCfg)}
    of_trudi = known is None or not name.startswith("agent.algorithm.") or own <= set(known)
    if of_trudi and name in INSTEAD:
        return f"It is PPO's; use {INSTEAD[name]}."
    if of_trudi and part in PPO_ONLY_FIELDS:
        return "It is PPO's, and this algorithm has no use for it; leave it out."
    if not of_trudi and part in own:
        return "It is a setting of TruDi, REPPO or DIME; choose one with --algo."
    return nearest(part, known) if known is not None else "It has no parts."
