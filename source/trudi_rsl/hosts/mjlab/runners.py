# SPDX-License-Identifier: BSD-3-Clause
"""mjlab's runners with TruDi's additions: files at checkpoints, evaluations, and true last observations of episodes."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator
from typing import Any, ClassVar

from mjlab.envs import ManagerBasedRlEnv  # pyright: ignore[reportMissingImports]
from mjlab.rl import MjlabOnPolicyRunner, RslRlVecEnvWrapper  # pyright: ignore[reportMissingImports]
from mjlab.rl.exporter_utils import attach_metadata_to_onnx  # pyright: ignore[reportMissingImports]
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl.algorithms import TruDi
from trudi_rsl.hosts.mjlab.description import robot_metadata
from trudi_rsl.hosts.mjlab.task import Task
from trudi_rsl.runners import OnPolicyRunner

logger = logging.getLogger(__name__)


class LastObservations(RslRlVecEnvWrapper):
    """An mjlab environment that returns the last observations of episodes that a time limit ends.

    Only those are needed: after a failure the value is zero. A step in which no time limit is due is mjlab's own. For
    other steps, ``cfg.auto_reset`` is off: mjlab leaves ended environments in their last state, computes observations
    there, and the caller resets, which costs a second forward pass of the simulator. The code after the step repeats
    what mjlab's own step does, with two differences:

    - environments that go on keep observations, logs and command metrics of the step, although ``reset`` computes the
      observations of all environments again, with new noise;
    - the commands of an ended environment make their step before the reset, because its last observation needs them.

    In such a step, ``extras["final_obs"]`` holds the observation groups ``[E, ...]`` before the reset.
    """

    def __init__(self, env: RslRlVecEnvWrapper) -> None:
        self._wrapped = env  # not the constructor of the base class, which would reset the environment

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the wrapped environment."""
        return getattr(self._wrapped, name)

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict[str, Any]]:
        """Step with actions ``[E, A]``; see :class:`rsl_rl.env.VecEnv`."""
        base = self.unwrapped
        due = bool((base.episode_length_buf + 1 >= base.max_episode_length).any()) and not base.cfg.is_finite_horizon
        base.cfg.auto_reset = not due
        obs, rewards, dones, extras = self._wrapped.step(actions)
        extras.pop("final_obs", None)
        # the number of ended environments takes a GPU sync
        if not due or len(ended := dones.nonzero().squeeze(-1)) == 0:
            return obs, rewards, dones, extras
        commands = [base.command_manager.get_term(name) for name in base.command_manager.active_terms]
        metrics = [(c.metrics, name, values.clone()) for c in commands for name, values in c.metrics.items()]
        log, running = extras["log"], dones == 0
        fresh, _ = base.reset(env_ids=ended)
        for current, name, before in metrics:
            current[name][running] = before[running]
        next_obs = obs.clone()
        next_obs[ended] = TensorDict(fresh, batch_size=[self.num_envs])[ended]
        extras |= {"log": log | extras["log"], "final_obs": obs}
        return next_obs, rewards, dones, extras


@contextlib.contextmanager
def last_observations(env: RslRlVecEnvWrapper) -> Iterator[RslRlVecEnvWrapper]:
    """Let ``env`` return last observations inside the block.

    An environment with recorders is yielded unchanged: mjlab calls them at points of its step that a caller who resets
    cannot reproduce.
    """
    cfg = env.unwrapped.cfg
    if cfg.recorders:
        logger.info("The task records its steps, so mjlab resets it, and last observations are not available.")
        yield env
        return
    auto_reset = cfg.auto_reset
    try:
        yield LastObservations(env)
    finally:
        cfg.auto_reset = auto_reset


class ExportingRunner(MjlabOnPolicyRunner):
    """mjlab's runner, which also writes ``<run>.onnx`` at every checkpoint, as the runners of mjlab's robots do."""

    _reported = False

    def save(self, path: str, infos: dict[str, Any] | None = None) -> None:
        """Save a checkpoint and export the policy; if the export fails, log it and go on."""
        super().save(path, infos)
        folder, filename, file = self._get_export_paths(path)
        to_wandb = self.logger.logger_type in ("wandb", "WandbLogWriter")
        wandb = importlib.import_module("wandb") if to_wandb else None
        try:
            self.export_policy_to_onnx(str(folder), filename)
            run = wandb.run.name if wandb and wandb.run else "local"
            if metadata := robot_metadata(self.env.unwrapped, run):
                attach_metadata_to_onnx(str(file), metadata)
            elif not self._reported:
                self._reported = True
                logger.info(f"{filename} has no metadata: mjlab describes only robots with a joint_pos action.")
            if wandb and self.cfg["upload_model"]:
                wandb.save(str(file), base_path=str(folder))
        except Exception as error:
            logger.warning(f"Could not export the policy as ONNX; training goes on: {error}")


class TruDiRunner(OnPolicyRunner):
    """TruDi's additions to a runner of mjlab, to be listed before it in a class's bases.

    Beside those of :class:`trudi_rsl.runners.OnPolicyRunner`: TruDi learns from the true last observations of episodes
    if its ``final_observations`` is on. mjlab's runner exports the policy, since it may add more to the file.
    """

    env: RslRlVecEnvWrapper
    task: ClassVar[str | None] = None

    def __init__(
        self,
        env: RslRlVecEnvWrapper,
        train_cfg: dict[str, Any],
        log_dir: str | None = None,
        device: str = "cpu",
        **host_options: Any,
    ) -> None:
        env.task = self.task  # stored in checkpoints; mjlab's environments do not know their names
        train_cfg.setdefault("check_for_nan", False)
        super().__init__(env, train_cfg, log_dir, device, **host_options)

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        """Train for a number of iterations; see :class:`trudi_rsl.runners.OnPolicyRunner`."""
        original = self.env
        wanted = isinstance(self.alg, TruDi) and self.alg.cfg.final_observations
        with last_observations(original) if wanted else contextlib.nullcontext(original) as self.env:
            try:
                super().learn(num_learning_iterations, init_at_random_ep_len)
            finally:
                self.env = original

    def _write_checkpoint(self, path: str, infos: dict[str, Any]) -> None:
        """Save as the task's own runner does, which ends in :meth:`CheckpointRunner.save`."""
        super(OnPolicyRunner, self).save(path, infos)

    def load(
        self, path: str, load_cfg: dict[str, bool] | None = None, strict: bool = True, map_location: str | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint and the environment's step counter, on which curricula depend."""
        infos = super().load(path, load_cfg, strict, map_location)
        if infos and "env_state" in infos:
            self.env.unwrapped.common_step_counter = infos["env_state"]["common_step_counter"]
        return infos

    def evaluation_env(self, num_envs: int, seed: int) -> RslRlVecEnvWrapper:
        """Make environments of the task's variant for playing, with the time limit of training."""
        from trudi_rsl.hosts.mjlab.play import PlayedEnv, playing_cfg  # needs the `export` extra

        assert self.task is not None, "trudi_runner sets it"
        cfg = playing_cfg(Task(self.task, "trudi"), num_envs, seed)
        cfg.episode_length_s = self.env.unwrapped.cfg.episode_length_s
        return PlayedEnv(ManagerBasedRlEnv(cfg, str(self.env.device)), self.task, self.env.clip_actions)

    def export_policy_to_onnx(self, path: str, filename: str = "policy.onnx", verbose: bool = False) -> None:
        """Export the policy as mjlab's runner does."""
        super(OnPolicyRunner, self).export_policy_to_onnx(path, filename, verbose)


class CheckpointRunner(MjlabOnPolicyRunner):
    """The last base of a runner for TruDi: what ``super().save`` of the task's own runner calls."""

    def save(self, path: str, infos: dict[str, Any] | None = None) -> None:
        """Write the checkpoint atomically, with the environment's step counter as mjlab's runner does."""
        state = {"common_step_counter": self.env.unwrapped.common_step_counter}
        OnPolicyRunner._write_checkpoint(self, path, {**(infos or {}), "env_state": state})  # pyright: ignore


def trudi_runner(task: str, runner: type | None) -> type:
    """Return the class that trains a task with TruDi, derived from its own runner class, if any, for its files."""
    base = runner or ExportingRunner
    return type(f"TruDi{base.__name__}", (TruDiRunner, base, CheckpointRunner), {"task": task, "__module__": __name__})
