# SPDX-License-Identifier: BSD-3-Clause
"""One evaluation of one checkpoint with one sampler, kept beside the checkpoint so that it need not be repeated."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from trudi_rsl.config import check_startable
from trudi_rsl.deploy.provenance import versions
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.evaluation.checkpoints import Subject
from trudi_rsl.evaluation.episodes import EVALUATION_SEED, MOST_ENVS, evaluate
from trudi_rsl.evaluation.play import settings
from trudi_rsl.evaluation.policies import SamplerCfg, load_policy
from trudi_rsl.evaluation.samplers import name_of
from trudi_rsl.files import replacing, require_inside
from trudi_rsl.hosts.registry import check_device, find_host, make_env

FORMAT = 1
CACHE_FOLDER = "evaluations"


@dataclass(frozen=True)
class EvaluationCfg:
    """What is the same for all policies that are compared.

    Raises:
        ConfigError: If a value is out of range.
    """

    episodes: int = 32
    """Episodes per checkpoint and sampler, at least 1."""
    num_envs: int | None = None
    """Environments stepped together, at least 1; None takes one per episode, up to 64."""
    seed: int = EVALUATION_SEED
    """Seed of the simulators (environment i gets seed + i) and of the samplers, at least 0; apart from those of
    training, which count from the run's seed."""
    device: str = "cpu"
    """Where to compute."""
    num_threads: int | None = None
    """CPU threads of torch; None takes the run's."""
    overrides: tuple[str, ...] = field(default=())
    """``env.name=value`` over the settings of the run."""

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        for name, least in (("episodes", 1), ("num_envs", 1), ("seed", 0), ("num_threads", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name} must be an integer of at least {least}, got {value}.")

    @property
    def envs(self) -> int:
        """Environments stepped together."""
        return min(self.episodes, MOST_ENVS) if self.num_envs is None else self.num_envs


@dataclass(frozen=True)
class Measurement:
    """What M episodes of one policy under one sampler gave."""

    label: str
    """Name of the policy's group."""
    algorithm: str
    task: str
    seed: int | None
    """Seed of the training, None where unknown."""
    sampler: str
    """Name of the sampler."""
    checkpoint: str
    returns: list[float]
    """Undiscounted returns ``[M]``."""
    lengths: list[int]
    """Steps ``[M]``."""
    success: list[float] | None
    """0 or 1 by episode ``[M]``; None if the task does not tell."""


class Evaluation:
    """A checkpoint to be run with one sampler.

    Args:
        subject: The trained policy.
        sampler: How it acts; :meth:`~trudi_rsl.evaluation.policies.SamplerCfg.require_for` has passed.
        cfg: Episodes, seed and device.

    Raises:
        CheckpointError: If the settings of the run cannot be read.
        ConfigError: If the task cannot be evaluated here, or an override is refused.
    """

    def __init__(self, subject: Subject, sampler: SamplerCfg, cfg: EvaluationCfg) -> None:
        _require_gymnasium(subject)
        check_device(cfg.device)
        self.subject, self.sampler, self.cfg = subject, sampler, cfg
        overrides = (f"env.num_envs={cfg.envs}", *cfg.overrides)
        self._settings: DictConfig = settings(subject.checkpoint, subject.task, subject.algorithm, overrides)
        key = {
            "format": FORMAT,
            "checkpoint": hashlib.sha256(subject.checkpoint.read_bytes()).hexdigest(),
            "task": subject.task,
            "sampler": asdict(sampler),
            "episodes": cfg.episodes,
            "seed": cfg.seed,
            "device": torch.device(cfg.device).type,
            "env": OmegaConf.to_container(self._settings.env),
        }
        self._key = json.dumps(key, sort_keys=True)
        digest = hashlib.sha256(self._key.encode()).hexdigest()[:16]
        folder = subject.checkpoint.parent / CACHE_FOLDER
        self.cache = folder / f"{subject.checkpoint.stem}_{sampler.sampler}_{digest}.json"

    def cached(self) -> Measurement | None:
        """Return what the same checkpoint gave with the same options before, None if it was not run or has changed."""
        try:
            stored = json.loads(self.cache.read_text())
            return self._measurement(stored) if stored["key"] == json.loads(self._key) else None
        # not there, half written, or of another version
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def run(self, on_progress: Callable[[float], None] | None = None) -> Measurement:
        """Run the episodes in environments made for this, and keep what they gave.

        Same checkpoint, options and versions give the same numbers, whatever ran before.

        Args:
            on_progress: Called with the share that is done.

        Raises:
            CheckpointError: If the checkpoint does not fit the task.
            NonFiniteError: If simulator or policy give NaN or infinity.
        """
        cfg, agent, start = self.cfg, self._settings.agent, time.time()
        if num_threads := cfg.num_threads or agent.get("num_threads"):
            torch.set_num_threads(num_threads)
        env = make_env(self.subject.task, self._settings.env, cfg.device, cfg.seed)
        policy = load_policy(self.subject.checkpoint, self.subject.algorithm, env, agent, self.sampler, cfg.device)
        torch.manual_seed(cfg.seed)
        results = evaluate(env, policy, cfg.episodes, progress=False, on_progress=on_progress)
        env.close()  # pyright: ignore[reportAttributeAccessIssue]
        stored = {
            "key": json.loads(self._key),
            "returns": results.returns.tolist(),
            "lengths": results.lengths.tolist(),
            "success": None if results.success is None else results.success.tolist(),
            "seconds": round(time.time() - start, 2),
            "versions": versions(),
        }
        self._keep(stored)
        return self._measurement(stored)

    def _measurement(self, stored: dict[str, Any]) -> Measurement:
        subject = self.subject
        return Measurement(
            subject.label,
            subject.algorithm,
            subject.task,
            subject.seed,
            name_of(self.sampler),
            str(subject.checkpoint),
            stored["returns"],
            stored["lengths"],
            stored["success"],
        )

    def _keep(self, stored: dict[str, Any]) -> None:
        try:
            require_inside(self.cache.parent, self.subject.checkpoint.parent)
            with replacing(self.cache) as file:
                file.write(f"{json.dumps(stored)}\n".encode())
        except (OSError, CheckpointError) as error:  # a run folder of someone else; the evaluation is as good
            warnings.warn(f"{self.cache} could not be written, so it will be repeated: {error}.", stacklevel=2)


def evaluations_of(
    subjects: Sequence[Subject], samplers: Sequence[Sequence[SamplerCfg]], cfg: EvaluationCfg
) -> list[Evaluation]:
    """Return one evaluation per policy and sampler of it.

    Args:
        subjects: S policies.
        samplers: Those of each, S lists.
        cfg: Episodes, seed and device.

    Raises:
        CheckpointError, ConfigError: As :class:`Evaluation` does, before anything is run.
    """
    return [
        Evaluation(subject, sampler, cfg)
        for subject, chosen in zip(subjects, samplers, strict=True)
        for sampler in chosen
    ]


def _require_gymnasium(subject: Subject) -> None:
    check_startable(subject.task)
    if find_host(subject.task) is not None:
        raise ConfigError(
            f"{subject.checkpoint} is of {subject.task}, whose simulator starts itself, once per process; only "
            f"Gymnasium's tasks are evaluated side by side. For one checkpoint: scripts/play.py --task {subject.task} "
            f"--checkpoint {subject.checkpoint} --headless --episodes 32"
        )
