# SPDX-License-Identifier: BSD-3-Clause
"""An external project trains with PPO, with TruDi without an edit, and with the one-line swap."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.hosts.environments import install
from tests.hosts.isaaclab_3_0 import commands
from tests.hosts.isaaclab_3_0.commands import FEW_STEPS, ON_CPU, SMALL_TRUDI, TRUDI_AGENT, Done, isaaclab, script
from trudi_rsl.algorithms import load_actor_critic
from trudi_rsl.config import task_preset

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[3] / "exts" / "pendulum_tasks"
TASK = "Pendulum-SwingUp-Direct"
STOCK = ("--rl_library", "rsl_rl", "--task", TASK, *ON_CPU)
TWO = ("--max_iterations", "2", *FEW_STEPS)


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Install the project for the commands of this module."""
    target = tmp_path_factory.mktemp("project") / "installed"
    install(Path(sys.executable), PROJECT, target)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(target), os.environ.get("PYTHONPATH")))))
        yield


@pytest.fixture(scope="module")
def ppo_run(tmp_path_factory: pytest.TempPathFactory) -> Done:
    return isaaclab("train", *STOCK, *TWO, folder=tmp_path_factory.mktemp("ppo"))


@pytest.fixture(scope="module")
def trudi_run(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("trudi")
    return isaaclab("train", *STOCK, *TWO, "--agent", TRUDI_AGENT, *SMALL_TRUDI, folder=folder)


def test_the_project_mentions_trudi_in_one_line_only() -> None:
    lines = [line for path in PROJECT.rglob("*.py") for line in path.read_text().splitlines() if "trudi_rsl" in line]
    assert [line.strip() for line in lines] == ['self.algorithm.class_name = "trudi_rsl.algorithms:TruDi"']


@pytest.mark.nightly
def test_ppo_trains_by_our_script_as_by_isaac_labs(ppo_run: Done, tmp_path: Path) -> None:
    assert ppo_run.returncode == 0, ppo_run.output
    assert "trudi_rsl" not in torch.load(ppo_run.checkpoint, weights_only=False)
    done = script("train.py", "--task", TASK, "--algo", "ppo", *TWO, *ON_CPU, folder=tmp_path)
    assert done.returncode == 0, done.output
    assert done.agent == ppo_run.agent


def test_trudi_trains_plays_and_exports_without_an_edit(trudi_run: Done) -> None:
    assert trudi_run.returncode == 0, trudi_run.output
    policy, spec = load_actor_critic(trudi_run.checkpoint)
    assert (spec["task"], spec["settings"]["gamma"]) == (TASK, 0.99)
    assert (policy.actor.num_obs, policy.actor.num_actions) == (3, 1)
    exported = trudi_run.checkpoint.parent / "exported" / "policy.onnx"
    arguments = ("--agent", TRUDI_AGENT, "--num_envs", "4", "--checkpoint", trudi_run.checkpoint, *SMALL_TRUDI)
    done = isaaclab("play", *STOCK, *arguments, folder=trudi_run.folder, until=exported)
    assert "Traceback" not in done.output, done.output
    commands.check_exports_act_as(trudi_run.checkpoint)


def test_the_one_line_swap_trains_with_ppos_gamma_and_the_preset_of_the_host(tmp_path: Path) -> None:
    few = ("--max_iterations", "1", "--num_envs", "4", "agent.num_steps_per_env=4")
    done = isaaclab("train", *STOCK, *few, "--agent", "rsl_rl_swapped_cfg_entry_point", folder=tmp_path)
    assert done.returncode == 0, done.output
    _policy, spec = load_actor_critic(done.checkpoint)
    preset = task_preset("Isaac-Any-v0", "isaaclab")["agent"]["algorithm"]
    shared = ("learning_rate", "num_learning_epochs", "num_mini_batches", "max_grad_norm", "lam")
    assert [spec["settings"][name] for name in shared] == [preset[name] for name in shared]
    assert spec["settings"]["gamma"] == done.agent["algorithm"]["gamma"]
    assert "clip_param" in done.output


@pytest.mark.nightly
def test_our_script_finds_the_task_of_the_project(tmp_path: Path) -> None:
    few = ("--max_iterations", "1", *ON_CPU, *FEW_STEPS, *SMALL_TRUDI)
    done = script("train.py", "--task", TASK, *few, folder=tmp_path)
    assert done.returncode == 0, done.output
    assert load_actor_critic(done.checkpoint)[1]["task"] == TASK


@pytest.mark.nightly
def test_a_ppo_checkpoint_is_refused_by_trudi(ppo_run: Done, tmp_path: Path) -> None:
    few = ("--max_iterations", "1", *FEW_STEPS, *SMALL_TRUDI, "--checkpoint", ppo_run.checkpoint)
    stock = isaaclab("train", *STOCK, *few, "--agent", TRUDI_AGENT, folder=tmp_path)
    ours = script("train.py", "--task", TASK, *ON_CPU, *few, folder=tmp_path)
    assert stock.returncode != 0 and "RSL-RL PPO" in stock.output
    assert ours.returncode != 0 and "is a checkpoint of ppo" in ours.output
    assert "Traceback" not in ours.output


@pytest.mark.nightly
def test_a_task_registered_after_the_entry_points_gets_trudi(trudi_run: Done) -> None:
    (trudi_run.folder / "late.py").write_text(
        "import gymnasium as gym\n\n\n"
        "def register():\n"
        f"    spec = gym.spec('{TASK}')\n"
        "    kwargs = {key: value for key, value in spec.kwargs.items() if 'trudi' not in key}\n"
        "    gym.register('Late-Pendulum-Direct', spec.entry_point, disable_env_checker=True, kwargs=kwargs)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(trudi_run.folder), os.environ["PYTHONPATH"])))
        late = ("--task", "Late-Pendulum-Direct", "--external_callback", "late.register", "--agent", TRUDI_AGENT)
        few = ("--max_iterations", "1", *FEW_STEPS, *SMALL_TRUDI, *ON_CPU)
        done = isaaclab("train", "--rl_library", "rsl_rl", *late, *few, folder=trudi_run.folder)
    assert done.returncode == 0, done.output
    assert load_actor_critic(done.checkpoint)[1]["task"] == "Late-Pendulum-Direct"
