# SPDX-License-Identifier: BSD-3-Clause
"""Rating each checkpoint, by evaluation episodes where possible, without affecting training."""

from __future__ import annotations

import contextlib
import io
import logging
import random
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rsl_rl.env import VecEnv

from trudi_rsl.checkpoints.kept import KeptCheckpoints
from trudi_rsl.checkpoints.resume import rng_state, set_rng_state
from trudi_rsl.choices import EVALUATION_SEED
from trudi_rsl.environments.progress import close_envs
from trudi_rsl.errors import ConfigError, one_line
from trudi_rsl.evaluation.episodes import MEAN_RETURN, MOST_ENVS, SameStart, evaluate, scalars
from trudi_rsl.evaluation.policies import as_exported
from trudi_rsl.plain_values import is_count
from trudi_rsl.rsl_rl_compat.models import fresh_hidden_states, policy_of
from trudi_rsl.runners.hooks import Hook

logger = logging.getLogger(__name__)


class _StoppedError(Exception):
    """Raised inside an evaluation when training is asked to end."""


class RateCheckpoints(Hook):
    """Maintains ``latest.pt`` and ``best.pt``, and removes old checkpoints.

    The best checkpoint has the highest mean return in ``evaluation_episodes`` episodes, which are logged too. Without
    that setting, or where the host cannot evaluate during training, the mean return of the last training episodes
    decides. Every evaluation has the same initial states, as far as the environments' seed and curricula determine
    them; random generators and recurrent states are restored afterwards, and its errors do not end training.

    Args:
        keep: Number of newest checkpoints that stay beside the best, at least 1; None keeps all.
        stopped: Returns whether training should end; evaluations are then skipped or abandoned.
    """

    def __init__(self, keep: int | None, stopped: Callable[[], bool]) -> None:
        self._kept = KeptCheckpoints(keep)
        self._stopped = stopped
        self._evaluates = False
        self._env: VecEnv | None = None
        self._evaluated: int | None = None
        """Iteration of the last evaluation; the last iteration is saved twice if ``save_interval`` divides it."""
        self.last: tuple[Path, float] | None = None
        """The checkpoint that was evaluated last, and its mean return."""

    @property
    def best(self) -> tuple[Path, float] | None:
        """The best checkpoint and its mean return, None without any rated one."""
        return self._kept.best

    def on_start(self, runner: Any) -> None:
        """Make the environments for evaluations.

        Raises:
            ConfigError: If ``evaluation_episodes`` is neither None nor an integer of at least 1.
        """
        episodes = runner.cfg.get("evaluation_episodes")
        if episodes is not None and not is_count(episodes):
            raise ConfigError(
                "evaluation_episodes must be an integer of at least 1, or None for no evaluations, not "
                f"{one_line(repr(episodes), 50)}."
            )
        self._env = self._evaluated = None
        if episodes is not None and runner.logger.log_dir is not None and not runner.gpu_global_rank:
            self.make_env(runner, episodes)
        self._evaluates = self._env is not None

    def make_env(self, runner: Any, episodes: int) -> None:
        """Make the environments for evaluations of a number of episodes; log it if there can be none."""
        try:
            # simulators that print a description at their start have done so for training
            with _seeded(EVALUATION_SEED), contextlib.redirect_stdout(io.StringIO()):
                self._env = runner.evaluation_env(min(episodes, MOST_ENVS), EVALUATION_SEED)
            reason = "no second set of its environments can be made in this process"
        except Exception as error:
            reason = one_line(error).rstrip(".")
        if self._env is not None:
            self._start = SameStart(self._env)
            return
        logger.info(
            "Checkpoints are not evaluated during this training: %s. best.pt is chosen by the training return; "
            "trudi play --every_checkpoint evaluates all checkpoints afterwards.",
            reason,
        )

    def on_checkpoint(self, runner: Any, path: Path) -> None:
        """Rate a checkpoint of the run folder; those that a caller saves elsewhere are ignored."""
        if runner.logger.log_dir is None or path.parent != Path(runner.logger.log_dir):
            return
        self._kept.add(path)
        if not self._evaluates:
            # RND's intrinsic rewards are no part of the task's return
            extrinsic = getattr(runner.logger, "erewbuffer", None)
            returns = extrinsic or getattr(runner.logger, "rewbuffer", None)
            self._kept.rate(path, statistics.mean(returns) if returns else None)
            return
        iteration, episodes = runner.current_learning_iteration, runner.cfg["evaluation_episodes"]
        if self._evaluated == iteration:
            return
        self._evaluated = iteration
        results = self.evaluate(runner, episodes)
        is_best = self._kept.rate(path, results.get(MEAN_RETURN))
        for name, value in results.items():
            runner.logger.writer.add_scalar(name, value, iteration)
        if results:
            self.last = path, results[MEAN_RETURN]
            suffix = ", the best in this run folder so far" if is_best else ""
            logger.info("%s: return %.4g in %d episodes%s.", path.name, results[MEAN_RETURN], episodes, suffix)

    def evaluate(self, runner: Any, episodes: int) -> dict[str, float]:
        """Evaluate the policy as it would be exported; return scalars by name, none without a complete evaluation."""
        if self._env is None or self._stopped():
            return {}
        options = {"progress": False, "on_progress": self._raise_if_stopped, "policy_device": runner.device}
        try:
            with fresh_hidden_states(policy_of(runner.alg)), _seeded(EVALUATION_SEED):
                policy = as_exported(runner)
                self._start.restore(EVALUATION_SEED)
                return scalars(evaluate(self._env, policy, episodes, **options))
        except _StoppedError:
            return {}
        except Exception as error:
            logger.warning("The evaluation of this checkpoint failed; training continues: %s", error)
            return {}
        finally:
            runner.train_mode()

    def _raise_if_stopped(self, _share: float) -> None:
        if self._stopped():
            raise _StoppedError

    def on_end(self, runner: Any) -> None:
        """Close the environments; checkpoints that follow are not evaluated."""
        env, self._env = self._env, None
        if env is not None:
            close_envs(env)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed all random generators inside the block, and restore their states afterwards."""
    state = rng_state()
    try:
        for seed_generator in (torch.manual_seed, np.random.seed, random.seed):
            seed_generator(seed)
        yield
    finally:
        set_rng_state(state)
