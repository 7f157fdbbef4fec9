# SPDX-License-Identifier: BSD-3-Clause
"""The runner under RSL-RL 3, whose algorithms and logger have other methods than those of newer versions."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import rsl_rl.runners
import rsl_rl.utils
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor

from trudi_rsl import algorithms
from trudi_rsl.algorithms.policy_gradient import PolicyGradient
from trudi_rsl.rsl_rl_3.policy import ALGORITHMS, DiffusionActorCritic, TruDi
from trudi_rsl.rsl_rl_compat.contract import policy_sets
from trudi_rsl.runners import on_policy_runner

StockRunner: Any = rsl_rl.runners.OnPolicyRunner  # type checkers see the newest version's


def _runner_attribute(name: str) -> Any:
    """Return a property that reads and writes an attribute of ``self._runner``."""
    return property(lambda self: getattr(self._runner, name), lambda self, value: setattr(self._runner, name, value))


class OnPolicyRunner(on_policy_runner.OnPolicyRunner):
    """See :class:`trudi_rsl.runners.on_policy_runner.OnPolicyRunner`.

    For TruDi, configurations of newer versions work too (``obs_groups`` with an ``actor`` set, no ``policy`` section,
    any class name that ends in TruDi, REPPO or DIME). Checkpoints have the layout of RSL-RL 3's stock runner; those of
    newer versions can be loaded.
    """

    def __init__(self, env: VecEnv, train_cfg: dict[str, Any], log_dir: str | None = None, device: str = "cpu") -> None:
        train_cfg.setdefault("policy", {})
        train_cfg["obs_groups"] = policy_sets(train_cfg.get("obs_groups") or {})
        train_cfg["algorithm"].setdefault("rnd_cfg", None)
        super().__init__(env, train_cfg, log_dir, device)
        if not hasattr(self, "logger"):
            self.logger: Any = RunnerLogger(self)

    def _construct_algorithm(self, obs: TensorDict) -> Any:
        class_name = str(self.cfg["algorithm"]["class_name"])
        kind = next((kind for name, kind in ALGORITHMS.items() if class_name.endswith(name)), None)
        if kind is None:
            relative = getattr(algorithms, class_name.rpartition(":")[2], None)
            if isinstance(relative, type) and issubclass(relative, PolicyGradient):
                relative.check_version()
            return super()._construct_algorithm(obs)  # pyright: ignore[reportAttributeAccessIssue]
        sections = [{k: v for k, v in self.cfg[name].items() if k != "class_name"} for name in ("policy", "algorithm")]
        env: Any = self.env
        multi_gpu_cfg = self.multi_gpu_cfg  # pyright: ignore[reportAttributeAccessIssue]  not in newer versions
        policy = DiffusionActorCritic(obs, self.cfg["obs_groups"], env.num_actions, env=env, **sections[0])
        algorithm = kind(policy, device=self.device, multi_gpu_cfg=multi_gpu_cfg, **sections[1])
        algorithm.init_storage("rl", env.num_envs, self.cfg["num_steps_per_env"])
        return algorithm

    def train_mode(self) -> None:
        """Switch policy and RND to training mode."""
        StockRunner.train_mode(self)

    def _action_std(self) -> Tensor:
        algorithm: Any = self.alg
        return algorithm.policy.action_std

    def _algorithm_state(self) -> dict[str, Any]:
        algorithm: Any = self.alg
        state = {
            "model_state_dict": algorithm.policy.state_dict(),
            "optimizer_state_dict": algorithm.optimizer.state_dict(),
        }
        if self.cfg["algorithm"]["rnd_cfg"]:
            state["rnd_state_dict"] = algorithm.rnd.state_dict()
            if algorithm.rnd_optimizer:
                state["rnd_optimizer_state_dict"] = algorithm.rnd_optimizer.state_dict()
        return state

    def _load_algorithm_state(self, checkpoint: dict[str, Any], load_cfg: dict[str, bool] | None, strict: bool) -> bool:
        """Load the algorithm's part of a checkpoint of any version; PPO's critic is loaded whatever ``load_cfg``."""
        algorithm: Any = self.alg
        if isinstance(algorithm, TruDi):
            return algorithm.load(checkpoint, load_cfg, strict)
        resumes = algorithm.policy.load_state_dict(checkpoint["model_state_dict"])
        has_rnd = bool(self.cfg["algorithm"]["rnd_cfg"])
        if has_rnd:
            algorithm.rnd.load_state_dict(checkpoint["rnd_state_dict"])
        if resumes and (load_cfg is None or load_cfg.get("optimizer")):
            algorithm.optimizer.load_state_dict(checkpoint["optimizer_state_dict"])
            if has_rnd:
                algorithm.rnd_optimizer.load_state_dict(checkpoint["rnd_optimizer_state_dict"])
        return resumes and (load_cfg is None or load_cfg.get("iteration", False))

    def export_policy_to_jit(self, path: str, filename: str = "policy.pt") -> None:
        """Export the policy as a TorchScript file."""
        Path(path).mkdir(parents=True, exist_ok=True)
        torch.jit.script(self.alg.get_policy().as_jit().to("cpu")).save(str(Path(path) / filename))


class RunnerLogger:
    """The logger of newer versions on top of the runner of RSL-RL 3.0 and 3.1, which logs by itself."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner
        self.log_dir = runner.log_dir
        self.ep_extras: list[dict[str, Any]] = []
        self.rewbuffer, self.erewbuffer, self.irewbuffer, self.lenbuffer = (deque[float](maxlen=100) for _ in range(4))
        self.cur_reward_sum, self.cur_ereward_sum, self.cur_ireward_sum, self.cur_episode_length = (
            torch.zeros(runner.env.num_envs, device=runner.device) for _ in range(4)
        )

    writer = _runner_attribute("writer")
    tot_timesteps = _runner_attribute("tot_timesteps")
    tot_time = _runner_attribute("tot_time")

    def init_logging_writer(self) -> None:
        """Make the writer, unless an earlier training has."""
        self._runner._prepare_logging_writer()

    def log(
        self, it: int, start_it: int, total_it: int, collect_time: float, learn_time: float, losses: Any, **_: Any
    ) -> None:
        """Log an iteration, and the code's state in the first."""
        if self.writer is None:
            return
        runner = self._runner
        buffers = {name: getattr(self, name) for name in ("rewbuffer", "lenbuffer", "erewbuffer", "irewbuffer")}
        counts = {
            "it": it,
            "start_iter": start_it,
            "tot_iter": total_it,
            "num_learning_iterations": total_it - start_it,
        }
        times = {"collection_time": collect_time, "learn_time": learn_time}
        runner.log({**counts, **times, **buffers, "loss_dict": losses, "ep_infos": self.ep_extras})
        if it == start_it:
            files = rsl_rl.utils.store_code_state(self.log_dir, runner.git_status_repos)  # pyright: ignore
            if runner.logger_type in ("wandb", "neptune"):
                for path in files:
                    runner.writer.save_file(path)

    def save_model(self, path: str, it: int) -> None:
        """Upload a checkpoint to a log service."""
        if self._runner.logger_type in ("wandb", "neptune"):
            self.writer.save_model(path, it)
