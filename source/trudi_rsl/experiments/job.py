# SPDX-License-Identifier: BSD-3-Clause
"""One training run of an experiment: its folder, its training and its evaluations.

Imports no torch, because all runs of an experiment are planned, and mistakes in it refused, before it is needed.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from trudi_rsl.choices import EVALUATION_SEED
from trudi_rsl.command_line import PROGRAM
from trudi_rsl.config.run_folder import LOG_ROOT, newest_checkpoint
from trudi_rsl.deploy.provenance import machine, provenance
from trudi_rsl.evaluation.samplers import EvaluationCfg, SamplerCfg
from trudi_rsl.files import atomic_write

if TYPE_CHECKING:
    from trudi_rsl.evaluation.measurement import Measurement, StoredEvaluation

JOB_FILE, RECORD_FILE, LOCK_FILE, OUTPUT_FILE = "job.json", "finished.json", ".lock", "output.txt"

LOCKED = 75
"""Exit status if another process writes to the folder (``EX_TEMPFAIL`` of sysexits.h)."""

Train = Callable[[list[str]], int]
"""``trudi train``: from its arguments to its exit status."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A planned run: everything that a process needs to carry it out."""

    experiment: str
    """Folder of the experiment below ``logs/rsl_rl``."""
    name: str
    """Folder of the run below that; each attempt gets a subfolder, named by its time."""
    label: str
    """Name of the group that the run is a seed of."""
    task: str
    algorithm: str
    variant: str
    seed: int
    arguments: list[str]
    """Arguments of ``trudi train``."""
    settings: dict[str, Any]
    """What the run is trained with; see :meth:`~trudi_rsl.hosts.host.Host.run_settings`."""
    samplers: list[dict[str, Any]] = field(default_factory=list)
    """Fields of each :class:`~trudi_rsl.evaluation.samplers.SamplerCfg` to evaluate with."""
    episodes: int = 32
    """Episodes per sampler."""
    evaluation_seed: int = EVALUATION_SEED
    play_arguments: list[str] | None = None
    """Arguments of ``trudi play`` if the simulator starts itself, so that each step is a process of its own. None
    if environments are made in the job's process."""
    root: str = field(default_factory=lambda: str(LOG_ROOT.absolute()))
    """Folder of all experiments."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.root) / self.experiment / self.name

    def write(self) -> None:
        """Store the job in its folder, for :meth:`read` in the process that carries it out."""
        write_json(self.folder / JOB_FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Return the job stored in a folder."""
        return cls(**json.loads((folder / JOB_FILE).read_text()))

    def record(self) -> dict[str, Any] | None:
        """Return the record of the finished training, with the paths ``run`` and ``checkpoint``; None if unfinished.

        A training is finished if an attempt with these settings has left its record and its last checkpoint.
        """
        for path in sorted(self.folder.glob(f"*/{RECORD_FILE}"), reverse=True):
            try:
                record = json.loads(path.read_text())
                # only the name, so that a foreign record cannot point outside of its attempt
                checkpoint = path.parent / Path(record["checkpoint"]).name
                if checkpoint.is_file() and _comparable(record["settings"]) == _comparable(self.settings):
                    return record | {"run": path.parent, "checkpoint": checkpoint}
            # half written, or from another program
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
        return None

    def measurements(self) -> list[Measurement] | None:
        """Return the stored evaluations of the run; None if its training or any evaluation is missing."""
        if (record := self.record()) is None:
            return None
        cached = [evaluation.cached() for evaluation in self.evaluations(record["checkpoint"])]
        stored = [measurement for measurement in cached if measurement is not None]
        return stored if len(stored) == len(cached) else None

    def evaluations(self, checkpoint: Path) -> Sequence[StoredEvaluation]:
        """Return the evaluations to run on the last checkpoint, one per sampler."""
        from trudi_rsl.evaluation.identify import read_subject
        from trudi_rsl.evaluation.measurement import Evaluation
        from trudi_rsl.experiments.played import PlayedEvaluation
        from trudi_rsl.hosts.registry import SIMULATION

        samplers = [SamplerCfg(**fields) for fields in self.samplers]
        cfg = EvaluationCfg(self.episodes, seed=self.evaluation_seed)
        subject = read_subject(checkpoint, self.label)
        if self.play_arguments is not None:
            subject = replace(subject, task=self.task, seed=self.seed)
            return [PlayedEvaluation(subject, sampler, cfg, self.play_arguments) for sampler in samplers]
        return [Evaluation(subject, sampler, cfg, SIMULATION) for sampler in samplers]


def carry_out(job: Job, train: Train) -> int:
    """Train and evaluate, skipping finished steps.

    Returns:
        Exit status: 0, :data:`LOCKED`, or that of a training that failed.

    Raises:
        CheckpointError, ConfigError, NonFiniteError: If the evaluation fails.
    """
    try:
        with FileLock(job.folder / LOCK_FILE, timeout=0):
            if job.record() is None and (status := _train(job, train)) != 0:
                return status
            record = job.record()
            assert record is not None, "training leaves a record"
            for evaluation in job.evaluations(record["checkpoint"]):
                if evaluation.cached() is None:
                    evaluation.run()
            return 0
    except Timeout:
        logger.warning("Another process is writing to %s.", job.folder)
        return LOCKED


def _train(job: Job, train: Train) -> int:
    """Train as a user would and leave a record in the run's folder; return the exit status of the command."""
    before, begin = set(job.folder.iterdir()), time.time()
    with contextlib.chdir(Path(job.root).parents[1]):  # the folder whose logs/rsl_rl is the root
        if job.play_arguments is None:
            status = train(job.arguments)
        else:  # closing such a simulator may end its process
            status = subprocess.run([*PROGRAM, "train", *job.arguments]).returncode
    if status != 0:
        return status
    (attempt,) = (path for path in set(job.folder.iterdir()) - before if path.is_dir())
    record = {"checkpoint": newest_checkpoint(attempt).name, "settings": job.settings}
    record |= {"wall_clock_s": round(time.time() - begin, 1), "machine": machine(), **provenance()}
    write_json(attempt / RECORD_FILE, record)
    return 0


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file atomically; its folder is created if missing."""
    with atomic_write(path) as file:
        file.write(f"{json.dumps(content, indent=1)}\n".encode())


def _comparable(settings: Mapping[str, Any]) -> Any:
    """Return settings in JSON's types, without the folder of the run."""
    plain = json.loads(json.dumps(settings))
    plain.get("agent", {}).pop("experiment_name", None)
    return plain
