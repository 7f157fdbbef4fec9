# SPDX-License-Identifier: BSD-3-Clause
"""From a task's name and a few overrides to a complete, checked configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trudi_rsl.config.presets import CONFIG_DIR, available, preset_of
from trudi_rsl.config.run_folder import LOG_ROOT
from trudi_rsl.config.schema import register
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.rsl_rl_compat.contract import check_logger
from trudi_rsl.rsl_rl_compat.version import INSTALLED, PPO_MODELS
from trudi_rsl.settings import SETTINGS, family_overrides

OPEN_SECTIONS = ("env.env_kwargs", "agent.obs_groups", "agent.actor.distribution_cfg", "agent.critic.distribution_cfg")
"""Sections whose keys belong to others and cannot be listed here."""

LONGEST_NAME = 100
"""Characters of a folder's name; file systems allow 255 bytes."""

_AT_LEAST_ONE = (
    *("env.num_envs", "agent.num_steps_per_env", "agent.max_iterations", "agent.save_interval", "agent.num_threads"),
    *("agent.evaluation_episodes", "agent.keep_checkpoints"),
    *("agent.algorithm.num_learning_epochs", "agent.algorithm.num_mini_batches"),
)

register()


def compose(
    task: str,
    algo: str = "trudi",
    overrides: Sequence[str] = (),
    *,
    settings: Mapping[str, Any] | None = None,
    config_dir: Path = CONFIG_DIR,
) -> DictConfig:
    """Compose the configuration of a run: schema, then agent and env, then the task's preset, then what is given here.

    Args:
        task: Task name; it selects the preset (``configs/tasks.yaml``).
        algo: Name of a file in ``configs/agent``, or another algorithm of TruDi's learner, which has TruDi's
            configuration and presets but for its actor (``reppo``) or its constraint (``dime``).
        overrides: Isaac Lab's and Hydra's grammar, ``agent.algorithm.kl_bound=0.2``, and ``preset=NAME`` for another
            preset than the task's.
        settings: Dotted names to values; entries of None are ignored. Weaker than ``overrides``.
        config_dir: The folder of configuration files.

    Returns:
        ``task``, ``agent`` (RSL-RL's runner configuration) and ``env`` (the simulator's settings), without
        interpolations and with nothing left to fill in.

    Raises:
        ConfigError: If a name is unknown (with the nearest ones), or a value impossible.
    """
    if not config_dir.is_dir():
        raise ConfigError(
            f"No configuration files in {config_dir}: this installation of trudi_rsl is incomplete, so install it "
            "again."
        )
    if algo not in (algos := {*available("agent", config_dir), *SETTINGS}):
        raise ConfigError(f"Unknown algorithm {algo!r}. {nearest(algo, algos)}")
    if algo not in SETTINGS and not PPO_MODELS:
        raise ConfigError(
            f"The settings of {algo.upper()} here are written for rsl-rl-lib 5; installed is {INSTALLED}, where only "
            "TruDi, REPPO and DIME train."
        )
    parsed = parse_overrides(overrides)
    agent = "trudi" if algo in SETTINGS else algo
    preset = next((str(o.value()) for o in parsed if o.key_or_group == "preset"), preset_of(task, agent, config_dir))
    if preset not in (presets := available(f"preset/{agent}", config_dir)):
        raise ConfigError(f"Unknown preset {preset!r} for {algo}. {nearest(preset, presets)}")
    groups = [f"agent={agent}", f"+preset/{agent}={preset}", f"task={_quoted(task)}"]
    if algo in SETTINGS:
        groups += [f"agent.algorithm.{key}={_quoted(value)}" for key, value in family_overrides(algo).items()]
    chosen = [f"{key}={_quoted(value)}" for key, value in (settings or {}).items() if value is not None]
    given = [_opened(o) for o in parsed if o.key_or_group != "preset"]
    with initialize_config_dir(str(config_dir.resolve()), version_base="1.3"):
        try:
            if any((text.input_line or "").startswith(("+", "hydra")) for text in parsed):
                check_names(hydra_compose("train", groups), parsed)  # Hydra would add a name, or take it for its own
            cfg = hydra_compose("train", groups + chosen + given)
            OmegaConf.resolve(cfg)
        except (HydraException, OmegaConfBaseException) as error:
            check_names(hydra_compose("train", groups), parsed)
            raise ConfigError(_reason(error)) from error
    if not cfg.agent.experiment_name:
        name = re.sub(r"[^a-z0-9._-]+", "_", task.lower())
        cfg.agent.experiment_name = name if algo == "trudi" else f"{name}_{algo}"
    _check_values(cfg, algo)
    return cfg


def _quoted(value: Any) -> str:
    return QuotedString(value, Quote.single).with_quotes() if isinstance(value, str) else str(value)


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Return overrides as Hydra reads them.

    Raises:
        ConfigError: If one is malformed, or replaces a whole section.
    """
    parsed = []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            override = None
        if override is None or override.is_sweep_override() or override.is_delete():
            raise ConfigError(
                f"Cannot read {text!r} as an override; write name=value, as agent.algorithm.kl_bound=0.2."
            )
        if override.key_or_group in ("agent", "task", "env"):
            raise ConfigError(
                f"{text!r} replaces a whole section. Choose the algorithm with --algo and the task with --task, and "
                f"override single settings, as {override.key_or_group}.name=value."
            )
        parsed.append(override)
    return parsed


def _opened(override: Override) -> str:
    """Return the override's text, as one that may add a key where the section is open."""
    text = override.input_line or ""
    key = override.key_or_group
    is_open = any(key == section or key.startswith(f"{section}.") for section in OPEN_SECTIONS)
    return "++" + text.lstrip("+") if is_open else text


def check_names(cfg: DictConfig, overrides: Iterable[Override]) -> None:
    """Refuse overrides of settings that ``cfg`` does not have.

    Raises:
        ConfigError: Naming the first of them, and the nearest names.
    """
    for override in overrides:
        node: Any = cfg
        walked: list[str] = []
        if override.key_or_group == "preset":
            continue
        for part in override.key_or_group.split("."):
            if ".".join(walked) in OPEN_SECTIONS:
                break
            if not isinstance(node, DictConfig) or part not in node:
                where = ".".join(walked) or "the configuration"
                hint = nearest(part, (str(k) for k in node)) if isinstance(node, DictConfig) else "It has no parts."
                raise ConfigError(f"Unknown setting {override.key_or_group!r}: no {part!r} in {where}. {hint}")
            node = OmegaConf.select(node, part, throw_on_missing=False)
            walked.append(part)


def _reason(error: Exception) -> str:
    """Return one line: which setting, and what OmegaConf has against its value."""
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if not isinstance(cause, OmegaConfBaseException):
        return " ".join(str(error).split())
    line = (cause.msg or str(cause)).strip().splitlines()[0]
    return f"{cause.full_key}: {line}" if cause.full_key else line


def check_seed(seed: int, name: str) -> None:
    """Refuse a seed that random generators do not take.

    Raises:
        ConfigError: Naming it.
    """
    if not 0 <= seed < 2**32:
        raise ConfigError(f"{name} must be an integer of at least 0 and below 2^32; got {seed}.")


def _check_values(cfg: DictConfig, algo: str) -> None:
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        raise ConfigError(f"No value for {', '.join(missing)}.")
    for key in _AT_LEAST_ONE:
        value = OmegaConf.select(cfg, key)
        if value is not None and value < 1:
            raise ConfigError(f"{key} must be an integer of at least 1; got {value}.")
    if cfg.agent.max_seconds is not None and not cfg.agent.max_seconds > 0.0:
        raise ConfigError(f"agent.max_seconds must be above 0; got {cfg.agent.max_seconds}.")
    check_seed(cfg.agent.seed, "agent.seed")
    if "/" in cfg.agent.run_name or "\\" in cfg.agent.run_name:
        raise ConfigError(
            f"agent.run_name becomes part of a folder's name, so it has no slashes; got {cfg.agent.run_name!r}."
        )
    for name in ("run_name", "experiment_name"):
        value = OmegaConf.select(cfg.agent, name)
        if not value.isprintable() or max(map(len, value.split("/"))) > LONGEST_NAME:
            raise ConfigError(
                f"agent.{name} names a folder: at most {LONGEST_NAME} characters and none that is not shown; got "
                f"{value[:LONGEST_NAME]!r}."
            )
    # a Windows path takes both kinds of slashes
    experiment = PureWindowsPath(cfg.agent.experiment_name)
    if experiment.anchor or ".." in experiment.parts:
        raise ConfigError(
            f"agent.experiment_name is a folder inside {LOG_ROOT}, so it is a relative path without '..'; got "
            f"{cfg.agent.experiment_name!r}."
        )
    check_logger(cfg.agent.logger)
    rows, minibatches = cfg.env.num_envs * cfg.agent.num_steps_per_env, cfg.agent.algorithm.num_mini_batches
    if rows < minibatches:
        raise ConfigError(
            f"env.num_envs x agent.num_steps_per_env = {rows} transitions can't make {minibatches} minibatches. Lower "
            "agent.algorithm.num_mini_batches or raise one of the two."
        )
    if algo in SETTINGS:
        SETTINGS[algo].from_dict(OmegaConf.to_container(cfg.agent.algorithm))  # pyright: ignore[reportArgumentType]
