# SPDX-License-Identifier: BSD-3-Clause
"""TruDi under the stock runner of RSL-RL 3, which builds a policy first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tensordict import TensorDict

from tests.rsl_rl.helpers import algorithm, runner_cfg, stock, stock_cfg
from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.rsl_rl_compat.version import POLICY_STYLE
from trudi_rsl.runners import OnPolicyRunner

pytestmark = pytest.mark.skipif(not POLICY_STYLE, reason="RSL-RL 4 and newer build no policy of their own")

TASK = "InvertedPendulum-v5"
PPO_POLICY = {"class_name": "ActorCritic", "actor_hidden_dims": [8], "critic_hidden_dims": [8]}


def runner_of(policy: dict[str, Any], tmp_path: Path, **settings: Any) -> Any:
    """Return the stock runner with another ``policy`` section than :func:`stock` gives it."""
    from rsl_rl.runners import OnPolicyRunner as StockRunner

    env = GymnasiumVecEnv(TASK, 3, seed=1)
    cfg = stock_cfg(runner_cfg(), env)
    cfg["policy"] = dict(policy)
    cfg["algorithm"] |= settings
    return StockRunner(env, cfg, str(tmp_path), "cpu")


def trained(tmp_path: Path) -> tuple[Any, str]:
    """Return a stock runner after two iterations, and its last checkpoint."""
    runner = stock(GymnasiumVecEnv(TASK, 3, seed=1), runner_cfg(), tmp_path)
    runner.learn(2, init_at_random_ep_len=True)
    return runner, str(tmp_path / "model_1.pt")


def weights(runner: Any) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in algorithm(runner).get_policy().state_dict().items()}


def test_the_plain_name_takes_the_configured_bounds_and_is_refused_without_them(tmp_path: Path) -> None:
    runner = runner_of({"class_name": "DiffusionActorCritic"}, tmp_path, action_bounds=[-2.0, 4.0])
    runner.learn(1)
    assert algorithm(runner).get_policy().action_scale.tolist() == [3.0]
    with pytest.raises(ConfigError, match=r"for_env\(self\.env\).*.action_bounds.\] = \[-1\.0, 1\.0\]"):
        runner_of({"class_name": "DiffusionActorCritic"}, tmp_path)


def test_ppos_policy_settings_are_named_and_ignored_and_its_policy_is_refused(tmp_path: Path) -> None:
    leftovers = {"actor_hidden_dims": [999], "init_noise_std": 1.0, "activation": "elu", "noise_std_type": None}
    with pytest.warns(UserWarning, match="policy section: activation, actor_hidden_dims, init_noise_std"):
        runner = runner_of({"class_name": "DiffusionActorCritic"} | leftovers, tmp_path, action_bounds=[-1.0, 1.0])
    assert algorithm(runner).cfg.actor_hidden_dims == runner_cfg()["algorithm"]["actor_hidden_dims"]

    with pytest.raises(ConfigError, match=r"cannot train the policy ActorCritic; .*DiffusionActorCritic"):
        runner_of(PPO_POLICY, tmp_path)


def test_the_exported_actor_gives_the_policys_own_actions(tmp_path: Path) -> None:
    policy = trained(tmp_path)[0].alg.policy
    obs = torch.randn(5, 4)
    scripted = torch.jit.script(policy.actor)
    expected = policy.act_inference(TensorDict({"policy": obs}, batch_size=[5]))
    torch.testing.assert_close(scripted(obs), expected)
    assert policy.actor[0].in_features == 4 and not policy.is_recurrent
    # Isaac Lab's script would put a normaliser that it finds before one that is inside already
    assert not hasattr(policy, "actor_obs_normalizer")


def test_loading_without_the_optimiser_keeps_multipliers_and_random_numbers(tmp_path: Path) -> None:
    source, path = trained(tmp_path)
    target: Any = stock(GymnasiumVecEnv(TASK, 3, seed=1), runner_cfg())
    random_numbers, alpha = torch.get_rng_state(), algorithm(target).learner.alpha
    target.load(path, load_optimizer=False)
    assert torch.equal(torch.get_rng_state(), random_numbers)
    assert torch.equal(algorithm(target).learner.alpha, alpha)
    assert not algorithm(target).learner.optimizers["actor"].state
    theirs = weights(source)
    assert all(torch.equal(v, theirs[k]) for k, v in weights(target).items())


def test_a_ppo_checkpoint_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    cfg = stock_cfg(runner_cfg(), None) | {"policy": dict(PPO_POLICY)}
    cfg["algorithm"] = {"class_name": "PPO", "num_learning_epochs": 1, "num_mini_batches": 1, "rnd_cfg": None}
    ppo = OnPolicyRunner(GymnasiumVecEnv(TASK, 3), cfg, str(tmp_path), "cpu")
    ppo.learn(1)
    before = weights(target := stock(GymnasiumVecEnv(TASK, 3), runner_cfg()))
    with pytest.raises(CheckpointError, match="RSL-RL PPO"):
        target.load(str(tmp_path / "model_0.pt"))
    assert all(torch.equal(v, before[k]) for k, v in weights(target).items())


def test_our_runner_and_the_stock_one_read_each_others_checkpoints(tmp_path: Path) -> None:
    source, path = trained(tmp_path / "stock")
    ours = OnPolicyRunner(GymnasiumVecEnv(TASK, 3, seed=1), runner_cfg(), str(tmp_path / "ours"), "cpu")
    ours.load(path)
    assert ours.current_learning_iteration == source.current_learning_iteration == 1
    ours.learn(1)
    again = stock(GymnasiumVecEnv(TASK, 3, seed=1), runner_cfg())
    again.load(str(tmp_path / "ours" / "model_2.pt"))
    expected = weights(ours)
    assert all(torch.equal(v, expected[k]) for k, v in weights(again).items())


def test_a_checkpoint_alone_rebuilds_the_policy_under_any_version(tmp_path: Path) -> None:
    runner, path = trained(tmp_path)
    obs = TensorDict({"policy": torch.randn(5, 4)}, batch_size=[5])
    with torch.no_grad():
        torch.testing.assert_close(
            load_actor_critic(path)[0](obs), runner.alg.policy.act_inference(obs), rtol=0, atol=0
        )


def test_our_runner_reads_checkpoints_of_newer_versions(tmp_path: Path) -> None:
    source, _ = trained(tmp_path)
    path = str(tmp_path / "newer.pt")
    torch.save(algorithm(source).save() | {"iter": 7, "infos": None}, path)
    ours = OnPolicyRunner(GymnasiumVecEnv(TASK, 3), runner_cfg(), None, "cpu")
    ours.load(path)
    expected = weights(source)
    assert ours.current_learning_iteration == 7
    assert all(torch.equal(v, expected[k]) for k, v in weights(ours).items())
