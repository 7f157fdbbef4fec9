# SPDX-License-Identifier: BSD-3-Clause
"""Returns and lengths of finished episodes are those that RSL-RL's logger sums up."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE
from trudi_rsl.runners.episode_log import EpisodeLog

NUM_ENVS, NUM_STEPS = 5, 12
NAMES = ("rewbuffer", "lenbuffer", "cur_reward_sum", "cur_episode_length")
RND_NAMES = ("erewbuffer", "irewbuffer", "cur_ereward_sum", "cur_ireward_sum")


@pytest.mark.skipif(POLICY_STYLE, reason="RSL-RL 3's runner logs by itself")
@pytest.mark.parametrize("with_rnd", [False, True])
def test_the_log_of_episodes_is_rsl_rls_after_every_flush(with_rnd: bool) -> None:
    from rsl_rl.utils.logger import Logger

    cfg = {"algorithm": {"rnd_cfg": {"weight": 1.0} if with_rnd else None}}
    stock: Any
    own: Any
    stock, own = (Logger(None, cfg, {}, NUM_ENVS, False, 1, 0, "cpu") for _ in range(2))
    stock.writer = own.writer = object()
    episodes = EpisodeLog(SimpleNamespace(logger=own))
    torch.manual_seed(0)
    for step in range(NUM_STEPS):
        rewards, dones = torch.randn(NUM_ENVS), torch.randint(0, 2, (NUM_ENVS,))
        intrinsic = torch.rand(NUM_ENVS) if with_rnd else None
        stock.process_env_step(rewards.clone(), dones, extras := {"log": {"a": step}}, intrinsic)
        episodes.add(rewards, dones, extras, intrinsic)
        if step % 4 == 3:
            episodes.flush()
            for name in NAMES + RND_NAMES * with_rnd:
                values = [getattr(log, name) for log in (own, stock)]
                own_values, stock_values = (v.tolist() if isinstance(v, torch.Tensor) else list(v) for v in values)
                assert own_values == stock_values, name
    assert own.ep_extras == stock.ep_extras and len(stock.rewbuffer) > NUM_STEPS


def test_a_reward_that_is_not_finite_counts_as_zero() -> None:
    sums = {name: torch.zeros(2) for name in ("cur_reward_sum", "cur_episode_length")}
    log = SimpleNamespace(writer=object(), ep_extras=[], rewbuffer=[], lenbuffer=[], **sums)
    episodes = EpisodeLog(SimpleNamespace(logger=log))
    episodes.add(torch.tensor([torch.nan, torch.inf]), torch.tensor([0, 0]), {}, None)
    episodes.add(torch.tensor([1.0, 2.0]), torch.tensor([1, 1]), {}, None)
    episodes.flush()
    assert (log.rewbuffer, log.lenbuffer) == ([1.0, 2.0], [2.0, 2.0])
