# SPDX-License-Identifier: BSD-3-Clause
"""RSL-RL 3's runner with what is called of RSL-RL 4's, for TruDi and for PPO."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import rsl_rl.runners
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from trudi_rsl import algorithms
from trudi_rsl.algorithms.policy_gradient import PolicyGradient
from trudi_rsl.rsl_rl_3.policy import DiffusionActorCritic, TruDi
from trudi_rsl.rsl_rl_compat.contract import policy_sets

StockRunner: Any = rsl_rl.runners.OnPolicyRunner  # type checkers see the newest version's


class OnPolicyRunner(StockRunner):
    """RSL-RL 3's on-policy runner.

    Takes the configurations of newer versions for TruDi (``obs_groups`` with an ``actor`` set, no ``policy`` section,
    any class name that ends in TruDi). Its checkpoints are those of the stock runner of RSL-RL 3.
    """

    logger_type = ""  # 3.0 and 3.1 set this when they first log, and read it whenever they save

    def __init__(self, env: VecEnv, train_cfg: dict[str, Any], log_dir: str | None = None, device: str = "cpu") -> None:
        train_cfg.setdefault("policy", {})
        train_cfg["obs_groups"] = policy_sets(train_cfg.get("obs_groups") or {})
        train_cfg["algorithm"].setdefault("rnd_cfg", None)
        super().__init__(env, train_cfg, log_dir, device)
        if not hasattr(self, "logger"):  # in 3.0 and 3.1 the runner logs by itself
            self.logger = self
        if log_dir is None:  # what the stock runner would write to it none the less
            self.disable_logs = True
            self.cfg["save_interval"] = math.nan

    def _construct_algorithm(self, obs: TensorDict) -> Any:
        class_name = str(self.cfg["algorithm"]["class_name"])
        if not class_name.endswith("TruDi"):
            relative = getattr(algorithms, class_name.rpartition(":")[2], None)
            if isinstance(relative, type) and issubclass(relative, PolicyGradient):
                relative.check_version()
            return super()._construct_algorithm(obs)
        sections = [{k: v for k, v in self.cfg[name].items() if k != "class_name"} for name in ("policy", "algorithm")]
        env = self.env
        policy = DiffusionActorCritic(obs, self.cfg["obs_groups"], env.num_actions, env=env, **sections[0])
        algorithm = TruDi(policy, device=self.device, multi_gpu_cfg=self.multi_gpu_cfg, **sections[1])
        algorithm.init_storage("rl", env.num_envs, self.cfg["num_steps_per_env"])
        return algorithm

    def load(
        self, path: str, load_cfg: dict[str, bool] | None = None, strict: bool = True, map_location: str | None = None
    ) -> dict[str, Any]:
        """Load a checkpoint of any version; see RSL-RL 4's runner. For PPO ``load_cfg`` cannot leave out the critic."""
        if not isinstance(self.alg, TruDi):
            iteration = self.current_learning_iteration
            infos = super().load(path, load_cfg is None or load_cfg.get("optimizer", False), map_location)
            if load_cfg is not None and not load_cfg.get("iteration"):
                self.current_learning_iteration = iteration
            return infos
        checkpoint = torch.load(path, weights_only=False, map_location=map_location)
        if self.alg.load(checkpoint, load_cfg, strict):
            self.current_learning_iteration = checkpoint["iter"]
        return checkpoint["infos"]

    def export_policy_to_jit(self, path: str, filename: str = "policy.pt") -> None:
        """Export the policy as a TorchScript file."""
        Path(path).mkdir(parents=True, exist_ok=True)
        torch.jit.script(self.alg.get_policy().as_jit().to("cpu")).save(str(Path(path) / filename))
