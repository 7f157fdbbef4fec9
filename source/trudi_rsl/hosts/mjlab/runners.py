# SPDX-License-Identifier: BSD-3-Clause
"""mjlab's runners with what TruDi adds to RSL-RL's."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any, ClassVar

from mjlab.envs import ManagerBasedRlEnv  # pyright: ignore[reportMissingImports]
from mjlab.rl import MjlabOnPolicyRunner, RslRlVecEnvWrapper  # pyright: ignore[reportMissingImports]
from mjlab.rl.exporter_utils import attach_metadata_to_onnx  # pyright: ignore[reportMissingImports]

from trudi_rsl.algorithms import TruDi
from trudi_rsl.hosts.mjlab.description import robot_metadata
from trudi_rsl.hosts.mjlab.last_observations import last_observations
from trudi_rsl.hosts.mjlab.task import Task
from trudi_rsl.runners import OnPolicyRunner


class ExportingRunner(MjlabOnPolicyRunner):
    """mjlab's runner, writing ``<run>.onnx`` at every checkpoint as the runners of mjlab's robots do.

    Tasks that mjlab has no metadata for get the plain file, and are told so once.
    """

    _told = False

    def save(self, path: str, infos: dict[str, Any] | None = None) -> None:
        """Save a checkpoint and export the policy; a failing export is told and training goes on."""
        super().save(path, infos)
        folder, filename, file = self._get_export_paths(path)
        to_wandb = self.logger.logger_type in ("wandb", "WandbLogWriter")
        wandb = importlib.import_module("wandb") if to_wandb else None
        try:
            self.export_policy_to_onnx(str(folder), filename)
            run = wandb.run.name if wandb and wandb.run else "local"
            metadata = robot_metadata(self.env.unwrapped, run)
            if metadata is not None:
                attach_metadata_to_onnx(str(file), metadata)
            elif not self._told:
                self._told = True
                print(f"[trudi_rsl] {filename} has no metadata: mjlab describes robots with a joint_pos action only.")
            if wandb and self.cfg["upload_model"]:
                wandb.save(str(file), base_path=str(folder))
        except Exception as error:
            print(f"[trudi_rsl] Could not export the policy as ONNX; training goes on: {error}")


class TruDiRunner(OnPolicyRunner):
    """What TruDi adds to a runner of mjlab, to be put before that in a class's bases.

    Beside what :class:`trudi_rsl.runners.OnPolicyRunner` adds, TruDi learns from the true last observations of
    episodes, if its ``final_observations`` are on. Files are exported by mjlab's runner, which may put more
    than the policy into them.
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
        # mjlab's environments don't know their names, by which checkpoints are told apart
        env.task = self.task
        train_cfg.setdefault("check_for_nan", False)
        super().__init__(env, train_cfg, log_dir, device, **host_options)

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        """Train for a number of iterations; see :class:`trudi_rsl.runners.OnPolicyRunner`."""
        given = self.env
        tells_last = isinstance(self.alg, TruDi) and self.alg.cfg.final_observations
        with last_observations(given) if tells_last else contextlib.nullcontext(given) as env:
            self.env = env
            try:
                super().learn(num_learning_iterations, init_at_random_ep_len)
            finally:
                self.env = given

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
        """Return environments of the task's variant for playing, with the time limit of training.

        Args:
            num_envs: How many, at least 1.
            seed: Their seed.
        """
        from trudi_rsl.hosts.mjlab.play import PlayedEnv, playing_cfg  # needs the `export` extra

        assert self.task is not None, "trudi_runner sets it"
        cfg = playing_cfg(Task(self.task, "trudi"), num_envs, seed)
        cfg.episode_length_s = self.env.unwrapped.cfg.episode_length_s
        env = ManagerBasedRlEnv(cfg, str(self.env.device))
        return PlayedEnv(env, self.task, self.env.clip_actions)

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
    """Return the runner class for TruDi on a task.

    Args:
        task: Task name, which checkpoints will carry.
        runner: The task's own runner class, which writes what belongs to the task beside checkpoints; None if it has
            none.
    """
    base = runner or ExportingRunner
    return type(f"TruDi{base.__name__}", (TruDiRunner, base, CheckpointRunner), {"task": task, "__module__": __name__})
