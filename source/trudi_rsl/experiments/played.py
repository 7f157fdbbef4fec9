# SPDX-License-Identifier: BSD-3-Clause
"""Evaluations on a simulator that starts itself, once per process: each is a process ``trudi play``."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from trudi_rsl.command_line import PROGRAM
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.episodes import MOST_ENVS
from trudi_rsl.evaluation.identify import Subject
from trudi_rsl.evaluation.measurement import Measurement, StoredEvaluation
from trudi_rsl.evaluation.samplers import EvaluationCfg, SamplerCfg


class PlayedEvaluation(StoredEvaluation):
    """An evaluation whose episodes ``trudi play`` runs, in a process of its own.

    ``arguments`` are flags of the command and overrides of the simulator. Tasks are played in their variant for
    playing, if they have one: without noise on observations, for example.
    """

    def __init__(self, subject: Subject, sampler: SamplerCfg, cfg: EvaluationCfg, arguments: Sequence[str]) -> None:
        super().__init__(subject, sampler, cfg, {"arguments": list(arguments)})
        self._arguments = list(arguments)

    def run(self, on_progress: Callable[[float], None] | None = None) -> Measurement:
        """Run the episodes and store their results; nothing is reported before the end.

        Raises:
            CheckpointError: If the command fails; its output says why.
        """
        start, subject, cfg = time.time(), self.subject, self.cfg
        with tempfile.TemporaryDirectory() as folder:
            results = Path(folder) / "results.json"
            settings = {
                "task": subject.task,
                "algo": subject.algorithm,
                "checkpoint": subject.checkpoint,
                "episodes": cfg.episodes,
                "num_envs": cfg.num_envs or min(cfg.episodes, MOST_ENVS),
                "seed": cfg.seed,
                "sampler": self.sampler.sampler,
                **self.sampler.options(),
                "results": results,
            }
            flags = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
            status = subprocess.run([*PROGRAM, "play", *flags, *self._arguments]).returncode
            if not results.is_file():
                raise CheckpointError(f"{subject.checkpoint} could not be played (exit status {status}).")
            return self._store(json.loads(results.read_text()), start)
