# SPDX-License-Identifier: BSD-3-Clause
"""A stock task with its symmetry configuration, and with RND, trains in the simulator as its PPO would."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from isaaclab.utils import to_dict  # pyright: ignore[reportMissingImports]
from isaaclab_rl.rsl_rl.rnd_cfg import RslRlRndCfg  # pyright: ignore[reportMissingImports]
from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry  # pyright: ignore[reportMissingImports]
from rsl_rl.runners import OnPolicyRunner

from tests.hosts.isaaclab_3_0.commands import SMALL
from tests.hosts.isaaclab_3_0.in_process import make
from trudi_rsl.hosts.isaaclab.conversion import convert

TASK = "Isaac-Cartpole"
SYMMETRY_KEY = "rsl_rl_with_symmetry_cfg_entry_point"


def trained(env: Any, ppo: Any) -> Any:
    """Return the algorithm after one iteration of the task's configuration for TruDi, under RSL-RL's own runner."""
    cfg = to_dict(convert(TASK, ppo, "trudi")) | {"num_steps_per_env": 4, "max_iterations": 1}
    cfg["algorithm"] |= SMALL | {"compile": "off", "num_denoise_steps": 2}
    runner: Any = OnPolicyRunner(env, cfg, None, "cpu")
    runner.learn(1)
    return runner.alg


@pytest.mark.slow
def test_a_task_learns_from_its_stock_mirror_images_and_with_rnd() -> None:
    with make(TASK, 4) as env:
        symmetric = trained(env, load_cfg_from_registry(TASK, SYMMETRY_KEY))
        terms, storage = symmetric.symmetry.terms, symmetric.storage
        assert terms.augments and terms.mirrors.num_maps == 2
        rows = next(storage.index_batches(1, 1))
        images, originals = symmetric.symmetry.images(rows), storage.minibatch(rows).actor_obs
        assert images.actor_obs.shape == originals.shape
        assert torch.isfinite(images.next_features).all() and not torch.equal(images.actor_obs, originals)

        ppo = load_cfg_from_registry(TASK, "rsl_rl_cfg_entry_point")
        ppo.algorithm.rnd_cfg = RslRlRndCfg(weight=0.2, predictor_hidden_dims=[8], target_hidden_dims=[8])
        curious = trained(env, ppo)
        assert curious.rnd.update_counter == 4
        assert curious.rnd.weight == pytest.approx(0.2 * env.unwrapped.step_dt)
