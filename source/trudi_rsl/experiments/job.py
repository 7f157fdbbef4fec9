# SPDX-License-Identifier: BSD-3-Clause
"""One training run of an experiment: its folder, and whether it is finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from trudi_rsl.config.run_folder import LOG_ROOT
from trudi_rsl.evaluation.episodes import EVALUATION_SEED

JOB_FILE, RECORD_FILE, LOCK_FILE, OUTPUT_FILE = "job.json", "finished.json", ".lock", "output.txt"


@dataclass(frozen=True)
class Job:
    """A run that is planned: all that a process needs to carry it out."""

    experiment: str
    """Folder of the experiment below ``logs/rsl_rl``."""
    name: str
    """Folder of the run below that; each attempt at it gets a folder of its own in there, named by its time."""
    label: str
    """Name of the group that it is a seed of."""
    task: str
    algorithm: str
    variant: str
    seed: int
    arguments: list[str]
    """Of ``scripts/train.py``."""
    settings: dict[str, Any]
    """The composed configuration."""
    samplers: list[dict[str, Any]] = field(default_factory=list)
    """Fields of the samplers that it is evaluated with."""
    episodes: int = 32
    evaluation_seed: int = EVALUATION_SEED
    root: str = field(default_factory=lambda: str(LOG_ROOT.absolute()))
    """Where experiments lie."""

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return Path(self.root) / self.experiment / self.name

    def write(self) -> None:
        """Store it in its folder, for the process that carries it out."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / JOB_FILE, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Return the job stored in a folder."""
        return cls(**json.loads((folder / JOB_FILE).read_text()))

    def record(self) -> dict[str, Any] | None:
        """Return what is known of the finished training, None if it is not finished.

        It is finished if an attempt with these settings has left its record and its last checkpoint.
        """
        for path in sorted(self.folder.glob(f"*/{RECORD_FILE}"), reverse=True):
            try:
                record = json.loads(path.read_text())
                # a name alone: whatever the file says, the checkpoint is the attempt's
                checkpoint = path.parent / Path(record["checkpoint"]).name
                same = comparable(record["settings"]) == comparable(self.settings)
            # half written, or another program's
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
            if checkpoint.is_file() and same:
                return record | {"run": path.parent, "checkpoint": checkpoint}
        return None


def comparable(settings: Mapping[str, Any]) -> Any:
    """Return settings as JSON has them, without where the run lies."""
    plain = json.loads(json.dumps(settings))
    plain.get("agent", {}).pop("experiment_name", None)
    return plain


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is never seen half written."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n")
    part.replace(path)
