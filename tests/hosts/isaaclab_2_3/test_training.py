# SPDX-License-Identifier: BSD-3-Clause
"""TruDi under Isaac Lab 2.3's own wrapper, environment class and exporters, and the stock runner of its RSL-RL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from isaaclab_rl.rsl_rl import export_policy_as_jit, export_policy_as_onnx  # pyright: ignore[reportMissingImports]
from tensordict import TensorDict

from tests.hosts.isaaclab_2_3.point_task import TASK
from trudi_rsl.algorithms import load_actor_critic
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import algorithm_of
from trudi_rsl.errors import CheckpointError
from trudi_rsl.hosts.isaaclab.registration import agent_key

MakeRunner = Callable[..., Any]


def weights(runner: Any) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in runner.alg.get_policy().state_dict().items()}


def test_two_iterations_train_actor_critic_and_normalisers(make_runner: MakeRunner, tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    before = weights(runner)
    runner.learn(2, init_at_random_ep_len=True)
    after = weights(runner)
    parts = ["actor.score_network.output_layer.weight", "critic.value_head.4.weight"]
    for part in [*parts, "actor_obs.normalizer._mean", "critic_obs.normalizer._mean"]:
        assert torch.isfinite(after[part]).all() and not torch.equal(before[part], after[part]), part
    storage = runner.alg.storage
    # Time limits are distinguished from failures; the point reaches the time limit first.
    assert storage.truncated.any()
    assert (storage.actor_obs.shape[-1], storage.critic_obs.shape[-1]) == (4, 5)


@pytest.mark.parametrize("algo", ["reppo", "dime"])
def test_trudis_relatives_train_and_their_checkpoints_name_them(
    make_runner: MakeRunner, tmp_path: Path, algo: str
) -> None:
    runner = make_runner(tmp_path, agent=agent_key(algo))
    before = weights(runner)
    runner.learn(1)
    assert any(not torch.equal(before[name], value) for name, value in weights(runner).items() if "actor" in name)
    assert algorithm_of(read_checkpoint(tmp_path / "model_0.pt")) == algo


@pytest.mark.parametrize(("clip", "bound"), [(None, 1.0), (3.0, 3.0)])
def test_actions_are_scaled_to_the_environments_bounds(
    make_runner: MakeRunner, tmp_path: Path, clip: float | None, bound: float
) -> None:
    runner = make_runner(tmp_path, clip_actions=clip)
    assert runner.alg.get_policy().action_scale.tolist() == [bound, bound]


def test_a_resumed_run_continues_from_the_checkpoint(make_runner: MakeRunner, tmp_path: Path) -> None:
    first = make_runner(tmp_path / "first")
    first.learn(2)
    path = str(tmp_path / "first" / "model_1.pt")
    resumed = make_runner(tmp_path / "resumed")
    resumed.load(path)
    saved, loaded = weights(first), weights(resumed)
    assert all(torch.equal(v, loaded[k]) for k, v in saved.items())
    assert torch.equal(resumed.alg.learner.alpha, first.alg.learner.alpha)
    assert resumed.alg.learner.optimizers["actor"].state
    assert resumed.current_learning_iteration == 1
    resumed.learn(1)
    assert load_actor_critic(tmp_path / "resumed" / "model_1.pt")[1]["task"] == TASK


def test_isaac_labs_exporters_write_the_policys_actions(make_runner: MakeRunner, tmp_path: Path) -> None:
    runner = make_runner(tmp_path)
    runner.learn(2)
    torch.nn.init.normal_(runner.alg.get_policy().actor.score_network.output_layer.weight)
    act = runner.get_inference_policy(device="cpu")
    policy, folder = runner.alg.policy, str(tmp_path / "exported")
    # As in Isaac Lab's play script; the policy has no separate normaliser.
    normalizer = policy.actor_obs_normalizer if hasattr(policy, "actor_obs_normalizer") else None
    export_policy_as_jit(policy, normalizer=normalizer, path=folder, filename="policy.pt")
    export_policy_as_onnx(policy, normalizer=normalizer, path=folder, filename="policy.onnx")

    obs = torch.randn(16, 4)
    with torch.inference_mode():
        expected = act(TensorDict({"policy": obs, "critic": torch.zeros(16, 5)}, batch_size=[16]))
    assert expected.std(0).min() > 0.1, "actions that hardly depend on the observation would compare equal anyway"
    scripted = torch.jit.load(f"{folder}/policy.pt")
    scripted.reset()
    torch.testing.assert_close(scripted(obs), expected, rtol=0, atol=1e-5)
    session = onnxruntime.InferenceSession(f"{folder}/policy.onnx")
    rows = [session.run(["actions"], {"obs": row.numpy()})[0] for row in obs.split(1)]
    torch.testing.assert_close(torch.cat([torch.from_numpy(row) for row in rows]), expected, rtol=0, atol=1e-5)

    # The loop of its play script.
    obs = runner.env.get_observations()
    with torch.inference_mode():
        for _ in range(3):
            actions = act(obs)
            assert actions.shape == (runner.env.num_envs, 2) and torch.isfinite(actions).all()
            obs, _, dones, _ = runner.env.step(actions)
            policy.reset(dones)


def test_a_checkpoint_of_the_tasks_ppo_is_refused(make_runner: MakeRunner, tmp_path: Path) -> None:
    ppo = make_runner(tmp_path, agent="rsl_rl_cfg_entry_point")
    ppo.learn(1)
    runner = make_runner(tmp_path)
    with pytest.raises(CheckpointError, match="RSL-RL PPO"):
        runner.load(str(tmp_path / "model_0.pt"))
