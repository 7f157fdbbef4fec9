# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL's runner with a training loop of its own, which calls hooks."""

from __future__ import annotations

import contextlib
import copy
import logging
import time
from pathlib import Path
from typing import Any

import torch
from rsl_rl.algorithms import PPO
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner as RslRlOnPolicyRunner
from tensordict import TensorDict
from torch.utils.tensorboard import SummaryWriter

from trudi_rsl.algorithms import TruDi
from trudi_rsl.algorithms.policy_gradient import PolicyGradient
from trudi_rsl.checkpoints.file import read_checkpoint, write_checkpoint
from trudi_rsl.checkpoints.format import RUN, SECTION, PolicySpec, check_algorithm, check_task, learner_spec, task_of
from trudi_rsl.checkpoints.rebuild import as_rsl_rl_takes, model_spec
from trudi_rsl.checkpoints.resume import resume_state, set_resume_state
from trudi_rsl.distributed import detect_lost_ranks, join_gloo
from trudi_rsl.environments.description import task_name
from trudi_rsl.environments.step_shapes import StepShapes
from trudi_rsl.errors import NonFiniteError, ProcessLostError, as_checkpoint_error, one_line
from trudi_rsl.rsl_rl_compat.models import policy_of
from trudi_rsl.runners.episode_log import EpisodeLog
from trudi_rsl.runners.evaluation import RateCheckpoints
from trudi_rsl.runners.hooks import ExportCheckpoints, Hook
from trudi_rsl.runners.log import (
    load_log_state,
    log_scalars,
    log_state,
    make_interruptible,
    start_writer,
    without_prints,
)
from trudi_rsl.runners.nan_check import NaNCheck
from trudi_rsl.runners.origin import continue_from, new_record
from trudi_rsl.runners.report import Iteration, Report, episode_means
from trudi_rsl.runners.stopping import StopConditions

logger = logging.getLogger(__name__)

RETRY_SECONDS = (2.0, 10.0, 30.0, 60.0, 120.0)
"""Pauses before further attempts to write a training's last checkpoint."""


class OnPolicyRunner(RslRlOnPolicyRunner):
    """RSL-RL's on-policy runner, for TruDi, its relatives and RSL-RL's own PPO.

    Trains the same parameters as the stock runner. In addition:

    - ``hooks`` are called at fixed points of the loop, see :class:`trudi_rsl.runners.Hook`;
    - a checkpoint names its task and describes its policy; loading it for another task, algorithm or network shape is
      refused;
    - a checkpoint carries the run's settings and origin (``record``); a resumed run continues the log's sums and the
      numbers of iterations, and with another ``seed`` in the configuration draws other random numbers;
    - prints one row per iteration, or with ``verbose`` in the configuration every logged value;
    - in the configuration, ``max_seconds`` ends training after the iteration during which that time has passed,
      ``evaluation_episodes`` evaluates the policy of every checkpoint where the host can, ``export_checkpoints``
      exports it, and ``keep_checkpoints`` keeps that many of the newest checkpoints, and the best;
    - SIGINT and SIGTERM end training after the iteration, with a checkpoint; a second one ends it at once;
    - if an error ends training, such as one of the simulator, or another rank is lost, a checkpoint is saved first;
    - a full disk interrupts the log and delays checkpoints, but does not end training;
    - several processes can train on CPUs, over gloo; a step of wrong shapes is named, whatever the algorithm;
    - neither the log nor ``check_for_nan``, which is off by default for TruDi, forces a GPU sync at every step;

    Args:
        env: Environments.
        train_cfg: Runner configuration.
        log_dir: Run folder; None logs and saves nothing.
        device: Training device.
        **host_options: Passed on to a host's runner that follows this class in the method resolution order.
    """

    _policy_spec: PolicySpec | None = None
    """Description of PPO's policy for its checkpoints; the other algorithms save their own."""

    def __init__(
        self,
        env: VecEnv,
        train_cfg: dict[str, Any],
        log_dir: str | None = None,
        device: str = "cpu",
        **host_options: Any,
    ) -> None:
        as_rsl_rl_takes(train_cfg)
        actor = copy.deepcopy(train_cfg.get("actor"))  # RSL-RL up to 5.4 removes the class names
        self.record = new_record(env, train_cfg)
        """What checkpoints say about this run; a host sets what the configuration lacks."""
        with contextlib.nullcontext() if train_cfg.get("verbose") else without_prints():
            super().__init__(env, train_cfg, log_dir, device, **host_options)
        if isinstance(self.alg, TruDi):
            self.cfg.setdefault("check_for_nan", False)
        elif actor is not None and type(self.alg) is PPO:
            obs = self.alg.storage.observations[0]
            self._policy_spec = model_spec("ppo", policy_of(self.alg), actor, obs, self.cfg["obs_groups"], env)
        self._stop = stop = StopConditions(self.cfg.get("max_seconds"))
        # a signal's sender, such as a cluster's scheduler, waits for a limited time
        self.rating = RateCheckpoints(self.cfg.get("keep_checkpoints"), lambda: stop.signal_number is not None)
        self.hooks: list[Hook] = [self._stop, self.rating]
        self.hooks += [ExportCheckpoints()] if self.cfg.get("export_checkpoints") else []
        self._report = Report(bool(self.cfg.get("verbose")))
        self._episodes, self._shapes = EpisodeLog(self), StepShapes(env.num_envs)
        self._has_trained = self._in_rollout = False
        self._unwritten: str | None = None
        self.episodes_continue = False
        """Whether the last :meth:`load` restored unfinished episodes; their lengths should then not be randomised."""

    @property
    def algorithm_name(self) -> str:
        """The algorithm's name for ``--algo``; "ppo" for RSL-RL's."""
        spec = getattr(self.alg, "spec", None)
        return "ppo" if spec is None else spec["algorithm"]

    @property
    def next_iteration(self) -> int:
        """Number of the next iteration, after the last one of this runner and of a checkpoint that it has loaded."""
        return self.current_learning_iteration + self._has_trained

    def _configure_multi_gpu(self) -> None:
        """Join the other processes: on CPUs over gloo, on GPUs as RSL-RL does."""
        if not join_gloo(self):
            super()._configure_multi_gpu()

    def evaluation_env(self, num_envs: int, seed: int) -> VecEnv | None:
        """Return new environments like those of training, None if this process cannot have a second set.

        They come from the method ``alike`` of the environments' class. A wrapper needs a method of its own: without
        the wrapper's changes to observations, actions and rewards they would be another task.
        """
        return self.env.alike(num_envs, seed) if hasattr(type(self.env), "alike") else None  # type: ignore[attr-defined]

    # -- training ---------------------------------------------------------------------------------------------------

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        """Train for a number of further iterations, unless the time limit or a signal ends training before.

        With ``init_at_random_ep_len``, episodes start at random steps, so that they do not all end together. Any error
        after the first iteration leaves a checkpoint ``model_<iteration>_rescued.pt``.

        Raises:
            ConfigError: If ``evaluation_episodes`` is neither None nor an integer of at least 1.
            KeyboardInterrupt: After SIGINT, when the last checkpoint is written; SystemExit after SIGTERM.
            NonFiniteError: If simulator or policy return NaN or infinity too often; names the saved checkpoint.
            ProcessLostError: If another rank is lost; names it and the saved checkpoint.
        """
        algorithm: Any = self.alg
        if hasattr(algorithm, "guard") and self.logger.log_dir is not None and not self.gpu_global_rank:
            algorithm.guard.folder = Path(self.logger.log_dir)
        if hasattr(self.env, "restarts_faulty"):
            self.env.restarts_faulty = True  # type: ignore[attr-defined]
        first = self.next_iteration
        try:
            for hook in self.hooks:
                hook.on_start(self)
            with self._stop.handling_signals(), detect_lost_ranks(self._rescue):
                self._train(num_learning_iterations, init_at_random_ep_len)
            self._retry_last_checkpoint()
            self._stop_logging()
            if self._writer is not None:
                self._report.end(self)
        except NonFiniteError as error:
            raise NonFiniteError(f"{error} {self._rescue()}") from error
        except (Exception, SystemExit) as error:  # simulators also call sys.exit
            if self.next_iteration > first and not isinstance(error, ProcessLostError):
                name = f"{type(error).__name__} ({one_line(error, 120)})"
                logger.error("%s ends training after iteration %d. %s", name, self.next_iteration - 1, self._rescue())
            raise
        except KeyboardInterrupt:
            if self._stop.signal_number is None:
                logger.info("Interrupted. %s", self._rescue())
            raise
        finally:
            self._report.stop()
            for hook in self.hooks:
                hook.on_end(self)
            # RSL-RL leaves this writer open, and events in its queue would be lost with the process
            if isinstance(self._writer, SummaryWriter):
                self._writer.close()
        self._stop.raise_signal()

    def _train(self, num_iterations: int, init_at_random_ep_len: bool) -> None:
        """Run RSL-RL's training loop with hooks, and save the last checkpoint."""
        if init_at_random_ep_len:
            high = int(self.env.max_episode_length)
            self.env.episode_length_buf = torch.randint_like(self.env.episode_length_buf, high=high)
        obs = self.env.get_observations().to(self.device)
        self.train_mode()
        if self.is_distributed:
            self.alg.broadcast_parameters()
        self._start_logging()
        start_it = self.next_iteration
        total_it = self.record["agent"]["max_iterations"] = start_it + num_iterations
        if self._writer is not None:
            self._report.start(self, start_it, total_it)
        for it in range(start_it, total_it):
            start = time.time()
            with torch.inference_mode():
                obs = self._collect(obs)
                collect_time = time.time() - start
                start += collect_time
                self.alg.compute_returns(obs)
            for hook in self.hooks:
                hook.after_rollout(self)
            metrics = self.alg.update()
            self._nan_check.report()
            self._episodes.flush()
            learn_time = time.time() - start
            self.current_learning_iteration, self._has_trained = it, True
            for hook in self.hooks:
                hook.after_update(self, metrics)
            self._log(it, start_it, total_it, collect_time, learn_time, metrics)
            if self._writer is not None and it % self.cfg["save_interval"] == 0:
                self.save(self._checkpoint_path())
            if (reason := self._stop.stop_reason()) is not None:
                logger.info("Stopped after iteration %d: %s.", it, reason)
                break
        if self._writer is not None:
            self.save(self._checkpoint_path())

    def _collect(self, obs: TensorDict) -> TensorDict:
        """Collect a rollout from observations of batch ``[E]``, and return those after its last step."""
        uses_rnd = bool(self.cfg["algorithm"].get("rnd_cfg"))
        self._nan_check = NaNCheck(self.cfg.get("check_for_nan", True))
        self._in_rollout = True
        for step in range(self.cfg["num_steps_per_env"]):
            actions = self.alg.act(obs)
            obs, rewards, dones, extras = self.env.step(actions.to(self.env.device))
            self._shapes.check(obs, rewards, dones, step)
            obs, rewards, dones = self._nan_check.filter(*(x.to(self.device) for x in (obs, rewards, dones)))
            self.alg.process_env_step(obs, rewards, dones, extras)
            self._episodes.add(rewards, dones, extras, self.alg.intrinsic_rewards if uses_rnd else None)
            for hook in self.hooks:
                hook.after_step(self)
        self._in_rollout = False
        self._nan_check.end_rollout(self.alg)
        return obs

    def train_mode(self) -> None:
        """Switch the networks to training mode; an unfinished rollout is dropped."""
        self._in_rollout = False
        self.alg.train_mode()

    # -- logging ----------------------------------------------------------------------------------------------------

    @property
    def _writer(self) -> Any:
        """RSL-RL's log writer, None for runs that log nothing and for other ranks than 0."""
        return getattr(self.logger, "writer", None)  # RSL-RL 5.0 sets it when training starts

    def _start_logging(self) -> None:
        start_writer(self.logger, self.cfg.get("logger", "tensorboard"))
        if isinstance(self._writer, SummaryWriter):
            make_interruptible(self._writer)

    def _log(self, it: int, start: int, total: int, collect_time: float, learn_time: float, metrics: Any) -> None:
        """Log an iteration to the event files and the console; output to a full disk is lost."""
        if self._writer is None:
            return
        episode = episode_means(self.logger.ep_extras)
        rnd = self.alg.rnd if self.cfg["algorithm"].get("rnd_cfg") else None
        rest = {"learning_rate": self.alg.learning_rate, "action_std": self._action_std()}
        rest["rnd_weight"] = None if rnd is None else rnd.weight
        with contextlib.suppress(OSError):
            log_scalars(self.logger, self._writer, (it, start, total, collect_time, learn_time), metrics, rest)
            self._report.add(self, Iteration(it, total, collect_time, learn_time, metrics, episode))
        self.logger.ep_extras.clear()  # RSL-RL does it after printing

    def _action_std(self) -> torch.Tensor:
        return self.alg.get_policy().output_std

    def _stop_logging(self) -> None:
        if self._writer is not None and hasattr(self.logger, "stop_logging_writer"):  # not in RSL-RL 3
            self.logger.stop_logging_writer()

    # -- checkpoints ------------------------------------------------------------------------------------------------

    def save(self, path: str, infos: dict[str, Any] | None = None) -> None:
        """Write a checkpoint atomically, then run the hooks' ``on_checkpoint``.

        If it cannot be written (disk full, folder read-only), this is logged and does not end training. ``infos`` are
        plain values to store beside the task's name and the log's sums.
        """
        self._episodes.flush()
        own = {"task": task_name(self.env), "logger": log_state(self.logger)}
        try:
            self._write_checkpoint(path, {**own, **(infos or {})})
        except OSError as error:
            logger.warning("%s could not be written; training continues: %s", path, error)
            self._unwritten = path
            return
        self._unwritten = None
        for hook in self.hooks:
            hook.on_checkpoint(self, Path(path))

    def _write_checkpoint(self, path: str, infos: dict[str, Any]) -> None:
        """Write the file and upload it to a log service; a host's runner may write further files beside it."""
        content = {**self._algorithm_state(), "iter": self.current_learning_iteration, "infos": infos, RUN: self.record}
        if self._is_stock_ppo():
            content[SECTION] = self._policy_spec
            content |= resume_state(None if self.alg.storage.step or self._in_rollout else self.env, self.device)
        if self._in_rollout:
            content.pop("env_state", None)  # of a step that was not completed
        write_checkpoint(content, path)
        if self._writer is not None and self.cfg.get("upload_model", True):
            self.logger.save_model(path, self.current_learning_iteration)

    def _algorithm_state(self) -> dict[str, Any]:
        return self.alg.save()

    def _checkpoint_path(self, suffix: str = "") -> str:
        return str(Path(str(self.logger.log_dir)) / f"model_{self.current_learning_iteration}{suffix}.pt")

    def _retry_last_checkpoint(self) -> None:
        """Retry writing the last checkpoint for a few minutes, since no later one replaces it."""
        for seconds in RETRY_SECONDS:
            if self._unwritten is None:
                return
            logger.info("Writing the last checkpoint is retried in %g s.", seconds)
            time.sleep(seconds)
            self.save(self._unwritten)

    def _rescue(self) -> str:
        """Save a checkpoint after an error, and return a sentence about that."""
        self.rating.on_end(self)
        if self.gpu_global_rank != 0:
            return "Rank 0 writes the checkpoints."
        if self._writer is None or self.logger.log_dir is None:
            return "No checkpoint was saved, since the run has no log folder."
        if not all(torch.isfinite(p).all() for p in policy_of(self.alg).parameters()):
            return "No checkpoint was saved, since the policy's weights are not finite; use an earlier one."
        path = self._checkpoint_path("_rescued")
        self._report.stop()
        try:
            self.save(path)
        except Exception as error:  # whatever ended training may have left parts that cannot be saved
            return f"No checkpoint was saved: {type(error).__name__}: {one_line(error)}"
        self._stop_logging()
        if self._unwritten == path:
            return "No checkpoint was saved, since it could not be written."
        return f"The policy so far is saved in {path}."

    def load(
        self, path: str, load_cfg: dict[str, bool] | None = None, strict: bool = True, map_location: str | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint.

        Args:
            path: A ``model_*.pt`` of any supported version. The file is read once and runs no code.
            load_cfg: Which of ``actor``, ``critic``, ``optimizer`` and ``iteration`` to load; None loads all.
            strict: Refuse missing and unknown parameters.
            map_location: Unused; values are copied from the CPU to the training device.

        Returns:
            The checkpoint's ``infos``.

        Raises:
            CheckpointError: If there is no such file, or it is of another task, algorithm or network shape.
        """
        checkpoint = read_checkpoint(path)
        if isinstance(self.alg, TruDi):
            learner_spec(checkpoint)
        elif self._is_stock_ppo():
            check_algorithm(checkpoint, "ppo")
            check_task(task_of(checkpoint), task_name(self.env))
        resumes = load_cfg is None or load_cfg.get("iteration", False)
        with as_checkpoint_error(path):
            if resumes:
                checkpoint = continue_from(checkpoint, Path(path), self.record, not self.gpu_global_rank)
            if self._load_algorithm_state(checkpoint, load_cfg, strict):
                self.current_learning_iteration, self._has_trained = checkpoint["iter"], True
            if resumes:
                if self._is_stock_ppo() and "rng_state" in checkpoint:
                    # RSL-RL up to 5.4 would continue with the configured rate
                    self.alg.learning_rate = self.alg.optimizer.param_groups[0]["lr"]
                    set_resume_state(self.env, checkpoint, not self.gpu_global_rank, self.device)
                load_log_state(self.logger, checkpoint, self.device)
                state = checkpoint.get("env_state") or {}
                same_size = state.get("num_envs") == self.env.num_envs
                self.episodes_continue = bool(state.get("exact")) and same_size and not self.gpu_global_rank
            return checkpoint["infos"]

    def _load_algorithm_state(self, checkpoint: dict[str, Any], load_cfg: dict[str, bool] | None, strict: bool) -> bool:
        """Load the algorithm's part of a checkpoint, and return whether the iteration number should be loaded."""
        return self.alg.load(checkpoint, load_cfg, strict)

    def _is_stock_ppo(self) -> bool:
        return not isinstance(self.alg, (TruDi, PolicyGradient))

    def export_policy_to_onnx(self, path: str, filename: str = "policy.onnx", verbose: bool = False) -> None:
        """Export the policy as a single ONNX file; the stock exporter, from torch 2.9 on, writes two."""
        from trudi_rsl.deploy import write_onnx  # needs the `export` extra

        write_onnx(self.alg.get_policy().as_onnx(verbose=verbose).to("cpu"), Path(path) / filename, verbose=verbose)
