# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's runner with what TruDi adds: checkpoints that know what they are of, and one-file exports."""

from __future__ import annotations

import copy
import functools
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rsl_rl.algorithms import PPO
from rsl_rl.env import VecEnv
from torch.utils.tensorboard import SummaryWriter

from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.policy_gradient import PolicyGradient
from trudi_rsl.checkpoints.file import sound
from trudi_rsl.checkpoints.kept import KeptCheckpoints
from trudi_rsl.checkpoints.rebuild import SECTION, check_algorithm, check_kind, check_task, policy_spec, read_checkpoint
from trudi_rsl.checkpoints.resume import resume_state, set_resume_state
from trudi_rsl.distributed import detect_lost_ranks, join_gloo
from trudi_rsl.errors import NonFiniteError
from trudi_rsl.evaluation.episodes import MEAN_RETURN
from trudi_rsl.rsl_rl_compat import task_name
from trudi_rsl.rsl_rl_compat.moved import policy_of
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE
from trudi_rsl.runners.checkpoint_evaluation import CheckpointEvaluation, require_episodes
from trudi_rsl.runners.checkpoint_reader import safe_reading
from trudi_rsl.runners.checkpoint_writer import whole_checkpoints
from trudi_rsl.runners.ending import Requests, TrainingEnds, ending
from trudi_rsl.runners.log_sums import continue_log, log_sums
from trudi_rsl.runners.log_writer import interruptible_logs, left_open

if TYPE_CHECKING or not POLICY_STYLE:
    from rsl_rl.runners import OnPolicyRunner as RslRlOnPolicyRunner
else:
    from trudi_rsl.rsl_rl_3.runner import OnPolicyRunner as RslRlOnPolicyRunner

RETRY_SECONDS = (2.0, 10.0, 30.0, 60.0, 120.0)
"""Pauses before a training's last checkpoint is tried again."""


class OnPolicyRunner(RslRlOnPolicyRunner):
    """RSL-RL's on-policy runner, for TruDi, its relatives and RSL-RL's own PPO.

    Trains exactly as the stock runner does. What it adds:

    - a checkpoint tells its task and what an export needs, and is refused by another task, algorithm or network shape;
    - a resumed run's log goes on where the checkpoint's ended;
    - ``max_seconds`` in its configuration ends training after the iteration during which that time has passed;
    - ``evaluation_episodes`` in its configuration evaluates the policy of every checkpoint, where the host can;
    - ``keep_checkpoints`` in its configuration keeps that many of the newest, and the best;
    - ``export_checkpoints`` in its configuration exports the policy of every checkpoint beside it;
    - SIGINT and SIGTERM end training after the iteration, with a checkpoint; a second one ends it at once;
    - when NaN or infinity ends training, or another process is gone, the policy so far is saved first;
    - several processes that torchrun started train together on CPUs too, over gloo;
    - TruDi learns from nothing that is not finite and keeps what was not (:class:`UpdateGuard`), so RSL-RL's own check,
      which waits for the device at every step, is off unless asked for.
    """

    _policy_spec: dict[str, Any] | None = None
    _evaluation: CheckpointEvaluation | None = None
    """Decides which checkpoint is the best; without one the training return does."""
    _evaluated: int | None = None
    """The iteration whose policy was evaluated last."""
    _unwritten: str | None = None
    """Where the newest checkpoint should have gone, if it could not be written."""

    def __init__(self, env: VecEnv, train_cfg: dict[str, Any], log_dir: str | None = None, device: str = "cpu") -> None:
        actor = copy.deepcopy(train_cfg.get("actor"))  # RSL-RL up to 5.4 takes the class names out
        super().__init__(env, train_cfg, log_dir, device)
        if isinstance(self.alg, TruDi):
            self.cfg.setdefault("check_for_nan", False)
        elif actor is not None and type(self.alg) is PPO:
            obs = self.alg.storage.observations[0]
            self._policy_spec = policy_spec("ppo", actor, obs, self.cfg["obs_groups"], env)

    def _configure_multi_gpu(self) -> None:
        """Find the other processes that train: over gloo on CPUs, and as RSL-RL does on GPUs."""
        if not join_gloo(self):
            super()._configure_multi_gpu()

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        """Train for a number of iterations; see the stock runner.

        Raises:
            ConfigError: If ``evaluation_episodes`` is neither None nor an integer of at least 1.
            KeyboardInterrupt: After SIGINT, when the last checkpoint is written.
            NonFiniteError: If the simulator gives NaN or infinity; names the checkpoint that was kept.
            ProcessLostError: If another process is gone; names it, and the checkpoint that was kept.
            SystemExit: After SIGTERM, likewise.
        """
        self._requests, self._evaluated = Requests(), None
        self._evaluation = self._begin_evaluation()
        try:
            with interruptible_logs():
                self._learn(num_learning_iterations, init_at_random_ep_len)
        finally:
            if self._evaluation is not None:
                self._evaluation.end()

    def evaluation_env(self, num_envs: int, seed: int) -> VecEnv | None:
        """Return new environments like those of training, None if the host cannot have others in this process.

        A wrapper of environments that can has an ``alike`` of its own, or there are none: without what it does to
        observations, actions and rewards they would be another task.

        Args:
            num_envs: How many, at least 1.
            seed: Their seed.
        """
        can = hasattr(type(self.env), "alike")
        return self.env.alike(num_envs, seed) if can else None  # type: ignore[attr-defined]

    def _begin_evaluation(self) -> CheckpointEvaluation | None:
        episodes = self.cfg.get("evaluation_episodes")
        require_episodes(episodes)
        if episodes is None or self.logger.log_dir is None or self.gpu_global_rank:
            return None
        # who asks to end waits, and clusters not for long
        evaluation = CheckpointEvaluation(
            self.evaluation_env, episodes, stopped=lambda: self._requests.signal_number is not None
        )
        return evaluation if evaluation.possible else None

    def _learn(self, num_learning_iterations: int, init_at_random_ep_len: bool) -> None:
        algorithm: Any = self.alg
        if hasattr(algorithm, "guard") and self.logger.log_dir is not None and not self.gpu_global_rank:
            algorithm.guard.folder = Path(self.logger.log_dir)
        if hasattr(self.env, "restarts_faulty"):
            self.env.restarts_faulty = True  # type: ignore[attr-defined]
        try:
            with (
                ending(self.alg, self.cfg.get("max_seconds")) as self._requests,
                detect_lost_ranks(self._rescue),
                left_open(self.logger),
            ):
                super().learn(num_learning_iterations, init_at_random_ep_len)
            self._retry_last_checkpoint()
            self._stop_logging()
        except TrainingEnds as end:
            self._stop(str(end))
        except NonFiniteError as error:
            raise NonFiniteError(f"{error} {self._rescue()}") from error
        except KeyboardInterrupt:
            if self._requests.signal_number is None:
                print(f"\nInterrupted. {self._rescue()}")
            raise
        finally:
            # RSL-RL leaves this writer open, and what its thread has not written is lost when the process ends
            if isinstance(writer := getattr(self.logger, "writer", None), SummaryWriter):
                writer.close()
        self._requests.obey()

    def _stop(self, reason: str) -> None:
        """Save the last checkpoint, as the stock runner does when it has trained all iterations."""
        print(f"\nStopped after iteration {self.current_learning_iteration}: {reason}.", flush=True)
        if getattr(self.logger, "writer", None) is not None and self.logger.log_dir is not None:
            self.save(str(Path(self.logger.log_dir) / f"model_{self.current_learning_iteration}.pt"))
            self._retry_last_checkpoint()
            self._stop_logging()

    def _stop_logging(self) -> None:
        # RSL-RL 3 has no such method
        if getattr(self.logger, "writer", None) is not None and hasattr(self.logger, "stop_logging_writer"):
            self.logger.stop_logging_writer()

    def _rescue(self) -> str:
        if self._evaluation is not None:
            self._evaluation.end()
        if self.gpu_global_rank != 0:
            return "Rank 0 writes the checkpoints."
        # before the first iteration 5.0.1 has no such attribute
        if getattr(self.logger, "writer", None) is None or self.logger.log_dir is None:
            return "No checkpoint was kept, since the run has no log folder."
        if not all(torch.isfinite(p).all() for p in policy_of(self.alg).parameters()):
            return "No checkpoint was kept, since the policy's weights are not finite; use an earlier one."
        path = Path(self.logger.log_dir) / f"model_{self.current_learning_iteration}_rescued.pt"
        self.save(str(path))
        self._stop_logging()
        if not path.is_file():
            return "No checkpoint was kept, since it could not be written."
        return f"The policy so far is kept in {path}."

    def save(self, path: str, infos: dict[str, Any] | None = None) -> None:
        """Save a checkpoint, whole or not at all; ``latest.pt`` beside it names the newest, ``best.pt`` the best.

        ``infos`` also gets the task's name, the log's running sums, and what PPO doesn't tell. A checkpoint that cannot
        be written (disk full, folder gone or read-only) is told and training goes on; the next one is tried as usual.
        """
        told = {"task": task_name(self.env), "logger": log_sums(self.logger), SECTION: self._policy_spec}
        if self._is_stock_ppo():
            told["resume"] = resume_state(self.env if self.alg.storage.step == 0 else None)
        try:
            with whole_checkpoints():
                super().save(path, {**told, **(infos or {})})
        except OSError as error:
            print(f"[trudi_rsl] {path} could not be written; training is not ended by that: {error}", flush=True)
            self._unwritten = path
            return
        self._unwritten = None
        # others are a caller's own
        if self.logger.log_dir is not None and Path(path).parent == Path(self.logger.log_dir):
            self._kept.add(Path(path))
            self._rate(Path(path))
        if self.cfg.get("export_checkpoints"):
            self._export(Path(path))

    def _retry_last_checkpoint(self) -> None:
        """Try again to write the training's last checkpoint, for a few minutes: no later one will take its place."""
        for seconds in RETRY_SECONDS:
            if self._unwritten is None:
                return
            print(f"[trudi_rsl] The last checkpoint is tried again in {seconds:g} s.", flush=True)
            time.sleep(seconds)
            self.save(self._unwritten)

    @functools.cached_property
    def _kept(self) -> KeptCheckpoints:
        return KeptCheckpoints(self.cfg.get("keep_checkpoints"))

    def _mean_return(self) -> float | None:
        """Return the mean of the last training returns, None before an episode has ended."""
        returns = getattr(self.logger, "rewbuffer", None)
        return statistics.mean(returns) if returns else None

    def _rate(self, checkpoint: Path) -> None:
        """Find out whether a checkpoint of what the policy is now is the best so far."""
        if self._evaluation is None:
            self._kept.rate(checkpoint, self._mean_return())
            return
        # RSL-RL saves the last iteration's a second time if its number is a multiple of the interval; a training that
        # goes on begins with that number again, and with another policy
        if self._evaluated == self.current_learning_iteration:
            return
        self._evaluated = self.current_learning_iteration
        numbers = self._evaluation.numbers_of(self)
        best = self._kept.rate(checkpoint, None if numbers is None else numbers[MEAN_RETURN])
        if numbers is None:
            return
        writer: Any = self.logger.writer
        for name, value in numbers.items():
            writer.add_scalar(name, value, self.current_learning_iteration)
        told = f"return {numbers[MEAN_RETURN]:.4g} in {self._evaluation.episodes} episodes"
        print(f"[trudi_rsl] {checkpoint.name}: {told}{', the best so far' * best}.", flush=True)

    def _export(self, checkpoint: Path) -> None:
        """Export a checkpoint; what goes wrong is told, and training goes on."""
        try:
            from trudi_rsl.deploy import export_checkpoint  # needs the `export` extra

            # rebuilding the policy draws its first weights, and training must not miss those numbers
            with torch.random.fork_rng(devices=[]):
                export_checkpoint(checkpoint, checkpoint.parent / "exported" / checkpoint.stem, overwrite=True)
        except Exception as error:
            print(f"[trudi_rsl] Could not export {checkpoint.name}; training goes on: {error}", flush=True)

    def load(
        self, path: str, load_cfg: dict[str, bool] | None = None, strict: bool = True, map_location: str | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint; see the stock runner.

        Raises:
            CheckpointError: If there is no such file, or it is of another task, algorithm or network shape.
        """
        checkpoint = read_checkpoint(path)
        if isinstance(self.alg, TruDi):
            check_kind(checkpoint)
        elif self._is_stock_ppo():
            check_algorithm(checkpoint, "ppo")
            check_task((checkpoint.get("infos") or {}).get("task"), task_name(self.env))
        with sound(path), safe_reading():
            infos = super().load(path, load_cfg, strict, map_location or self.device)
            if load_cfg is None or load_cfg.get("iteration"):
                if self._is_stock_ppo() and (saved := (checkpoint.get("infos") or {}).get("resume")):
                    # up to version 5.4 RSL-RL goes on with the configured one
                    self.alg.learning_rate = self.alg.optimizer.param_groups[0]["lr"]
                    set_resume_state(self.env, saved, not self.gpu_global_rank)
                continue_log(self.logger, checkpoint, self.device)
        return infos

    def _is_stock_ppo(self) -> bool:
        return not isinstance(self.alg, (TruDi, PolicyGradient))

    def export_policy_to_onnx(self, path: str, filename: str = "policy.onnx", verbose: bool = False) -> None:
        """Export the policy as one ONNX file; the stock exporter, with torch 2.9 or newer, puts weights beside it."""
        from trudi_rsl.deploy import write_onnx  # needs the `export` extra

        write_onnx(self.alg.get_policy().as_onnx(verbose=verbose).to("cpu"), Path(path) / filename, verbose=verbose)
