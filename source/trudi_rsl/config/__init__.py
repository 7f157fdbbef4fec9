# SPDX-License-Identifier: BSD-3-Clause
"""Configuration of runs: composition with Hydra, and the folders runs are kept in."""

import trudi_rsl.rsl_rl_compat  # noqa: F401  refuses unsupported versions of RSL-RL before they are used
from trudi_rsl.config.compose import compose
from trudi_rsl.config.presets import task_preset
from trudi_rsl.config.run_folder import (
    checkpoints_in,
    create_run_folder,
    experiment_folder,
    find_checkpoint,
    load_params,
    resume_path,
    save_params,
)

__all__ = [
    "checkpoints_in",
    "compose",
    "create_run_folder",
    "experiment_folder",
    "find_checkpoint",
    "load_params",
    "resume_path",
    "save_params",
    "task_preset",
]
