# SPDX-License-Identifier: BSD-3-Clause
"""Tasks with HumanoidBench's habits have reproducible episodes, an exact resume, and success."""

from __future__ import annotations

import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from tensordict import TensorDict

from tests.hosts.gymnasium.test_resume import record, through_a_file
from tests.rsl_rl.helpers import runner_cfg
from tests.scripts.running import table_rows
from trudi_rsl.errors import ConfigError
from trudi_rsl.evaluation.episodes import evaluate, scalars
from trudi_rsl.evaluation.play import Score, results_table
from trudi_rsl.hosts.humanoidbench.env import HumanoidBenchVecEnv
from trudi_rsl.hosts.registry import find_host
from trudi_rsl.runners import OnPolicyRunner

pytestmark = pytest.mark.usefixtures("stand_in")


def first_goals(env: HumanoidBenchVecEnv, episodes: int) -> list[Any]:
    """Return the goals of the first episodes, the last two entries of the observation, stepping through them."""
    goals = [env.get_observations()["policy"][:, -2:].tolist()]
    while len(goals) < episodes:
        obs, _, dones, _ = env.step(torch.zeros(env.num_envs, env.num_actions))
        if dones.any():
            goals.append(obs["policy"][:, -2:].tolist())
    return goals


@pytest.mark.parametrize("name", ["h1hand-walk-v0", "h1-reach-v0", "g1-push-v0", "humanoid_bench:h1hand-walk-v0"])
def test_names_of_humanoidbench_need_no_prefix(name: str) -> None:
    assert find_host(name).name == "humanoidbench"


def test_a_seed_determines_episodes_whatever_numpys_global_generator_is() -> None:
    np.random.seed(1)
    one = first_goals(HumanoidBenchVecEnv("h1hand-reach-v0", 2, seed=3), 4)
    np.random.seed(2)
    other = first_goals(HumanoidBenchVecEnv("humanoid_bench:h1hand-reach-v0", 2, seed=3), 4)
    assert one == other
    drawn = [tuple(goal) for episode in one for goal in episode]
    assert len(set(drawn)) == len(drawn), "every episode of every environment has a goal of its own"
    assert first_goals(HumanoidBenchVecEnv("h1hand-reach-v0", 2, seed=4), 1)[0][0] == one[0][1]


def test_numpys_global_generator_is_left_alone() -> None:
    np.random.seed(5)
    np.random.standard_normal()  # of a pair, whose second number the generator keeps
    before = np.random.get_state()
    first_goals(HumanoidBenchVecEnv("h1hand-reach-v0", 2), 3)
    after = np.random.get_state()
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("task", ["reach", "push", "maze", "package"])
def test_a_resumed_task_continues_bitwise(task: str) -> None:
    name = f"h1hand-{task}-v0"
    env = HumanoidBenchVecEnv(name, 2, seed=1)
    env.episode_length_buf = torch.tensor([0, 4])
    actions = torch.rand(38, 2, 2) * 2.0 - 1.0
    for action in actions[:15]:
        env.step(action)
    state = through_a_file(env.state_dict())
    assert state["exact"] is True
    never_stopped = record(env, actions[15:])

    resumed = HumanoidBenchVecEnv(name, 2, seed=99)
    for action in actions[:7]:
        resumed.step(action)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        resumed.load_state_dict(state)
    assert record(resumed, actions[15:]) == never_stopped


def ended(env: HumanoidBenchVecEnv, episodes: int) -> list[dict[str, Any]]:
    """Return the extras of the first steps that ended an episode."""
    found = []
    while len(found) < episodes:
        extras = env.step(torch.zeros(env.num_envs, env.num_actions))[3]
        found += [extras] if "log" in extras else []
    return found


def test_success_is_the_tasks_own_or_a_return_that_reaches_its_bar() -> None:
    reach = HumanoidBenchVecEnv("h1hand-reach-v0", 1)
    seen = []
    for extras in ended(reach, 12):
        above = extras["log"]["Episode/return"] >= 10.0
        seen.append(above)
        assert extras["success"].tolist() == [float(above)]
        assert extras["log"]["Episode/above_success_bar"] == extras["log"]["Episode/success"] == float(above)
    assert len(set(seen)) == 2
    push = HumanoidBenchVecEnv("h1hand-push-v0", 1)
    lengths = {(e["log"]["Episode/length"], e["log"]["Episode/success"]) for e in ended(push, 12)}
    assert lengths == {(4.0, 1.0), (10.0, 0.0)}


def test_subtasks_are_logged_and_a_task_without_bar_and_flag_has_no_success() -> None:
    (extras,) = ended(HumanoidBenchVecEnv("h1hand-maze-v0", 2), 1)
    assert extras["log"]["Episode/success_subtasks"] == 3.0
    assert "success" not in extras and "Episode/above_success_bar" not in extras["log"]


def test_an_evaluation_reports_success_subtasks_and_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    def still(obs: TensorDict) -> torch.Tensor:
        return torch.zeros(len(obs), 2)

    results = evaluate(HumanoidBenchVecEnv("h1hand-maze-v0", 2), still, 3, progress=False)
    assert results.metrics["success_subtasks"].tolist() == [3.0, 3.0, 3.0]
    reach = evaluate(HumanoidBenchVecEnv("h1hand-reach-v0", 2), still, 8, progress=False)
    above = (reach.returns >= 10.0).double()
    assert torch.equal(reach.metrics["above_success_bar"], above) and 0.0 < above.mean() < 1.0
    assert scalars(reach)["Evaluation/above_success_bar"] == scalars(reach)["Evaluation/success"] == above.mean()
    Console(width=80).print(results_table([Score.of(Path("model_1.pt"), reach)]))
    (row,) = table_rows(capsys.readouterr().out)
    assert row[4:] == [f"{100 * above.mean():.0f} %", f"{above.mean():.3g}"]


def test_the_kitchen_loads_and_leaves_the_package_and_no_copy(stand_in: Path, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kettle = stand_in / "assets/kitchen/adept_models/kitchen/assets/kettle_asset.xml"
    before = kettle.read_text()
    env = HumanoidBenchVecEnv("h1hand-kitchen-v0", 2)
    env.step(torch.zeros(2, 2))
    assert kettle.read_text() == before and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            "h1hand-highbar_hard-v0",
            "registers 'h1hand-highbar_hard-v0' but has no model of it .*h1hand_pos_highbar_hard.xml",
        ),
        ("h1hand-reech-v0", "no task 'h1hand-reech-v0'.*'h1hand-reach-v0'"),
    ],
)
def test_a_task_that_cannot_run_is_named_with_the_reason(task: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HumanoidBenchVecEnv(task, 1)


@pytest.mark.skipif(find_spec("jax") is not None, reason="JAX is installed")
def test_jax_is_neither_needed_nor_pretended_afterwards() -> None:
    HumanoidBenchVecEnv("h1hand-reach-v0", 1)
    assert "jax" not in sys.modules and "jax.numpy" not in sys.modules


def test_constructors_print_nothing_and_many_environments_are_told_their_memory(
    capsys: pytest.CaptureFixture[str],
) -> None:
    HumanoidBenchVecEnv("h1hand-reach-v0", 2)
    assert capsys.readouterr().out == ""
    HumanoidBenchVecEnv("h1hand-reach-v0", 40)
    assert "40 environments take about 3 GB" in capsys.readouterr().out


def test_evaluations_beside_training_do_not_change_it(tmp_path: Path) -> None:
    weights = []
    for episodes in (None, 3):
        torch.manual_seed(0)
        env = HumanoidBenchVecEnv("h1hand-reach-v0", 2, seed=1)
        cfg = runner_cfg() | {"save_interval": 1, "evaluation_episodes": episodes}
        runner: Any = OnPolicyRunner(env, cfg, str(tmp_path / str(episodes)), "cpu")
        runner.learn(3)
        weights.append(torch.cat([p.detach().flatten() for p in runner.alg.actor_critic.parameters()]))
    assert torch.equal(*weights)
