# SPDX-License-Identifier: BSD-3-Clause
"""From an experiment to its runs, each checked before any is started."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from omegaconf import DictConfig, OmegaConf

from trudi_rsl.config import check_startable, compose
from trudi_rsl.config.compose import check_seed
from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.comparison import parse_ranges
from trudi_rsl.evaluation.measurement import EvaluationCfg
from trudi_rsl.evaluation.samplers import supported_samplers
from trudi_rsl.experiments.experiment import Experiment, require_filled
from trudi_rsl.experiments.job import Job
from trudi_rsl.hosts.registry import find_host, make_env

OWN_SETTINGS = ("agent.seed", "agent.experiment_name", "agent.run_name", "agent.resume", "agent.logger")
ENDLESS = 1_000_000
"""Iterations of a run that its seconds end."""
NO_EVALUATIONS = "agent.evaluation_episodes=null"
"""What an experiment evaluates comes after training, whose seconds are for learning."""


def plan(experiment: Experiment, overrides: Sequence[str] = ()) -> list[Job]:
    """Return the runs of an experiment, seed by seed, so that an interrupted one compares the same seeds.

    Args:
        experiment: What to run.
        overrides: ``name=value`` for all runs, over the experiment's; variants win over them.

    Raises:
        ConfigError: If there are none, an algorithm, a task, a setting or a sampler is unknown or impossible, or two
            runs would write to one folder.
        ImportError: If a package that a task needs is missing.
    """
    require_filled(experiment)
    for what in ("algorithms", "tasks", "seeds"):
        _require_once(getattr(experiment, what), what, experiment)
    for seed in experiment.seeds:
        check_seed(seed, "A seed")
    if experiment.name != _folder_name(experiment.name) or not experiment.name.strip("."):
        raise ConfigError(
            f"The experiment's name is a folder's, of letters, digits and . _ - =; got {experiment.name!r}."
        )
    variants = experiment.named_variants()
    parse_ranges(experiment.normalize, f"{experiment.name}: normalize")
    evaluation = experiment.evaluation
    EvaluationCfg(evaluation.episodes, seed=evaluation.seed)
    samplers = evaluation.wanted()
    jobs: list[Job] = []
    for task in experiment.tasks:
        _require_gymnasium(task)
        for algorithm in experiment.algorithms:
            for name, variant in variants.items():
                if variant.algorithms is not None and algorithm not in variant.algorithms:
                    continue
                given = [
                    NO_EVALUATIONS,
                    *_budget(experiment, algorithm),
                    *experiment.overrides,
                    *overrides,
                    *experiment.algorithm_overrides.get(algorithm, []),
                    *variant.overrides,
                ]
                with _naming(task, algorithm, name):
                    cfg = compose(task, algorithm, given)
                    fit, _ = supported_samplers(samplers, algorithm)  # pyright: ignore[reportArgumentType]
                    _require_own_seed(given)
                jobs += [
                    _job(experiment, (task, algorithm, name), seed, given, cfg, [asdict(sampler) for sampler in fit])
                    for seed in experiment.seeds
                ]
    if not jobs:
        raise ConfigError(f"The experiment {experiment.name!r} has no runs: no variant is for its algorithms.")
    _require_own_folders(jobs)
    if any(jobs[0].folder.parent.glob("*/model_*.pt")):
        raise ConfigError(
            f"{jobs[0].folder.parent} holds training runs that are no experiment's. Choose another name (--name)."
        )
    _require_tasks(jobs)
    return sorted(jobs, key=lambda job: experiment.seeds.index(job.seed))


def _job(
    experiment: Experiment,
    what: tuple[str, str, str],
    seed: int,
    overrides: Sequence[str],
    cfg: DictConfig,
    samplers: list[dict[str, Any]],
) -> Job:
    task, algorithm, variant = what
    name = "_".join(_folder_name(part) for part in (task, algorithm, variant, f"seed{seed}") if part)
    folder = f"{experiment.name}/{name}"
    settings: Any = OmegaConf.to_container(cfg)
    settings["agent"] |= {"seed": seed, "experiment_name": folder}
    several = len(experiment.algorithms) > 1
    return Job(
        experiment.name,
        name,
        " ".join([algorithm, variant] if several and variant else [variant or algorithm]),
        task,
        algorithm,
        variant,
        seed,
        ["--task", task, "--algo", algorithm, "--seed", str(seed), "--experiment_name", folder, *overrides],
        settings,
        samplers,
        experiment.evaluation.episodes,
        experiment.evaluation.seed,
    )


def _budget(experiment: Experiment, algorithm: str) -> list[str]:
    """Return the overrides that let seconds end a run."""
    if algorithm not in experiment.seconds:
        return []
    return [f"agent.max_seconds={experiment.seconds[algorithm]:g}", f"agent.max_iterations={ENDLESS}"]


def _folder_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=-]+", "-", text).strip("-")


@contextlib.contextmanager
def _naming(task: str, algorithm: str, variant: str) -> Any:
    """Let an error tell which run it is about."""
    try:
        yield
    except ConfigError as error:
        which = ", ".join(filter(None, (algorithm, variant, task)))
        raise ConfigError(f"{which}: {error}") from error


def _require_once(values: Sequence[Any], what: str, experiment: Experiment) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ConfigError(
            f"The {what} of {experiment.name!r} name {', '.join(map(str, twice))} twice: two runs would write to one "
            "folder."
        )


def _require_own_seed(overrides: Iterable[str]) -> None:
    for text in overrides:
        key = text.lstrip("+").partition("=")[0]
        if key in OWN_SETTINGS:
            raise ConfigError(f"{text!r} is not for an experiment, which sets {key} itself, run by run.")


def _require_own_folders(jobs: Iterable[Job]) -> None:
    owners: dict[str, Job] = {}
    for job in jobs:
        # some file systems do not tell upper from lower case
        other = owners.setdefault(job.name.lower(), job)
        if other is not job:
            raise ConfigError(
                f"Two runs would write to one folder, {job.name}: the variants {other.variant!r} and {job.variant!r} "
                f"of {job.algorithm} on {job.task}. Rename one."
            )


def _require_gymnasium(task: str) -> None:
    check_startable(task)
    if find_host(task) is not None:
        raise ConfigError(
            f"Task {task!r} belongs to a simulator that starts itself, once per process; only Gymnasium's tasks can be "
            "evaluated side by side, and so be part of an experiment. Train it with scripts/train.py."
        )


def _require_tasks(jobs: Iterable[Job]) -> None:
    """Make each task once, one environment with each of its settings."""
    made = set()
    for job in jobs:
        env = job.settings["env"] | {"num_envs": 1}
        key = (job.task, job.settings["agent"]["device"], json.dumps(env, sort_keys=True))
        if key not in made:
            made.add(key)
            with _naming(job.task, job.algorithm, job.variant):
                make_env(job.task, env, job.settings["agent"]["device"]).close()  # pyright: ignore
