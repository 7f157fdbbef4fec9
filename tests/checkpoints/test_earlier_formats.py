# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints of format 1 and of RSL-RL 3 still rebuild, export and resume.

The files in ``data`` were written by commit 5a002bd after two iterations on InvertedPendulum-v5 with :data:`SETTINGS`,
``rsl_rl_3_trudi.pt`` under rsl-rl-lib 3.1.2 and the others under 5.5.1. ``actions.json`` holds the actions that 5a002bd
computed from them, and those after one more iteration of a resumed run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from tensordict import TensorDict

from tests.properties.drawn import same
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.checkpoints.format import FORMAT, SECTION, algorithm_of, present_format, task_of
from trudi_rsl.checkpoints.rebuild import load_deployable
from trudi_rsl.config import compose
from trudi_rsl.deploy import Policy, export_checkpoint
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.identify import identify
from trudi_rsl.evaluation.policies import load_policy
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.rsl_rl_compat.version import NORMALIZES_IN_UPDATE, PPO_MODELS
from trudi_rsl.runners import OnPolicyRunner

DATA = Path(__file__).with_name("data")
TASK = "InvertedPendulum-v5"
RECORDED: dict[str, Any] = json.loads((DATA / "actions.json").read_text())
OBS = torch.tensor(RECORDED.pop("observations"))
LEARNER = [
    "agent.algorithm.actor_hidden_dims=[8,8]",
    "agent.algorithm.critic_hidden_dim=8",
    "agent.algorithm.num_bins=11",
    "agent.algorithm.value_range=[-10.0,100.0]",
    "agent.algorithm.compile=off",
]
CHAIN = ["agent.algorithm.num_denoise_steps=3"]
MODELS = ["agent.actor.hidden_dims=[8]", "agent.critic.hidden_dims=[8]"]
SETTINGS = {
    "trudi": [*CHAIN, *LEARNER],
    "reppo": LEARNER,
    "dime": [*CHAIN, *LEARNER],
    "ppo": MODELS,
    "spo": MODELS,
    "dppo": [*MODELS, "agent.actor.num_denoise_steps=3"],
    "fpo": [*MODELS, "agent.actor.num_flow_steps=4"],
}
LEARNERS = ["trudi", "reppo", "dime", "rsl_rl_3_trudi"]
FILES = list(RECORDED) if PPO_MODELS else LEARNERS


def algo_of(name: str) -> str:
    return name.removeprefix("rsl_rl_3_")


def agent_cfg(name: str) -> Any:
    small = [*SETTINGS[algo_of(name)], "env.num_envs=2", "agent.num_steps_per_env=8"]
    return compose(TASK, algo_of(name), [*small, "agent.algorithm.num_mini_batches=2"])


def resumed(name: str) -> OnPolicyRunner:
    cfg = agent_cfg(name)
    agent: Any = OmegaConf.to_container(cfg.agent)
    runner = OnPolicyRunner(make_env(TASK, cfg.env, seed=0), agent, log_dir=None, device="cpu")
    runner.load(str(DATA / f"{name}.pt"))
    return runner


def assert_recorded(actions: torch.Tensor, name: str, which: str = "actions") -> None:
    torch.testing.assert_close(actions.squeeze(-1), torch.tensor(RECORDED[name][which]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_a_policy_is_rebuilt_from_the_file_alone(name: str) -> None:
    policy, metadata = load_deployable(DATA / f"{name}.pt")
    assert metadata["task"] == TASK and metadata["algorithm"].lower() == algo_of(name)
    assert_recorded(policy.deterministic_actions(policy.actor_obs({"policy": OBS})), name)


@pytest.mark.parametrize("name", FILES)
def test_training_resumes_as_it_did_when_the_file_was_written(name: str) -> None:
    runner = resumed(name)
    assert runner.current_learning_iteration == 1
    runner.learn(1)
    with torch.no_grad():
        actions = runner.get_inference_policy()(TensorDict({"policy": OBS}, batch_size=[3]))
    if name in LEARNERS or NORMALIZES_IN_UPDATE:  # PPO of another RSL-RL than the recorded one takes other steps
        assert_recorded(actions, name, "resumed")


@pytest.mark.parametrize("name", FILES)
def test_the_file_plays(name: str) -> None:
    path, cfg = DATA / f"{name}.pt", agent_cfg(name)
    agent: Any = OmegaConf.to_container(cfg.agent)
    if name in ("dppo", "fpo"):  # as settings of 5a002bd name the actor, in the run folder beside the file
        agent["actor"]["class_name"] = f"trudi_rsl.modules:{agent['actor']['class_name'].rpartition(':')[2]}"
    algorithm = identify(path, TASK)
    assert algorithm == algo_of(name)
    sampler = SamplerCfg(initial_latent="zeros" if algorithm in ("trudi", "dime") else None)
    policy = load_policy(path, algorithm, make_env(TASK, cfg.env, seed=0), agent, sampler, "cpu", OnPolicyRunner)
    with torch.no_grad():
        assert_recorded(policy(TensorDict({"policy": OBS}, batch_size=[3])), name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "trudi" else pytest.mark.nightly) for name in FILES]
)
def test_the_file_exports(name: str, tmp_path: Path) -> None:
    report = export_checkpoint(DATA / f"{name}.pt", tmp_path)
    policy = Policy(report.onnx)
    assert_recorded(torch.stack([torch.as_tensor(policy({"policy": row.numpy()})) for row in OBS]), name)


@pytest.mark.parametrize("name", FILES)
def test_conversion_keeps_everything_else_and_changes_nothing_twice(name: str) -> None:
    old = torch.load(DATA / f"{name}.pt", weights_only=True)
    content = present_format(old)
    assert algorithm_of(content) == algo_of(name) and task_of(content) == TASK
    assert content["iter"] == old["iter"] and content["infos"]["logger"] == old["infos"]["logger"]
    assert {"rng_state", "env_state", "actor_state_dict", "critic_state_dict", SECTION} <= content.keys()
    assert not {"trudi", "policy_gradient", "model_state_dict"} & content.keys()
    assert content[SECTION]["format"] == FORMAT and same(present_format(content), content)


def test_checkpoints_that_name_neither_actor_nor_constraint_are_trudis() -> None:
    old = torch.load(DATA / "trudi.pt", weights_only=True)
    expected = present_format(old)
    del old["trudi"]["cfg"]["actor"], old["trudi"]["cfg"]["constraint"]
    assert same(present_format(old), expected)


def test_a_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    content = read_checkpoint(DATA / "trudi.pt")
    content[SECTION]["format"] = FORMAT + 1
    torch.save(content, tmp_path / "model_1.pt")
    with pytest.raises(CheckpointError, match=rf"format {FORMAT + 1}, this version reads up to {FORMAT}; upgrade"):
        load_deployable(tmp_path / "model_1.pt")
