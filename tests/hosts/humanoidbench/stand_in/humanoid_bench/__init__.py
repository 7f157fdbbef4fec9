# SPDX-License-Identifier: BSD-3-Clause
"""A stand-in for HumanoidBench that has its habits, with a sliding point in place of a humanoid.

It imports JAX, lists a field that MuJoCo does not have, draws from NumPy's global generator, keeps goals and stages in
``env.task``, changes the model at a reset, and makes an OpenGL context unless a render mode says otherwise.
"""

from gymnasium.envs.registration import register

from humanoid_bench.env import TASKS  # pyright: ignore[reportMissingImports]

for task, cls in TASKS.items():
    register(
        f"h1hand-{task}-v0",
        entry_point="humanoid_bench.env:HumanoidEnv",
        max_episode_steps=cls.max_episode_steps,
        kwargs={"robot": "h1hand", "control": "pos", "task": task},
    )
