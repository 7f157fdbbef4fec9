# SPDX-License-Identifier: BSD-3-Clause
"""Turning an experiment into runs, all checked before any is started."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from omegaconf import OmegaConf

from trudi_rsl.config import check_startable, compose
from trudi_rsl.config.compose import check_seed
from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.comparison import parse_ranges
from trudi_rsl.evaluation.measurement import EvaluationCfg
from trudi_rsl.evaluation.samplers import supported_samplers
from trudi_rsl.experiments.experiment import Experiment, require_runs
from trudi_rsl.experiments.job import Job
from trudi_rsl.hosts.registry import find_host, make_env

RESERVED_SETTINGS = ("agent.seed", "agent.experiment_name", "agent.run_name", "agent.resume", "agent.logger")
"""Settings that the sweep itself chooses for each run."""
UNLIMITED_ITERATIONS = 1_000_000
"""Iterations of a run that a time limit ends."""
NO_EVALUATION_IN_TRAINING = "agent.evaluation_episodes=null"
"""Runs are evaluated after training, so that no training time is spent on it."""


def plan(experiment: Experiment, overrides: Sequence[str] = ()) -> list[Job]:
    """Return the runs of an experiment, ordered by seed, so that an interrupted sweep compares the same seeds.

    Args:
        experiment: What to run.
        overrides: ``name=value`` for all runs. They take precedence over the experiment's ``overrides``;
            ``algorithm_overrides`` and variants take precedence over them.

    Raises:
        ConfigError: If there are no runs, an algorithm, task, setting or sampler is unknown or impossible, or two runs
            would write to one folder.
        ImportError: If a package that a task needs is missing.
    """
    require_runs(experiment)
    for seed in experiment.seeds:
        check_seed(seed, "A seed")
    if experiment.name != _folder_name(experiment.name) or not experiment.name.strip("."):
        raise ConfigError(
            "The experiment's name is the name of a folder and may contain letters, digits and . _ - =; "
            f"got {experiment.name!r}."
        )
    parse_ranges(experiment.normalize, f"{experiment.name}: normalize")
    EvaluationCfg(experiment.evaluation.episodes, seed=experiment.evaluation.seed)
    for task in experiment.tasks:
        _require_gymnasium(task)
    jobs = [
        job
        for task in experiment.tasks
        for algorithm in experiment.algorithms
        for name, variant in experiment.named_variants().items()
        if variant.algorithms is None or algorithm in variant.algorithms
        for job in _plan_group(experiment, task, algorithm, name, overrides)
    ]
    if not jobs:
        raise ConfigError(f"The experiment {experiment.name!r} has no runs: no variant is for its algorithms.")
    _require_distinct_folders(jobs)
    if any(jobs[0].folder.parent.glob("*/model_*.pt")):
        raise ConfigError(
            f"{jobs[0].folder.parent} holds training runs that belong to no experiment. Choose another name (--name)."
        )
    _try_environments(jobs)
    return sorted(jobs, key=lambda job: experiment.seeds.index(job.seed))


def _plan_group(
    experiment: Experiment, task: str, algorithm: str, variant: str, overrides: Sequence[str]
) -> Iterator[Job]:
    """Yield the runs of one algorithm and variant on one task, one per seed."""
    overrides = [
        NO_EVALUATION_IN_TRAINING,
        *_time_limit(experiment, algorithm),
        *experiment.overrides,
        *overrides,
        *experiment.algorithm_overrides.get(algorithm, []),
        *experiment.named_variants()[variant].overrides,
    ]
    with _errors_naming(task, algorithm, variant):
        cfg = compose(task, algorithm, overrides)
        samplers, _ = supported_samplers(experiment.evaluation.sampler_cfgs(), algorithm)  # pyright: ignore[reportArgumentType]
        for key in (text.lstrip("+").partition("=")[0] for text in overrides):
            if key in RESERVED_SETTINGS:
                raise ConfigError(f"{key} cannot be overridden in an experiment: the sweep sets it for each run.")
    for seed in experiment.seeds:
        name = "_".join(_folder_name(part) for part in (task, algorithm, variant, f"seed{seed}") if part)
        folder = f"{experiment.name}/{name}"
        settings: Any = OmegaConf.to_container(cfg)
        settings["agent"] |= {"seed": seed, "experiment_name": folder}
        yield Job(
            experiment=experiment.name,
            name=name,
            label=f"{algorithm} {variant}".strip() if len(experiment.algorithms) > 1 else variant or algorithm,
            task=task,
            algorithm=algorithm,
            variant=variant,
            seed=seed,
            arguments=[
                *("--task", task, "--algo", algorithm, "--seed", str(seed), "--experiment_name", folder),
                *overrides,
            ],
            settings=settings,
            samplers=[asdict(sampler) for sampler in samplers],
            episodes=experiment.evaluation.episodes,
            evaluation_seed=experiment.evaluation.seed,
        )


def _time_limit(experiment: Experiment, algorithm: str) -> list[str]:
    """Return the overrides with which seconds end a run."""
    if algorithm not in experiment.seconds:
        return []
    return [f"agent.max_seconds={experiment.seconds[algorithm]:g}", f"agent.max_iterations={UNLIMITED_ITERATIONS}"]


def _folder_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", text).strip("-")


@contextlib.contextmanager
def _errors_naming(task: str, algorithm: str, variant: str) -> Iterator[None]:
    """Prefix configuration errors with the run that they are about."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{', '.join(filter(None, (algorithm, variant, task)))}: {error}") from error


def _require_distinct_folders(jobs: Iterable[Job]) -> None:
    owners: dict[str, Job] = {}
    for job in jobs:
        # some file systems ignore case
        other = owners.setdefault(job.name.lower(), job)
        if other is not job:
            clash = (
                f"the variants {other.variant!r} and {job.variant!r}" if other.variant != job.variant else "it twice"
            )
            raise ConfigError(
                f"Two runs would write to one folder, {job.name}: the experiment lists {clash}. Rename or remove one."
            )


def _require_gymnasium(task: str) -> None:
    check_startable(task)
    if find_host(task) is not None:
        raise ConfigError(
            f"Task {task!r} belongs to a simulator that starts itself, once per process. Experiments need Gymnasium "
            "tasks, which can be evaluated side by side. Train this one with scripts/train.py."
        )


def _try_environments(jobs: Iterable[Job]) -> None:
    """Create one environment for each distinct task, device and environment settings, and close it."""
    tried = set()
    for job in jobs:
        env, device = job.settings["env"] | {"num_envs": 1}, job.settings["agent"]["device"]
        key = (job.task, device, json.dumps(env, sort_keys=True))
        if key not in tried:
            tried.add(key)
            with _errors_naming(job.task, job.algorithm, job.variant):
                make_env(job.task, env, device).close()  # pyright: ignore[reportAttributeAccessIssue]
