# SPDX-License-Identifier: BSD-3-Clause
"""Configurations for RSL-RL: PPO, and the same with TruDi in its place."""

from isaaclab.utils import configclass  # pyright: ignore[reportMissingImports]
from isaaclab_rl.rsl_rl import (  # pyright: ignore[reportMissingImports]
    RslRlMLPModelCfg,
    RslRlOnPolicyRunnerCfg,
    RslRlPpoAlgorithmCfg,
)


@configclass
class PPORunnerCfg(RslRlOnPolicyRunnerCfg):
    """PPO with two small networks."""

    num_steps_per_env = 32
    max_iterations = 200
    save_interval = 50
    experiment_name = "pendulum_swing_up"
    obs_groups = {"actor": ["policy"], "critic": ["policy"]}  # noqa: RUF012
    actor = RslRlMLPModelCfg(
        hidden_dims=[64, 64],
        activation="elu",
        obs_normalization=True,
        distribution_cfg=RslRlMLPModelCfg.GaussianDistributionCfg(init_std=1.0),
    )
    critic = RslRlMLPModelCfg(hidden_dims=[64, 64], activation="elu", obs_normalization=True)
    algorithm = RslRlPpoAlgorithmCfg(
        value_loss_coef=1.0,
        use_clipped_value_loss=True,
        clip_param=0.2,
        entropy_coef=0.005,
        num_learning_epochs=5,
        num_mini_batches=4,
        learning_rate=1.0e-3,
        schedule="adaptive",
        gamma=0.99,
        lam=0.95,
        desired_kl=0.01,
        max_grad_norm=1.0,
    )


@configclass
class SwappedRunnerCfg(PPORunnerCfg):
    """The same, trained by TruDi."""

    def __post_init__(self) -> None:
        """Swap the algorithm; this is the one line."""
        self.algorithm.class_name = "trudi_rsl.algorithms:TruDi"
