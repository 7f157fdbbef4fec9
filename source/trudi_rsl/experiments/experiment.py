# SPDX-License-Identifier: BSD-3-Clause
"""The schema of an experiment file: which algorithms are trained on which tasks, with which seeds and variants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trudi_rsl.config.presets import CONFIG_DIR, available
from trudi_rsl.config.yaml_file import read_yaml
from trudi_rsl.errors import ConfigError, nearest, one_line
from trudi_rsl.evaluation.episodes import EVALUATION_SEED
from trudi_rsl.evaluation.samplers import SamplerCfg, expand_samplers

Section = TypeVar("Section")
GROUP = "experiment"
"""Folder of ``configs/`` with the experiments that come with the package."""


@dataclass
class EvaluationSection:
    """How each finished run is evaluated; see :class:`~trudi_rsl.evaluation.measurement.EvaluationCfg`."""

    samplers: list[str] = field(default_factory=lambda: ["ode"])
    """Names of samplers; each algorithm is evaluated with the ones that it supports."""
    score_scales: list[float] = field(default_factory=lambda: [1.0])
    """Score scales c of ``ode``, above 0."""
    num_candidates: list[int] = field(default_factory=lambda: [20])
    """Candidates K of ``best_of_k``, at least 1."""
    initial_latents: list[str | None] = field(default_factory=lambda: [None])
    """Initial latents of ``ode``: random or zeros; null is the policy's default."""
    episodes: int = 32
    """Episodes per run and sampler, at least 1."""
    seed: int = EVALUATION_SEED
    """Seed of simulators and samplers, at least 0."""

    def sampler_cfgs(self) -> list[SamplerCfg]:
        """Return every combination of the lists.

        Raises:
            ConfigError: If a list is empty, a name unknown or a value out of range.
        """
        lists: Any = (self.samplers, self.score_scales, self.num_candidates, self.initial_latents)
        return expand_samplers(*lists)


@dataclass
class Variant:
    """A named change of settings."""

    overrides: list[str] = field(default_factory=list)
    """``name=value``, as on the command line."""
    algorithms: list[str] | None = None
    """Algorithms that are trained in this variant; None is all of the experiment."""


@dataclass
class Experiment:
    """An experiment file; every algorithm is trained on every task with every seed in every variant."""

    name: str = ""
    """Folder of the runs below ``logs/rsl_rl``; empty takes the file's name."""
    description: str = ""
    """First paragraph of the report."""
    algorithms: list[str] = field(default_factory=lambda: ["trudi"])
    tasks: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    overrides: list[str] = field(default_factory=list)
    """``name=value`` for all runs."""
    algorithm_overrides: dict[str, list[str]] = field(default_factory=dict)
    """Algorithm to ``name=value`` for its runs; takes precedence over ``overrides``."""
    variants: dict[str, Any] = field(default_factory=dict)
    """Name to a list of ``name=value`` or a :class:`Variant`; takes precedence over all other overrides."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Algorithm to seconds of training, including compilation, that replace its number of iterations."""
    normalize: dict[str, Any] = field(default_factory=dict)
    """Task to the returns that count as 0 and 1; if all tasks are listed, the report also aggregates over tasks."""
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)

    def named_variants(self) -> dict[str, Variant]:
        """Return the variants by name; a single one named "" if the file lists none.

        Raises:
            ConfigError: If one is neither a list of overrides nor a :class:`Variant`.
        """
        if not self.variants:
            return {"": Variant()}
        sections = {
            str(name): {"overrides": value} if isinstance(value, list) else value
            for name, value in self.variants.items()
        }
        return {name: _parse(Variant, section, f"Variant {name!r}") for name, section in sections.items()}


def load_experiment(name_or_path: str, config_dir: Path = CONFIG_DIR) -> Experiment:
    """Read an experiment file.

    Args:
        name_or_path: A path, or the name of a file in ``configs/experiment``.
        config_dir: The folder of configuration files.

    Raises:
        ConfigError: If the file does not exist (with the nearest names), is not YAML, or has an unknown or impossible
            entry.
    """
    path = Path(name_or_path)
    if not path.is_file():
        known = available(GROUP, config_dir)
        if name_or_path not in known:
            raise ConfigError(
                f"No experiment {name_or_path!r}: neither a file nor one of configs/{GROUP}. "
                f"{nearest(name_or_path, known)}"
            )
        path = config_dir / GROUP / f"{name_or_path}.yaml"
    content = read_yaml(path)
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path} must hold lines such as `tasks: [HalfCheetah-v5]`.")
    experiment = from_mapping(content, str(path))
    experiment.name = experiment.name or path.stem
    return experiment


def from_mapping(content: Mapping[str, Any], source: str) -> Experiment:
    """Return the experiment that a mapping describes.

    Args:
        content: The content of the file.
        source: The file's name, for error messages.

    Raises:
        ConfigError: If an entry is unknown (with the nearest names), has the wrong type, or is for an algorithm that
            is not listed.
    """
    _parse(EvaluationSection, content.get("evaluation") or {}, f"{source}: evaluation")
    experiment = _parse(Experiment, content, source)
    _require_single_values(experiment.algorithm_overrides, source)
    _require_single_values({"seconds": [*experiment.seconds.values()]}, source)
    _require_listed_algorithms(experiment)
    return experiment


def require_runs(experiment: Experiment) -> None:
    """Refuse an experiment without runs.

    Raises:
        ConfigError: Naming the lists that are empty.
    """
    empty = [name for name in ("algorithms", "tasks", "seeds") if not getattr(experiment, name)]
    if empty:
        names, flags = " and ".join(empty), " ".join(f"--{name}" for name in empty)
        verb = "are" if len(empty) > 1 else "is"
        raise ConfigError(
            f"The experiment {experiment.name!r} has no runs: {names} {verb} empty. Fill in the file, or add {flags}."
        )


def _require_listed_algorithms(experiment: Experiment) -> None:
    """Refuse entries for algorithms that the file does not list; flags may still leave listed ones out."""
    entries = {"algorithm_overrides": experiment.algorithm_overrides, "seconds": experiment.seconds}
    entries |= {f"variant {name!r}": variant.algorithms or [] for name, variant in experiment.named_variants().items()}
    for entry, names in entries.items():
        for name in names:
            if name not in experiment.algorithms:
                hint = nearest(name, experiment.algorithms)
                raise ConfigError(f"{entry} names {name!r}, which is not among the algorithms. {hint}")


def _parse(schema: type[Section], content: Any, source: str) -> Section:
    """Return a section of the file with its types checked.

    Raises:
        ConfigError: If an entry is unknown (with the nearest names) or has the wrong type.
    """
    known = [entry.name for entry in dataclasses.fields(schema)]  # pyright: ignore[reportArgumentType]
    if not isinstance(content, Mapping):
        raise ConfigError(f"{source} must be a section of {', '.join(known)}, not {content!r}.")
    for name in content:
        if name not in known:
            raise ConfigError(f"{source}: unknown entry {name!r}. {nearest(str(name), known)}")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.create(dict(content)))
        section: Any = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        reason = one_line((error.msg or str(error)).strip().partition("\n")[0])
        raise ConfigError(f"{source}: {error.full_key or 'content'}: {reason}") from error
    _require_single_values(vars(section), source)
    return section


def _require_single_values(lists: Mapping[str, Any], source: str) -> None:
    """Refuse lists and sections as entries of a list, which OmegaConf accepts."""
    for name, values in lists.items():
        if isinstance(values, list) and any(isinstance(value, list | Mapping) for value in values):
            raise ConfigError(f"{source}: {name} must list single values, not {values!r:.80}.")
