# SPDX-License-Identifier: BSD-3-Clause
"""Experiment files: which algorithms are trained on which tasks, with which seeds and variants; and their runs."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trudi_rsl.choices import EVALUATION_SEED, NAMES
from trudi_rsl.config.compose import check_seed, preset_name
from trudi_rsl.config.presets import CONFIG_DIR, available
from trudi_rsl.config.yaml_file import read_yaml
from trudi_rsl.errors import ConfigError, nearest, one_line
from trudi_rsl.evaluation.comparison import parse_ranges
from trudi_rsl.evaluation.samplers import EvaluationCfg, SamplerCfg, expand_samplers, supported_samplers
from trudi_rsl.experiments.job import Job
from trudi_rsl.hosts.host import EnvironmentHost, Host
from trudi_rsl.hosts.launched import LaunchedHost
from trudi_rsl.hosts.registry import canonical_name, find_host
from trudi_rsl.plain_values import is_finite
from trudi_rsl.settings import SETTINGS

Section = TypeVar("Section")
RESERVED_SETTINGS = ("agent.seed", "agent.experiment_name", "agent.run_name", "agent.resume", "agent.logger")
"""Settings that the sweep itself chooses for each run."""
UNLIMITED_ITERATIONS = 1_000_000
"""Iterations of a run that a time limit ends."""


@dataclass
class EvaluationSection:
    """How each finished run is evaluated; see :class:`~trudi_rsl.evaluation.samplers.EvaluationCfg`."""

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
        """Return every combination of the lists; see :func:`~trudi_rsl.evaluation.samplers.expand_samplers`."""
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
    task_overrides: dict[str, list[str]] = field(default_factory=dict)
    """Pattern of tasks (``*``, ``?``) to ``name=value`` for their runs; takes precedence over ``overrides``."""
    algorithm_overrides: dict[str, list[str]] = field(default_factory=dict)
    """Algorithm to ``name=value`` for its runs; takes precedence over both."""
    variants: dict[str, Any] = field(default_factory=dict)
    """Name to a list of ``name=value`` or a :class:`Variant`; takes precedence over all other overrides."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Algorithm to seconds of training, including compilation, that replace its number of iterations."""
    normalize: dict[str, Any] = field(default_factory=dict)
    """Task to the returns that count as 0 and 1; if all tasks are listed, the report also aggregates over tasks."""
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)
    speed: dict[str, Any] = field(default_factory=dict)
    """Pattern of tasks to algorithm to environment steps per second of a run, for the hours that a dry run expects."""
    speed_source: str = ""
    """Where these numbers are from: machine, task, who measured."""

    def named_variants(self) -> dict[str, Variant]:
        """Return the variants by name; a single one named "" if the file lists none.

        Raises:
            ConfigError: If one is neither a list of overrides nor a :class:`Variant`.
        """
        named = {}
        for name, value in (self.variants or {"": []}).items():
            section = {"overrides": value} if isinstance(value, list) else value
            named[str(name)] = _parse(Variant, section, f"Variant {name!r}")
        return named


def load_experiment(name_or_path: str) -> Experiment:
    """Read an experiment file, from a path or from its name in ``configs/experiment``.

    Raises:
        ConfigError: If the file does not exist (with the nearest names), is not YAML, or see :func:`from_mapping`.
    """
    path = Path(name_or_path)
    if not path.is_file():
        known = available("experiment")
        if name_or_path not in known:
            hint = nearest(name_or_path, known)
            raise ConfigError(f"No experiment {name_or_path!r}: neither a file nor one of configs/experiment. {hint}")
        path = CONFIG_DIR / "experiment" / f"{name_or_path}.yaml"
    content = read_yaml(path)
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path} must hold lines such as `tasks: [HalfCheetah-v5]`.")
    experiment = from_mapping(content, str(path))
    experiment.name = experiment.name or path.stem
    return experiment


def from_mapping(content: Mapping[str, Any], source: str) -> Experiment:
    """Return the experiment that a file's content describes; ``source`` is the file's name, for error messages.

    Raises:
        ConfigError: If an entry is unknown (with the nearest names), has the wrong type, or is for an algorithm that
            is not listed.
    """
    _parse(EvaluationSection, content.get("evaluation") or {}, f"{source}: evaluation")
    experiment = _parse(Experiment, content, source)
    # the file alone is checked: flags may leave listed algorithms out
    entries = {"algorithm_overrides": experiment.algorithm_overrides, "seconds": experiment.seconds}
    for pattern, speeds in experiment.speed.items():
        if not isinstance(speeds, Mapping):
            raise ConfigError(f"{source}: speed of {pattern} must be a section of algorithms, not {speeds!r:.80}.")
        entries[f"speed of {pattern}"] = speeds
    entries |= {f"variant {name!r}": variant.algorithms or [] for name, variant in experiment.named_variants().items()}
    for entry, names in entries.items():
        for name in names:
            if name not in experiment.algorithms:
                hint = nearest(name, experiment.algorithms)
                raise ConfigError(f"{entry} names {name!r}, which is not among the algorithms. {hint}")
    for pattern, speeds in experiment.speed.items():
        for algorithm, speed in speeds.items():
            if not is_finite(speed) or speed <= 0.0:
                raise ConfigError(
                    f"speed of {algorithm} on {pattern} must be above 0 steps per second; got {speed!r:.80}."
                )
    return experiment


def _parse(schema: type[Section], content: Any, source: str) -> Section:
    """Return a section of the file with its names and types checked."""
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
    for name, values in vars(section).items():
        # OmegaConf also accepts lists and sections as the entries of these
        entries = values.values() if name == "seconds" else values if isinstance(values, list) else ()
        if any(isinstance(entry, list | Mapping) for entry in entries):
            raise ConfigError(f"{source}: {name} must list single values, not {values!r:.80}.")
    return section


def plan(experiment: Experiment, overrides: Sequence[str] = ()) -> list[Job]:
    """Return the runs of an experiment, ordered by seed, so that an interrupted sweep compares the same seeds.

    The given ``overrides`` of all runs, ``name=value``, take precedence over the experiment's ``overrides``;
    ``algorithm_overrides`` and variants take precedence over them.

    Raises:
        ConfigError: If there are no runs, an algorithm, task, setting or sampler is unknown or impossible, or two runs
            would write to one folder.
        ImportError: If a package that a task needs is missing.
    """
    if empty := [name for name in ("algorithms", "tasks", "seeds") if not getattr(experiment, name)]:
        flags = " ".join(f"--{name}" for name in empty)
        raise ConfigError(
            f"The experiment {experiment.name!r} has no runs. Fill in its {' and '.join(empty)}, or add {flags}."
        )
    for seed in experiment.seeds:
        check_seed(seed, "A seed")
    if experiment.name != _folder_name(experiment.name) or not experiment.name.strip("."):
        raise ConfigError(f"An experiment's name may contain letters, digits and . _ - =; got {experiment.name!r}.")
    parse_ranges(experiment.normalize, f"{experiment.name}: normalize")
    EvaluationCfg(experiment.evaluation.episodes, seed=experiment.evaluation.seed)
    tasks = [canonical_name(task) for task in experiment.tasks]
    groups = [
        (task, algorithm, name)
        for task in tasks
        for algorithm in experiment.algorithms
        for name, variant in experiment.named_variants().items()
        if variant.algorithms is None or algorithm in variant.algorithms
    ]
    # settings of PPO and its relatives are those of classes that import torch: what is refused without it comes first
    planned: dict[int, list[Job]] = {}
    settings_of = _SharedSettings()
    for is_learner in (True, False):
        for index, group in enumerate(groups):
            if (group[1] in SETTINGS) == is_learner:
                planned[index] = list(_plan_group(experiment, *group, overrides, settings_of))
        if is_learner:
            _look_up(tasks)
    jobs = [job for index in range(len(groups)) for job in planned[index]]
    if not jobs:
        raise ConfigError(f"The experiment {experiment.name!r} has no runs: no variant is for its algorithms.")
    _require_distinct_folders(jobs)
    if any(jobs[0].folder.parent.glob("*/model_*.pt")):
        raise ConfigError(
            f"{jobs[0].folder.parent} holds training runs that belong to no experiment. Choose another name (--name)."
        )
    return sorted(jobs, key=lambda job: experiment.seeds.index(job.seed))


def try_tasks(jobs: Iterable[Job], device: str | None = None) -> None:
    """Try each distinct task and setting of its simulator, as far as that takes seconds; ``device`` replaces theirs.

    Raises:
        ConfigError: If a task, setting or device cannot be used here.
        ImportError: If a host or a package that a task needs is not installed.
    """
    tried = []
    for job in jobs:
        one_env = {**job.settings["env"], "num_envs": 1}
        arguments = (job.task, one_env, device or job.settings["agent"].get("device"))
        if arguments not in tried:
            tried.append(arguments)
            with _errors_naming(job.task, job.algorithm, job.variant):
                find_host(job.task).try_task(job.task, job.settings, device)


def _look_up(tasks: Sequence[str]) -> None:
    """Raise a ConfigError for a task that is known not to exist."""
    for task in tasks:
        with _errors_naming(task), contextlib.suppress(ImportError):  # the run may be for another machine
            find_host(task).look_up(task)


def _plan_group(
    experiment: Experiment,
    task: str,
    algorithm: str,
    variant: str,
    overrides: Sequence[str],
    settings_of: _SharedSettings,
) -> Iterator[Job]:
    """Yield the runs of one algorithm and variant on one task, one per seed."""
    limit, host = experiment.seconds.get(algorithm), find_host(task)
    launched = host if isinstance(host, LaunchedHost) else None
    of_task = [o for pattern, listed in experiment.task_overrides.items() if fnmatchcase(task, pattern) for o in listed]
    overrides = [
        # runs are evaluated after training, without using up its seconds
        *([] if launched else ["agent.evaluation_episodes=null"]),
        *([] if limit is None else [f"agent.max_seconds={limit:g}", f"agent.max_iterations={UNLIMITED_ITERATIONS}"]),
        *experiment.overrides,
        *overrides,
        *of_task,
        *experiment.algorithm_overrides.get(algorithm, []),
        *experiment.named_variants()[variant].overrides,
    ]
    with _errors_naming(task, algorithm, variant):
        run_settings = settings_of(host, task, algorithm, overrides)
        samplers, _ = supported_samplers(experiment.evaluation.sampler_cfgs(), algorithm)  # pyright: ignore[reportArgumentType]
        for key in (text.lstrip("+").partition("=")[0] for text in overrides):
            if key in RESERVED_SETTINGS:
                raise ConfigError(f"{key} cannot be overridden in an experiment: the sweep sets it for each run.")
    for seed in experiment.seeds:
        name = "_".join(_folder_name(part) for part in (task, algorithm, variant, f"seed{seed}") if part)
        folder = f"{experiment.name}/{name}"
        settings = run_settings | {"agent": run_settings["agent"] | {"seed": seed, "experiment_name": folder}}
        flags = ["--task", task, "--algo", algorithm, "--seed", str(seed), "--experiment_name", folder]
        yield Job(
            experiment=experiment.name,
            name=name,
            label=f"{algorithm} {variant}".strip() if len(experiment.algorithms) > 1 else variant or algorithm,
            task=task,
            algorithm=algorithm,
            variant=variant,
            seed=seed,
            arguments=[*flags, *(launched.train_arguments(overrides) if launched else overrides)],
            settings=settings,
            samplers=[asdict(sampler) for sampler in samplers],
            episodes=experiment.evaluation.episodes,
            evaluation_seed=experiment.evaluation.seed,
            play_arguments=launched.play_arguments(overrides) if launched else None,
        )


class _SharedSettings:
    """Composes the settings of runs, those of all tasks with one preset and the same overrides once."""

    def __init__(self) -> None:
        self._composed: dict[tuple[str, ...], dict[str, Any]] = {}

    def __call__(self, host: Host, task: str, algorithm: str, overrides: Sequence[str]) -> dict[str, Any]:
        """Return a host's ``run_settings``; the name of the experiment in them may be that of another task."""
        if not isinstance(host, EnvironmentHost) or algorithm not in NAMES:
            return host.run_settings(task, algorithm, overrides)
        key = (host.name, preset_name(task, algorithm, overrides, host), algorithm, *overrides)
        if key not in self._composed:
            self._composed[key] = host.run_settings(task, algorithm, overrides)
        return self._composed[key] | {"task": task}


def _folder_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", text).strip("-")


@contextlib.contextmanager
def _errors_naming(task: str, algorithm: str = "", variant: str = "") -> Iterator[None]:
    """Prefix configuration errors with the run that they are about."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{', '.join(filter(None, (algorithm, variant, task)))}: {error}") from error


def _require_distinct_folders(jobs: Iterable[Job]) -> None:
    owners: dict[str, Job] = {}
    for job in jobs:
        # some file systems ignore case
        if (other := owners.setdefault(job.name.lower(), job)) is not job:
            variants = f"the variants {other.variant!r} and {job.variant!r}"
            clash = "it twice" if other.variant == job.variant else variants
            raise ConfigError(
                f"Two runs would write to one folder, {job.name}: the experiment lists {clash}. Rename or remove one."
            )
