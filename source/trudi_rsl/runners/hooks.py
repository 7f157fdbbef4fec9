# SPDX-License-Identifier: BSD-3-Clause
"""Hooks: what runs at fixed points of the training loop."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from rsl_rl.runners import OnPolicyRunner

logger = logging.getLogger(__name__)


class Hook:
    """Base class of hooks; every method does nothing.

    Append an instance to the ``hooks`` of a :class:`trudi_rsl.runners.OnPolicyRunner`. Its methods are called in the
    order of the list, after those of the runner's own hooks. ``runner`` is that runner.
    """

    def on_start(self, runner: OnPolicyRunner) -> None:
        """Run when ``learn`` is called, before the first rollout."""

    def after_step(self, runner: OnPolicyRunner) -> None:
        """Run after each step of the environments, in inference mode."""

    def after_rollout(self, runner: OnPolicyRunner) -> None:
        """Run when a rollout is complete and its targets are computed."""

    def after_update(self, runner: OnPolicyRunner, metrics: dict[str, float]) -> None:
        """Run after the update of ``runner.current_learning_iteration``, before it is logged.

        ``metrics`` are those of the algorithm's ``update``; additions are logged too.
        """

    def on_checkpoint(self, runner: OnPolicyRunner, path: Path) -> None:
        """Run after a checkpoint has been written to ``path``, also outside of ``learn``."""

    def on_end(self, runner: OnPolicyRunner) -> None:
        """Run when ``learn`` returns or raises."""


class ExportCheckpoints(Hook):
    """Exports the policy of every checkpoint into ``exported/`` beside it; a failed export does not end training."""

    def on_checkpoint(self, runner: OnPolicyRunner, path: Path) -> None:
        """Export ``model_<iteration>.pt`` to ``exported/model_<iteration>/``."""
        try:
            from trudi_rsl.deploy import export_checkpoint  # needs the `export` extra

            # rebuilding the policy initialises its weights, which must not advance training's random generator
            with torch.random.fork_rng(devices=[]):
                export_checkpoint(path, path.parent / "exported" / path.stem, overwrite=True)
        except Exception as error:
            logger.warning("Could not export %s; training continues: %s", path.name, error)
