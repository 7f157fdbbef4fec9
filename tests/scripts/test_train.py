# SPDX-License-Identifier: BSD-3-Clause
"""scripts/train.py as a user runs it, on real simulators."""

import re
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.train import main
from tests.scripts.running import run_script, start_script
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.metric_names import LOSSES, tag_of

TASK = "InvertedPendulum-v5"
SMALL = ["agent.num_steps_per_env=16", "agent.algorithm.num_mini_batches=2"]


@pytest.fixture(
    scope="module", params=["trudi", *(pytest.param(algo, marks=pytest.mark.nightly) for algo in ("reppo", "ppo"))]
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, str]:
    """Algorithm, run folder and output of a training in a process of its own."""
    folder = tmp_path_factory.mktemp(request.param)
    flags = ["--algo", request.param, "--num_envs", "8", "--max_iterations", "2", "--run_name", "first", "--seed", "3"]
    done = run_script("train.py", "--task", TASK, "--headless", *flags, *SMALL, "env.num_envs=4", cwd=folder)
    assert done.returncode == 0, done.stderr
    return request.param, folder / done.stdout.strip().splitlines()[-1].removeprefix("Run folder: "), done.stdout


def test_a_run_folder_is_named_and_filled_as_isaac_labs(run: tuple[str, Path, str]) -> None:
    algo, folder, output = run
    assert output.count("Run folder: ") == 2
    assert folder.parents[1].parts[-2:] == ("logs", "rsl_rl")
    assert folder.parent.name == "invertedpendulum-v5" + ("" if algo == "trudi" else f"_{algo}")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_first", folder.name)
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert files >= {"model_0.pt", "model_1.pt", "params/agent.yaml", "params/env.yaml"}
    assert sum("events.out.tfevents" in file for file in files) == 1
    agent = OmegaConf.load(folder / "params" / "agent.yaml")
    env = OmegaConf.load(folder / "params" / "env.yaml")
    assert (agent.seed, agent.max_iterations, agent.run_name, agent.num_steps_per_env) == (3, 2, "first", 16)
    # Overrides win over flags.
    assert (env.task, env.num_envs) == (TASK, 4)
    assert torch.load(folder / "model_1.pt", weights_only=False)["iter"] == 1


def test_every_iteration_is_logged(run: tuple[str, Path, str]) -> None:
    algo, folder, _ = run
    events = EventAccumulator(str(folder)).Reload()
    names = ["value", "surrogate", "entropy"]
    if algo != "ppo":
        names = [
            "actor",
            "critic",
            "feature",
            "path_kl",
            "path_kl_max",
            "gated_share",
            "entropy_per_dim",
            "entropy_target_per_dim",
            "alpha",
        ]
        names += ["lambda", "q_mean", "td_error", "clipped_targets", "action_saturation"]
        names += ["actor_grad_norm", "critic_grad_norm", *(["friction"] if algo == "trudi" else [])]
    for tag in [*map(tag_of, names), "Loss/learning_rate", "Train/mean_reward", "Perf/total_fps"]:
        assert [event.step for event in events.Scalars(tag)] == [0, 1], tag
    tags = set(events.Tags()["scalars"])
    assert {"Episode/return", "Episode/length"} <= tags
    assert {tag.removeprefix("Loss/") for tag in tags if tag.startswith("Loss/")} <= {*LOSSES, "learning_rate"}


def test_a_resumed_run_counts_on_in_a_new_folder(run: tuple[str, Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    algo, first, _ = run
    before = {p: p.read_bytes() for p in first.rglob("*") if p.is_file()}
    monkeypatch.chdir(first.parents[3])
    flags = ["--algo", algo, "--num_envs", "4", "--resume", "--load_run", ".*_first", "--more_iterations", "1"]
    assert main(["--task", TASK, *flags, *SMALL]) == 0
    assert {p: p.read_bytes() for p in first.rglob("*") if p.is_file()} == before
    (second,) = {*first.parent.iterdir()} - {first}
    assert torch.load(second / "model_2.pt", weights_only=False)["iter"] == 2


@pytest.mark.slow
def test_an_interrupt_ends_training_after_its_iteration_with_a_checkpoint(tmp_path: Path) -> None:
    flags = ["--task", TASK, "--headless", "--num_envs", "4", "--max_iterations", "100000", *SMALL]
    compile_off = "agent.algorithm.compile=off"
    process = start_script("train.py", *flags, compile_off, cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.lstrip().startswith("1/100000 "):
            process.send_signal(signal.SIGINT)
            break
    lines += process.communicate(timeout=60)[0].splitlines()
    assert process.returncode == 130
    folder = tmp_path / lines[-1].removeprefix("Run folder: ").strip()
    assert read_checkpoint(folder / "latest.pt")["iter"] >= 1
