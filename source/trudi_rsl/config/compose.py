# SPDX-License-Identifier: BSD-3-Clause
"""Composing a complete, checked configuration from a task's name and overrides.

The schemas of the algorithms are derived from their definitions (:mod:`trudi_rsl.settings` and the signatures of the
installed RSL-RL's PPO and models), so that no default is written twice.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path, PureWindowsPath
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trudi_rsl import packages
from trudi_rsl.choices import LOGGERS, NAMES, Algorithm
from trudi_rsl.config.overrides import (
    OPEN_SECTIONS,
    allow_new_keys,
    check_names,
    check_sections,
    parse_overrides,
    quoted,
    wrong_value,
)
from trudi_rsl.config.ppo_names import choices, section_types
from trudi_rsl.config.presets import CONFIG_DIR, available, preset_of
from trudi_rsl.config.run_folder import LOG_ROOT, resume_path
from trudi_rsl.config.schema import GYMNASIUM, HostSettings, RunnerCfg, TrainCfg
from trudi_rsl.errors import ConfigError, naming_settings, nearest, settings_as_overrides
from trudi_rsl.model_sections import PPO_MODEL_KEYS, check_ppo_models, is_recurrent
from trudi_rsl.rsl_rl_compat.version import INSTALLED, PPO_MODELS
from trudi_rsl.setting_ranges import sequence_length
from trudi_rsl.settings import (
    SETTINGS,
    DPPOCfg,
    LearnerAlgorithm,
    LearnerCfg,
    TruDiCfg,
    family_overrides,
    schema_fields,
)

LONGEST_NAME = 100
"""Characters of a folder's name; file systems allow 255 bytes."""

_AT_LEAST_ONE = (
    *("env.num_envs", "agent.num_steps_per_env", "agent.max_iterations", "agent.save_interval", "agent.num_threads"),
    *("agent.evaluation_episodes", "agent.keep_checkpoints"),
    *("agent.algorithm.num_learning_epochs", "agent.algorithm.num_mini_batches"),
)


def compose(
    task: str,
    algo: str = "trudi",
    overrides: Sequence[str] = (),
    *,
    settings: Mapping[str, Any] | None = None,
    host: HostSettings = GYMNASIUM,
    config_dir: Path = CONFIG_DIR,
) -> DictConfig:
    """Compose the configuration of a run; later sources win: schema, agent, env, preset, ``settings``, ``overrides``.

    It has ``task``, ``agent`` (RSL-RL's runner configuration) and ``env`` (the simulator's settings), without
    interpolations or missing values.

    Args:
        task: Selects the preset (``tasks.yaml``).
        algo: Name of a file in ``configs/agent``, or ``reppo`` or ``dime``, which use TruDi's file and presets with
            another actor or constraint.
        overrides: In Hydra's grammar, ``agent.algorithm.kl_bound=0.2``; ``preset=NAME`` replaces the task's preset.
        settings: Dotted names to values; entries of None are ignored.
        host: Has the schema of ``env`` and the presets; :func:`trudi_rsl.hosts.registry.compose` looks it up.
        config_dir: The folder of this package's configuration files.

    Raises:
        ConfigError: If a name is unknown (with the nearest ones), or a value impossible.
    """
    if not config_dir.is_dir():
        raise ConfigError(f"No configuration files in {config_dir}: trudi_rsl is incomplete, so install it again.")
    if algo not in (algos := {*available("agent", config_dir), *SETTINGS}):
        raise ConfigError(f"Unknown algorithm {algo!r}. {nearest(algo, algos)}")
    parsed = parse_overrides(overrides)
    if algo not in SETTINGS:
        if not PPO_MODELS:
            here = f"written for rsl-rl-lib 5; installed is {INSTALLED}, where only TruDi, REPPO and DIME train"
            raise ConfigError(f"The settings of {algo.upper()} here are {here}.")
        check_sections(parsed, section_types(algo), choices())
        _register_ppo_schemas()
    agent = "trudi" if algo in SETTINGS else algo
    preset_dir = config_dir if host.config_dir == CONFIG_DIR else host.config_dir
    preset = preset_name(task, algo, overrides, host, preset_dir)
    _check_preset(preset, agent, (config_dir, preset_dir))
    ConfigStore.instance().store(group="env", name=host.name, node=host.env_cfg)
    groups = [f"env={host.name}", f"agent={agent}", f"+preset/{agent}={preset}", f"task={quoted(task)}"]
    if preset_dir != config_dir:
        groups.append(f"hydra.searchpath=[{quoted(preset_dir.resolve().as_uri())}]")
    if algo in SETTINGS:
        groups += [f"agent.algorithm.{key}={quoted(value)}" for key, value in family_overrides(algo).items()]
    flags = [f"{key}={quoted(value)}" for key, value in (settings or {}).items() if value is not None]
    opened = (*OPEN_SECTIONS, *host.open_sections)
    user = [allow_new_keys(o, opened) for o in parsed if o.key_or_group != "preset"]
    with _hydra(config_dir):
        try:
            if any((text.input_line or "").startswith(("+", "hydra")) for text in parsed):
                # Hydra would add such a name, or take it for one of its own
                check_names(hydra_compose("train", groups), parsed, opened)
            cfg = hydra_compose("train", groups + flags + user)
            OmegaConf.resolve(cfg)
        except (HydraException, OmegaConfBaseException, ValueError) as error:  # int() fails for a name in a list
            known = hydra_compose("train", groups)
            check_names(known, parsed, opened)
            raise ConfigError(wrong_value(error, known, parsed)) from error
    if not cfg.agent.experiment_name:
        name = re.sub(r"[^a-z0-9._-]+", "_", task.lower())
        cfg.agent.experiment_name = name if algo == "trudi" else f"{name}_{algo}"
    check_values(cfg)
    if algo not in SETTINGS:
        check_ppo_models(cfg.agent)
        return cfg
    plain: Any = OmegaConf.to_container(cfg)
    section = plain["agent"]["algorithm"]
    # REPPO and DIME have fewer fields than the schema that TruDi's presets fill
    own = check_algorithm(algo, section)
    plain["agent"]["algorithm"] = {"class_name": section["class_name"], **own.to_dict()}
    return DictConfig(plain, flags={"struct": True})


def check_sequences(cfg: DictConfig) -> None:
    """Check that a configuration to train a recurrent policy with has a sequence for each minibatch.

    Raises:
        ConfigError: See :func:`~trudi_rsl.setting_ranges.sequence_length`.
    """
    agent, section = cfg.agent, cfg.agent.algorithm
    networks = [agent[name] for name in ("actor", "critic") if name in agent]
    if any(is_recurrent(network) for network in networks) and section.num_mini_batches > cfg.env.num_envs:
        raise ConfigError(
            f"agent.algorithm.num_mini_batches must be at most {cfg.env.num_envs} with an RNNModel, got "
            f"{section.num_mini_batches}: RSL-RL's minibatches consist of whole environments, and with fewer of these "
            "it learns nothing. Lower it or raise env.num_envs."
        )
    if any(is_recurrent(section.get(f"{model}_encoder")) for model in ("actor", "critic")):
        with settings_as_overrides(), naming_settings():
            steps = cfg.agent.num_steps_per_env
            sequence_length(section.sequence_length, section.num_mini_batches, steps, cfg.env.num_envs)


def check_algorithm(algo: LearnerAlgorithm, section: Mapping[str, Any]) -> LearnerCfg:
    """Return the settings of a learner's algorithm; a wrong one raises a ConfigError in the grammar of overrides."""
    with settings_as_overrides(), naming_settings():
        return SETTINGS[algo].from_dict(section)


def setting_paths(algo: str) -> list[str]:
    """Return the settings of an algorithm and of the runner as overrides name them; none for an unknown algorithm."""
    if algo in SETTINGS:
        sections = {"agent.algorithm": [name for name, *_ in schema_fields(SETTINGS[algo])]}
    else:
        sections = section_types(algo) if algo in NAMES else {}
    paths = [f"{section}.{name}" for section, names in sections.items() for name in sorted(names)]
    return [*paths, *(f"agent.{field.name}" for field in dataclasses.fields(RunnerCfg) if paths)]


def names_of(settings: Mapping[str, Any], overrides: Sequence[str]) -> list[str]:
    """Return the dotted names of what ``settings`` and ``overrides`` of :func:`compose` set, each once."""
    named = [name for name, value in settings.items() if value is not None]
    return list(dict.fromkeys([*named, *(override.key_or_group for override in parse_overrides(overrides))]))


def preset_name(
    task: str,
    algo: str,
    overrides: Sequence[str] = (),
    host: HostSettings = GYMNASIUM,
    preset_dir: Path | None = None,
) -> str:
    """Return the name of the preset that :func:`compose` uses; ``preset_dir`` replaces the host's folder."""
    chosen = [str(override.value()) for override in parse_overrides(overrides) if override.key_or_group == "preset"]
    agent = "trudi" if algo in SETTINGS else algo
    return chosen[-1] if chosen else preset_of(task, agent, host.name, preset_dir or host.config_dir)


def find_played(
    task: str,
    algorithm: Algorithm,
    experiment_name: str | None = None,
    load_run: str | None = None,
    checkpoint: str | None = None,
    host: HostSettings = GYMNASIUM,
) -> Path:
    """Return the checkpoint to play, selected as by Isaac Lab's flags.

    ``load_run`` is a regular expression of the run folder's name; ``checkpoint`` is a file, a run folder, or a regular
    expression of file names. None takes the newest. If no path is named, runs of the algorithm are searched. ``host``
    is the task's.

    Raises CheckpointError if there is none, ConfigError if a regular expression is malformed.
    """
    named = {"resume": True, "experiment_name": experiment_name, "load_run": load_run, "load_checkpoint": checkpoint}
    settings = {f"agent.{name}": value for name, value in named.items()}
    path = resume_path(compose(task, algorithm, settings=settings, host=host))
    assert path is not None, "resume is set"
    return path


@contextlib.contextmanager
def _hydra(config_dir: Path) -> Iterator[None]:
    """Initialize Hydra inside the block, also in a program that uses Hydra itself, whose state is restored."""
    outer, version = GlobalHydra.instance().hydra, VersionBase.instance().getbase()
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_dir.resolve()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer
        VersionBase.instance().version_base = version


def check_env_overrides(overrides: Sequence[str], host: HostSettings = GYMNASIUM) -> None:
    """Raise a ConfigError for overrides other than of existing ``env`` settings, or for a value of another type.

    Imports nothing heavy.
    """
    for text in overrides:
        if not text.lstrip("+").startswith("env."):
            raise ConfigError(f"Cannot override {text!r} here: the trained agent is fixed. Override env.* settings.")
    cfg, parsed = OmegaConf.create({"env": OmegaConf.structured(host.env_cfg)}), parse_overrides(overrides)
    check_names(cfg, parsed, host.open_sections)
    try:
        for override in parsed:
            OmegaConf.update(cfg, override.key_or_group, override.value(), force_add=True)
    except OmegaConfBaseException as error:
        raise ConfigError(wrong_value(error, cfg, parsed)) from error
    if cfg.env.num_envs < 1:
        raise ConfigError(f"env.num_envs must be an integer of at least 1; got {cfg.env.num_envs}.")


# -- checks -----------------------------------------------------------------------------------------------------------


def check_seed(seed: int, name: str) -> None:
    """Raise a ConfigError that names the setting if a seed is outside the range of NumPy's and torch's generators."""
    if not 0 <= seed < 2**32:
        raise ConfigError(f"{name} must be an integer of at least 0 and below 2^32; got {seed}.")


def _check_preset(preset: str, agent: str, folders: tuple[Path, Path]) -> None:
    """Raise a ConfigError if no folder, or each of two folders, has a preset for an agent."""
    own, hosts = (set(available(f"preset/{agent}", folder)) for folder in folders)
    if preset not in own | hosts:
        raise ConfigError(f"Unknown preset {preset!r} for {agent}. {nearest(preset, own | hosts)}")
    if preset in own & hosts and folders[0] != folders[1]:
        file = folders[1] / "preset" / agent / f"{preset}.yaml"
        raise ConfigError(f"trudi_rsl has a preset {preset!r} of its own; rename {file} and its entry in tasks.yaml.")


def check_values(cfg: DictConfig) -> None:
    """Raise a ConfigError for a configuration with a missing or impossible value."""
    if missing := sorted(OmegaConf.missing_keys(cfg)):
        raise ConfigError(f"No value for {', '.join(missing)}.")
    agent, num_envs = cfg.agent, cfg.env.num_envs
    for key in _AT_LEAST_ONE:
        value = OmegaConf.select(cfg, key)
        if value is not None and value < 1:
            raise ConfigError(f"{key} must be an integer of at least 1; got {value}.")
    if agent.max_seconds is not None and not agent.max_seconds > 0.0:
        raise ConfigError(f"agent.max_seconds must be above 0; got {agent.max_seconds}.")
    check_seed(agent.seed, "agent.seed")
    if re.search(r"[/\\]", agent.run_name):
        raise ConfigError(f"agent.run_name is part of a folder's name, so it has no slashes; got {agent.run_name!r}.")
    for name in ("run_name", "experiment_name"):
        value = agent[name]
        if not value.isprintable() or max(map(len, value.split("/"))) > LONGEST_NAME:
            allowed = f"at most {LONGEST_NAME} printable characters, as it names a folder"
            raise ConfigError(f"agent.{name} must be {allowed}; got {value[:LONGEST_NAME]!r}.")
    # a Windows path accepts both kinds of slashes
    experiment = PureWindowsPath(agent.experiment_name)
    if experiment.anchor or ".." in experiment.parts:
        allowed = f"a relative path without '..', as it is a folder inside {LOG_ROOT}"
        raise ConfigError(f"agent.experiment_name must be {allowed}; got {agent.experiment_name!r}.")
    if agent.logger in LOGGERS and packages.is_missing(agent.logger):
        raise ConfigError(
            f"agent.logger={agent.logger} needs the package {agent.logger}: pip install {agent.logger}, or log with "
            "tensorboard."
        )
    if agent.logger not in LOGGERS:
        from trudi_rsl.rsl_rl_compat.contract import check_logger  # imports torch

        check_logger(agent.logger)
    rows, minibatches = num_envs * agent.num_steps_per_env, agent.algorithm.num_mini_batches
    if rows < minibatches:
        raise ConfigError(
            f"env.num_envs x agent.num_steps_per_env = {rows} transitions can't make {minibatches} minibatches. Lower "
            "agent.algorithm.num_mini_batches or raise one of the two."
        )


# -- schemas ----------------------------------------------------------------------------------------------------------


def _register_schemas() -> None:
    """Store the schemas that need no torch under the names that the files in ``configs/`` use."""
    ConfigStore.instance().store(name="train_schema", node=TrainCfg)
    trudi = _schema("TruDiAlgorithm", "trudi_rsl.algorithms:TruDi", schema_fields(TruDiCfg))
    _register_agent("trudi", {"algorithm": trudi})


@functools.cache
def _register_ppo_schemas() -> None:
    """Store the schemas of PPO and its relatives, which follow the signatures of RSL-RL's classes."""
    from rsl_rl.algorithms import PPO
    from rsl_rl.models import CNNModel, RNNModel

    from trudi_rsl.policies import DenoisingModel, FlowModel
    from trudi_rsl.rsl_rl_compat.models import MLPModel

    models = {"ppo": MLPModel, "spo": MLPModel, "dppo": DenoisingModel, "fpo": FlowModel}
    for name, model in models.items():
        algorithm_class = "PPO" if name == "ppo" else f"trudi_rsl.algorithms:{name.upper()}"
        model_class = "MLPModel" if model is MLPModel else f"trudi_rsl.policies:{model.__name__}"
        own = schema_fields(DPPOCfg) if name == "dppo" else []
        others = [
            (key, hint | None, None)
            for other in (CNNModel, RNNModel)
            for key, hint, _ in _keyword_arguments(other)
            if key in PPO_MODEL_KEYS[other.__name__]
        ]
        sections = {
            "algorithm": _schema(f"{name}_algorithm", algorithm_class, [*_keyword_arguments(PPO), *own]),
            "actor": _schema(f"{name}_actor", model_class, _keyword_arguments(model) + others * (model is MLPModel)),
            "critic": _schema(f"{name}_critic", "MLPModel", [*_keyword_arguments(MLPModel), *others]),
        }
        _register_agent(name, sections)


def _register_agent(name: str, sections: Mapping[str, type]) -> None:
    fields = [(key, schema, field(default_factory=schema)) for key, schema in sections.items()]
    runner = dataclasses.make_dataclass(f"{name}_runner", fields, bases=(RunnerCfg,))
    ConfigStore.instance().store(group="agent", name=f"{name}_schema", node=runner)


def _schema(name: str, class_name: str, fields: Iterable[tuple[str, Any, Any]]) -> type:
    """Return a dataclass that OmegaConf can type-check: ``class_name``, then name, type hint and default of others."""
    columns: list[tuple[str, Any, Any]] = [("class_name", str, class_name)]
    for key, hint, value in fields:
        default = field(default_factory=functools.partial(list, value)) if isinstance(value, list | tuple) else value
        columns.append((key, _omegaconf_type(hint), default))
    return dataclasses.make_dataclass(name, columns)


def _omegaconf_type(hint: Any) -> Any:
    """Return OmegaConf's nearest type: text for literals (whose values the algorithm checks), lists for sequences."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if hint in (bool, int, float, str):
        return hint
    if origin is typing.Literal:
        return str
    if origin in (list, tuple, collections.abc.Sequence):
        return list[args[0]]
    if origin in (types.UnionType, typing.Union):
        members = {str(t): t for t in map(_omegaconf_type, args)}
        return next(iter(members.values())) if len(members) == 1 else Any
    return Any


def _keyword_arguments(cls: type) -> list[tuple[str, Any, Any]]:
    """Return name, type hint and default of the optional arguments of a class's constructor and its bases'."""
    found: dict[str, tuple[str, Any, Any]] = {}
    for constructor in (vars(base)["__init__"] for base in reversed(cls.__mro__) if "__init__" in vars(base)):
        parameters = inspect.signature(constructor).parameters.values()
        optional = [p for p in parameters if p.default is not p.empty]
        hints = typing.get_type_hints(constructor) if optional else {}
        found |= {p.name: (p.name, hints[p.name], p.default) for p in optional}
    return [arguments for name, arguments in found.items() if name not in ("device", "multi_gpu_cfg")]


_register_schemas()
