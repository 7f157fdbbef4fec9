# SPDX-License-Identifier: BSD-3-Clause
"""The configurations of TruDi's learner as dataclasses that mjlab's command line shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from mjlab.rl import RslRlBaseRunnerCfg  # pyright: ignore[reportMissingImports]

from trudi_rsl.algorithms.config import TruDiCfg
from trudi_rsl.algorithms.family import DIMECfg, REPPOCfg
from trudi_rsl.rsl_rl_compat import ALGORITHM_CLASS_NAME


@dataclass
class TruDiAlgorithmCfg(TruDiCfg):
    """Settings of TruDi; fields, help and checks are those of :class:`trudi_rsl.algorithms.config.TruDiCfg`."""

    class_name: str = ALGORITHM_CLASS_NAME
    """Algorithm class name resolved by RSL-RL."""


@dataclass
class REPPOAlgorithmCfg(REPPOCfg, TruDiAlgorithmCfg):
    """Settings of REPPO; fields, help and checks are those of :class:`trudi_rsl.algorithms.family.REPPOCfg`."""


@dataclass
class DIMEAlgorithmCfg(DIMECfg, TruDiAlgorithmCfg):
    """Settings of DIME; fields, help and checks are those of :class:`trudi_rsl.algorithms.family.DIMECfg`."""


@dataclass
class TruDiRunnerCfg(RslRlBaseRunnerCfg):
    """Runner settings for TruDi; there are no model sections, since network sizes are settings of the algorithm."""

    num_steps_per_env: int = 64
    """Environment steps per iteration. The paper collects 64 in Isaac Lab where the tasks' PPO collects 24: the policy
    moves by at most `kl_bound` per iteration, and TD(lambda) looks about 20 steps ahead."""
    evaluation_episodes: int | None = None
    """Episodes of the task's variant for playing in which the policy of every checkpoint is evaluated, in environments
    beside those of training, at least 1; the highest mean return makes `best.pt`. None evaluates none."""
    keep_checkpoints: int | None = None
    """Newest checkpoints that stay in the run folder, beside the best, at least 1; None keeps all."""
    class_name: str = "OnPolicyRunner"
    """The runner class name, as in PPO's configuration."""
    algorithm: TruDiAlgorithmCfg = field(default_factory=TruDiAlgorithmCfg)
    """Settings of TruDi."""
