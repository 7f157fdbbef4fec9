# SPDX-License-Identifier: BSD-3-Clause
"""Whether episodes of Gymnasium tasks succeeded, where the task tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

NAMES = ("is_success", "success")
"""What tasks call it in their ``info``: Gymnasium-Robotics and Stable-Baselines3, Meta-World and others."""


def episode_success(infos: Mapping[str, Any], num_envs: int) -> np.ndarray | None:
    """Return what the last step of each episode that ended said of its success.

    Args:
        infos: Of a vector environment that resets in the same step.
        num_envs: E.

    Returns:
        ``[E]`` float32, 0 or 1, NaN where no episode ended; None if no episode that ended tells.
    """
    final = infos.get("final_info", {})
    name = next((name for name in NAMES if name in final), None)
    if name is None:
        return None
    told = final[f"_{name}"]
    success = np.full(num_envs, np.nan, dtype=np.float32)
    success[told] = np.asarray(final[name])[told].astype(np.float32)
    return success
