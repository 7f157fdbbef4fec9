# SPDX-License-Identifier: BSD-3-Clause
"""A released checkpoint plays, evaluates and exports like its original, and says that it cannot be resumed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tensordict import TensorDict

from tests.evaluation.tiny_runs import TASK, train_tiny
from trudi_rsl.checkpoints.file import read_checkpoint, write_checkpoint
from trudi_rsl.checkpoints.rebuild import load_actor_critic
from trudi_rsl.checkpoints.release import release
from trudi_rsl.config import compose
from trudi_rsl.config.adoption import continue_run
from trudi_rsl.errors import CheckpointError
from trudi_rsl.evaluation.identify import load_run_settings, read_subject
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.runners import OnPolicyRunner

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trudi_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny("trudi", tmp_path_factory.mktemp("runs") / "trudi")


@pytest.fixture
def recorded(trudi_checkpoint: Path) -> dict:
    """A checkpoint that holds the settings of its run, as trudi train writes it."""
    content = read_checkpoint(trudi_checkpoint)
    return {**content, "run": {**content["run"], "env": {"num_envs": 4, "max_episode_steps": 7}}}


@pytest.fixture
def released(recorded: dict, tmp_path: Path) -> Path:
    write_checkpoint(release(recorded), tmp_path / "model_1.pt")
    return tmp_path / "model_1.pt"


def test_the_same_policy_task_and_settings_remain_and_nothing_else(
    recorded: dict, released: Path, trudi_checkpoint: Path
) -> None:
    assert set(read_checkpoint(released)) == {
        *("actor_state_dict", "critic_state_dict", "trudi_rsl", "run", "iter", "infos"),
    }
    obs = TensorDict({"policy": torch.randn(8, 4)}, batch_size=[8])
    (first, _), (second, _) = map(load_actor_critic, (trudi_checkpoint, released))
    assert torch.equal(first(obs), second(obs))
    assert read_subject(released).task == TASK
    assert load_run_settings(released, TASK, "trudi").env.max_episode_steps == 7
    assert released.stat().st_size < 0.6 * trudi_checkpoint.stat().st_size


def test_a_resume_from_it_is_refused_before_a_simulator_is_made_and_by_the_runner(released: Path) -> None:
    cfg = compose(TASK, "trudi")
    with pytest.raises(CheckpointError, match="is a released policy"):
        continue_run(cfg, (), released)
    settings = load_run_settings(released, TASK, "trudi", ["env.num_envs=2"])
    agent: dict = {**settings.agent, "algorithm": dict(settings.agent.algorithm)}
    runner = OnPolicyRunner(make_env(TASK, settings.env), agent, log_dir=None, device="cpu")
    with pytest.raises(CheckpointError, match="is a released policy"):
        runner.load(str(released))
    runner.load(str(released), load_cfg={"actor": True, "critic": True})


def test_a_checkpoint_without_the_settings_of_its_run_cannot_be_released(trudi_checkpoint: Path) -> None:
    content = read_checkpoint(trudi_checkpoint)
    with pytest.raises(CheckpointError, match="does not hold the settings of its run"):
        release({**content, "run": {**content["run"], "env": None}})
