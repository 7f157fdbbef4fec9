# SPDX-License-Identifier: BSD-3-Clause
# pyright: reportMissingImports=false
"""Wrong settings are named together with what is possible."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from trudi_rsl.errors import ConfigError
from trudi_rsl.hosts.maniskill.env import ManiSkillVecEnv


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"task": "PushCub-v1"}, "no task 'PushCub-v1'.*'PushCube-v1'"),
        ({"num_envs": 0}, "num_envs must be an integer of at least 1"),
        ({"max_episode_steps": 0}, "max_episode_steps must be an integer of at least 1"),
        ({"obs_mode": "rgb"}, "env.obs_mode=rgb is not supported.*'state'.*images"),
        ({"reward_mode": "normalised_dense"}, "no reward mode 'normalised_dense'.*'normalized_dense'"),
        ({"task": "PlugCharger-v1", "reward_mode": "dense"}, "no reward mode 'dense'.*sparse"),
        ({"control_mode": "pd_joint_delta"}, "no control mode 'pd_joint_delta' .*'pd_joint_delta_pos'"),
        ({"on_success": "stop"}, "env.on_success=stop.*bootstrap, ignore, terminate"),
        ({"sim_backend": "cpu"}, "env.sim_backend=cpu.*'physx_cpu'"),
        ({"sim_backend": "physx_cuda"}, "needs a CUDA device; --device is cpu"),
        ({"workers": 3}, r"env.workers must be auto.*\(2\); got 3"),
        ({"workers": "many"}, "env.workers must be auto.*'many'"),
        ({"env_kwargs": {"robot_uid": "panda"}}, "no option 'robot_uid'.*'robot_uids'"),
        ({"env_kwargs": {"obs_mode": "rgb"}}, "env.env_kwargs.obs_mode is a setting of its own: env.obs_mode"),
        ({"env_kwargs": {"robot_uids": "pandaa"}}, "PushCube-v1.*pandaa"),
    ],
)
def test_an_impossible_setting_is_named_with_what_is_possible(settings: dict[str, Any], named: str) -> None:
    arguments = {"task": "PushCube-v1", "num_envs": 2} | settings
    with pytest.raises(ConfigError, match=named) as refused:
        ManiSkillVecEnv(**arguments)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_machine_without_vulkan_device_is_told_the_packages_that_help() -> None:
    code = "from trudi_rsl.hosts.maniskill import ManiSkillVecEnv; ManiSkillVecEnv('PushCube-v1', 1)"
    hidden = dict.fromkeys(("VK_DRIVER_FILES", "VK_ICD_FILENAMES"), os.devnull)
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, **hidden}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    error = done.stderr.strip().splitlines()[-1]
    assert error.startswith("trudi_rsl.errors.ConfigError: ManiSkill needs a Vulkan device")
    assert "apt install mesa-vulkan-drivers libvulkan1" in error
