# SPDX-License-Identifier: BSD-3-Clause
"""Tasks with several equally good behaviours, and tasks that need a memory. Importing this package registers them."""

import gymnasium as gym

from trudi_rsl.evaluation.modes import BehaviourModes, find_modes, register_modes
from trudi_rsl.tasks import planar_obstacle, positions_only, push_t

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

# angle and height, joint angles
positions_only.register("PartialHopper-v0", "Hopper-v5", num_positions=5)
# position of the cart, angle of the pole
positions_only.register("PartialInvertedPendulum-v0", "InvertedPendulum-v5", num_positions=2)
# position of the cart, sines and cosines of the angles
positions_only.register("PartialInvertedDoublePendulum-v0", "InvertedDoublePendulum-v5", num_positions=5)
