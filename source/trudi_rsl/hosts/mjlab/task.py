# SPDX-License-Identifier: BSD-3-Clause
"""mjlab's tasks by name and algorithm."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any, cast

from trudi_rsl.checkpoints.format import NAMES, Algorithm
from trudi_rsl.errors import ConfigError, nearest
from trudi_rsl.settings import SETTINGS

ALGORITHMS = tuple(NAMES)
INSTALL = 'pip install "mjlab==1.6.0"'


@dataclass(frozen=True)
class Task:
    """A task of mjlab and the algorithm that it is trained with."""

    name: str
    """What the task is called whatever the algorithm; checkpoints carry it."""
    algo: Algorithm
    """The algorithm."""

    @property
    def id(self) -> str:
        """The name under which mjlab has the task with its algorithm; those of its learner share one."""
        from trudi_rsl.hosts.mjlab.registration import SUFFIX

        return self.name + SUFFIX if self.algo in SETTINGS else self.name

    def agent_cfg(self) -> Any:
        """Return the runner configuration that the task is trained with."""
        from mjlab.tasks import registry  # pyright: ignore[reportMissingImports]

        from trudi_rsl.hosts.mjlab.conversion import relative_of_ppo, sibling_from_trudi

        cfg = registry.load_rl_cfg(self.id)
        if self.algo in ("trudi", "ppo"):
            return cfg
        if self.algo in ("spo", "dppo", "fpo"):
            return relative_of_ppo(cfg, self.algo)
        return sibling_from_trudi(cfg, self.algo)


def require_mjlab(task: str) -> None:
    """Refuse to go on without mjlab.

    Raises:
        ImportError: With the command that installs it.
    """
    if importlib.util.find_spec("mjlab") is None:
        raise ImportError(f"Task {task!r} needs mjlab, which is not installed. Run: {INSTALL}")


def find_task(name: str, algo: str | None = None) -> Task:
    """Return a registered task.

    Args:
        name: Its name, with or without ``-TruDi``.
        algo: One of :data:`ALGORITHMS`; None is TruDi.

    Raises:
        ConfigError: If there is no such task, or the algorithm can't train it.
        ImportError: If mjlab is not installed.
    """
    require_mjlab(name)
    from mjlab.tasks import registry  # pyright: ignore[reportMissingImports]

    from trudi_rsl.hosts.mjlab.registration import SUFFIX, register, why_not

    register()  # a checkout that is not installed has no entry point
    base = name.removesuffix(SUFFIX)
    names = [task for task in registry.list_tasks() if not task.endswith(SUFFIX)]
    if base not in names:
        raise ConfigError(f"mjlab has no task {base!r}. {nearest(base, names)}")
    if algo is not None and algo not in ALGORITHMS:
        raise ConfigError(f"Unknown algorithm {algo!r}. {nearest(algo, ALGORITHMS)}")
    if algo not in (None, "trudi") and name != base:
        raise ConfigError(f"{name!r} is the task for TruDi. With --algo {algo} write --task {base}.")
    task = Task(base, cast(Algorithm, algo or "trudi"))
    if task.id not in registry.list_tasks():
        raise ConfigError(f"TruDi cannot train {base!r}: {why_not(registry.load_rl_cfg(base))}. Use --algo ppo.")
    return task
