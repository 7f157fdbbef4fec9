# SPDX-License-Identifier: BSD-3-Clause
"""Evaluations of one checkpoint with one sampler, cached beside the checkpoint so that none is repeated."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from trudi_rsl.deploy.provenance import versions
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.evaluation.episodes import MOST_ENVS, evaluate, progress_bar
from trudi_rsl.evaluation.identify import Subject, load_run_settings
from trudi_rsl.evaluation.policies import Simulation, load_policy
from trudi_rsl.evaluation.samplers import EvaluationCfg, SamplerCfg
from trudi_rsl.files import atomic_write, require_inside


@dataclass(frozen=True)
class Measurement:
    """Results of M episodes of one policy with one sampler."""

    label: str
    """Name of the policy's group."""
    algorithm: str
    task: str
    seed: int | None
    """Seed of the training, None if unknown."""
    sampler: str
    checkpoint: str
    returns: list[float]
    """Undiscounted returns ``[M]``."""
    lengths: list[int]
    """Steps ``[M]``."""
    success: list[float] | None
    """0 or 1 per episode ``[M]``; None if the task reports none."""


class StoredEvaluation(ABC):
    """A checkpoint to be run with one sampler, and the file beside it that keeps the result.

    ``env`` are the settings of the simulator: with others, the stored result does not count.
    """

    def __init__(self, subject: Subject, sampler: SamplerCfg, cfg: EvaluationCfg, env: Any) -> None:
        self.subject, self.sampler, self.cfg = subject, sampler, cfg
        key = {
            "format": 1,
            "checkpoint": hashlib.sha256(subject.checkpoint.read_bytes()).hexdigest(),
            "task": subject.task,
            "sampler": asdict(sampler),
            "episodes": cfg.episodes,
            "seed": cfg.seed,
            "device": torch.device(cfg.device).type,
            "env": env,
        }
        text = json.dumps(key, sort_keys=True)
        self._key = json.loads(text)
        name = f"{subject.checkpoint.stem}_{sampler.sampler}_{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        self.cache = subject.checkpoint.parent / "evaluations" / name

    def cached(self) -> Measurement | None:
        """Return the stored result of the same checkpoint and options, None if there is none."""
        try:
            stored = json.loads(self.cache.read_text())
            return self._measurement(stored) if stored["key"] == self._key else None
        # missing, truncated, or written by another version
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    @abstractmethod
    def run(self, on_progress: Callable[[float], None] | None = None) -> Measurement:
        """Run the episodes in new environments and store their results; report the share that is done."""

    def _store(self, results: Mapping[str, Any], start: float) -> Measurement:
        """Store ``returns``, ``lengths`` and ``success`` of an evaluation that began at a Unix time in seconds."""
        stored = {"key": self._key, **results, "seconds": round(time.time() - start, 2), "versions": versions()}
        try:
            require_inside(self.cache.parent, self.subject.checkpoint.parent)
            with atomic_write(self.cache) as file:
                file.write(f"{json.dumps(stored)}\n".encode())
        except (OSError, CheckpointError) as error:  # another user's run folder, for example
            warnings.warn(f"{self.cache} could not be written, so it will be repeated: {error}.", stacklevel=3)
        return self._measurement(stored)

    def _measurement(self, stored: Mapping[str, Any]) -> Measurement:
        subject, names = self.subject, (str(self.sampler), str(self.subject.checkpoint))
        results = stored["returns"], stored["lengths"], stored["success"]
        return Measurement(subject.label, subject.algorithm, subject.task, subject.seed, *names, *results)


class Evaluation(StoredEvaluation):
    """An evaluation in this process, with a sampler that must have passed ``sampler.require_for``.

    Raises:
        CheckpointError: If the settings of the run cannot be read.
        ConfigError: If the task cannot be evaluated here, or an override is refused.
    """

    def __init__(self, subject: Subject, sampler: SamplerCfg, cfg: EvaluationCfg, simulation: Simulation) -> None:
        try:
            simulation.require(subject.task, cfg.device)
        except ConfigError as error:
            raise ConfigError(f"Cannot evaluate {subject.checkpoint} here: {error}") from error
        self._simulation, host = simulation, simulation.find_host(subject.task)
        overrides = (f"env.num_envs={cfg.num_envs or min(cfg.episodes, MOST_ENVS)}", *cfg.overrides)
        settings = load_run_settings(subject.checkpoint, subject.task, subject.algorithm, overrides, host)
        self._settings: DictConfig = settings
        super().__init__(subject, sampler, cfg, OmegaConf.to_container(settings.env))

    def run(self, on_progress: Callable[[float], None] | None = None) -> Measurement:
        """Run the episodes in new environments and store their results; report the share that is done.

        The same checkpoint, options and versions give the same numbers, regardless of earlier evaluations.

        Raises:
            CheckpointError: If the checkpoint does not fit the task.
            NonFiniteError: If the simulator or the policy returns NaN or infinity.
        """
        cfg, subject, agent, start = self.cfg, self.subject, self._settings.agent, time.time()
        if num_threads := cfg.num_threads or agent.get("num_threads"):
            torch.set_num_threads(num_threads)
        env = self._simulation.make_ending(subject.task, self._settings.env, cfg.device, cfg.seed)
        make_runner, sampler = self._simulation.make_runner, self.sampler
        policy = load_policy(subject.checkpoint, subject.algorithm, env, agent, sampler, cfg.device, make_runner)
        torch.manual_seed(cfg.seed)
        results = evaluate(env, policy, cfg.episodes, progress=False, on_progress=on_progress)
        env.close()  # pyright: ignore[reportAttributeAccessIssue]
        return self._store(results.plain(), start)


def measure_all(evaluations: Sequence[StoredEvaluation], progress: bool = True) -> list[Measurement]:
    """Return the results of all evaluations in their order, running those that are not cached with a progress bar.

    Errors are those of :meth:`Evaluation.run`; results so far are stored.
    """
    measurements = [evaluation.cached() for evaluation in evaluations]
    missing = [index for index, found in enumerate(measurements) if found is None]
    with progress_bar("Evaluating", "evaluations", progress) as bar:
        task = bar.add_task("", total=len(missing), ended=0)
        for done, index in enumerate(missing):
            run = evaluations[index].run
            measurements[index] = run(lambda share, done=done: bar.update(task, completed=done + share))
            bar.update(task, completed=done + 1, ended=done + 1)
    return [measurement for measurement in measurements if measurement is not None]
