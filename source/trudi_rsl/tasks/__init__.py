# SPDX-License-Identifier: BSD-3-Clause
"""Tasks with several equally good behaviours. Importing this package registers them with Gymnasium."""

import gymnasium as gym

from trudi_rsl.evaluation.modes import BehaviourModes, find_modes, register_modes
from trudi_rsl.tasks import planar_obstacle, push_t

__all__ = ["BehaviourModes", "find_modes", "register_modes"]

gym.register(
    "PlanarObstacle-v0",
    f"{planar_obstacle.__name__}:{planar_obstacle.PlanarObstacleEnv.__name__}",
    max_episode_steps=planar_obstacle.MAX_EPISODE_STEPS,
    # The checker takes longer than the task itself; tests run it.
    disable_env_checker=True,
)
register_modes("PlanarObstacle-v0", planar_obstacle.MODES)

# The same, seen as a picture.
gym.register(
    "PlanarObstaclePixels-v0",
    f"{planar_obstacle.__name__}:{planar_obstacle.PlanarObstacleEnv.__name__}",
    kwargs={"pixels": 32},
    max_episode_steps=planar_obstacle.MAX_EPISODE_STEPS,
    disable_env_checker=True,
)

gym.register(
    "PlanarPushT-v0",
    # By name, because the module needs MuJoCo.
    "trudi_rsl.tasks.planar_push_t:PlanarPushTEnv",
    max_episode_steps=150,
    disable_env_checker=True,
)
register_modes("PlanarPushT-v0", push_t.MODES)
