# SPDX-License-Identifier: BSD-3-Clause
"""A resume keeps what its run was given, and says what is given anew; its checkpoints say where they come from."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from tests.scripts.running import ScriptHere
from trudi_rsl.checkpoints.file import read_checkpoint
from trudi_rsl.commands.program import run
from trudi_rsl.evaluation.identify import describe_mixtures, find_subjects

TASK = "InvertedPendulum-v5"
SMALL = [
    *("agent.num_steps_per_env=8", "agent.algorithm.num_mini_batches=2", "agent.algorithm.num_denoise_steps=2"),
    *("agent.algorithm.actor_hidden_dims=[8]", "agent.algorithm.compile=off", "agent.evaluation_episodes=null"),
]
GIVEN = ["env.env_kwargs.frame_skip=3", "env.max_episode_steps=7", "agent.algorithm.kl_bound=0.2"]
Capsys = pytest.CaptureFixture[str]
main = functools.partial(run, "train")


def train(*arguments: str) -> Path:
    """Train in the working directory and return the newest checkpoint."""
    before = {*Path("logs").rglob("model_*.pt")}
    assert main(["--task", TASK, "--device", "cpu", *arguments]) == 0
    return max({*Path("logs").rglob("model_*.pt")} - before, key=lambda p: int(p.stem.removeprefix("model_")))


def weights(checkpoint: Path) -> torch.Tensor:
    return torch.cat([value.double().flatten() for value in read_checkpoint(checkpoint)["actor_state_dict"].values()])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run of two iterations with settings and a seed of its own."""
    folder = tmp_path_factory.mktemp("base")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        flags = ["--num_envs", "4", "--seed", "3", "--max_iterations", "2", "--run_name", "base"]
        return folder / train(*flags, *SMALL, *GIVEN)


@pytest.fixture
def here(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a copy of that run; return its newest checkpoint."""
    shutil.copytree(base.parents[4] / "logs", tmp_path / "logs")
    monkeypatch.chdir(tmp_path)
    return base.relative_to(base.parents[4])


def test_a_resume_without_settings_trains_with_those_of_its_run(here: Path, capsys: Capsys) -> None:
    resumed = train("--resume", "--more_iterations", "1")
    one, other = read_checkpoint(here)["run"], read_checkpoint(resumed)["run"]
    own = ("resume", "load_checkpoint", "run_name", "max_iterations")
    agents = [{name: value for name, value in run["agent"].items() if name not in own} for run in (one, other)]
    assert agents[0] == agents[1] and one["env"] == other["env"]
    assert other["env"]["env_kwargs"] == {"frame_skip": 3} and other["agent"]["seed"] == 3
    assert OmegaConf.load(resumed.parent / "params" / "env.yaml").max_episode_steps == 7
    assert "Overridden" not in capsys.readouterr().out


def test_what_a_resume_overrides_is_said_in_one_line(here: Path, capsys: Capsys) -> None:
    resumed = train("--resume", "--more_iterations", "1", "--num_envs", "2", "env.env_kwargs.frame_skip=2")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "Overridden" in line)
    assert "env.num_envs 4 -> 2" in line and "env.env_kwargs.frame_skip 3 -> 2" in line and "kl_bound" not in line
    assert read_checkpoint(resumed)["run"]["env"]["max_episode_steps"] == 7


def test_another_seed_trains_other_parameters_and_starts_other_episodes(here: Path, capsys: Capsys) -> None:
    resumed = {
        seed: train("--resume", "--load_run", ".*base", "--more_iterations", "1", *seed.split())
        for seed in ("", "--seed 3", "--seed 5", "--seed 6")
    }
    same, again, five, six = (weights(path) for path in resumed.values())
    assert torch.equal(same, again), "the seed of the run continues its random numbers"
    assert not torch.equal(same, five) and not torch.equal(five, six)
    assert "agent.seed 3 -> 5" in capsys.readouterr().out
    run: Any = read_checkpoint(resumed["--seed 5"])["run"]
    assert run["seed"] == 5
    (parent,) = run["ancestors"]
    assert (parent["id"], parent["seed"], parent["iteration"]) == (read_checkpoint(here)["run"]["id"], 3, 1)
    assert parent["checkpoint"] == f"{here.parent.name}/{here.name}"


def test_iterations_are_a_total_or_added_and_never_repeat(here: Path, capsys: Capsys) -> None:
    assert main(["--task", TASK, "--resume"]) == 0
    assert "has 2 of 2 iterations" in capsys.readouterr().out
    assert {p.name for p in here.parents[1].iterdir()} == {here.parent.name}, "nothing to do, so no run folder"
    third = train("--resume", "--max_iterations", "3")
    assert third.name == "model_2.pt"
    fifth = train("--resume", "--more_iterations", "2")
    assert sorted(p.name for p in fifth.parent.glob("model_*")) == ["model_4.pt"]
    assert read_checkpoint(fifth)["run"]["agent"]["max_iterations"] == 5
    assert [ancestor["iteration"] for ancestor in read_checkpoint(fifth)["run"]["ancestors"]] == [1, 2]
    steps = read_checkpoint(fifth)["infos"]["logger"]["tot_timesteps"]
    assert steps == 5 * 4 * 8


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--more_iterations", "1"], "add --resume"),
        (["--resume", "--more_iterations", "0"], "at least 1"),
        (["--resume", "--more_iterations", "1", "--max_iterations", "9"], "without --max_iterations"),
    ],
)
def test_impossible_numbers_of_iterations_are_refused(
    here: Path, flags: list[str], message: str, capsys: Capsys
) -> None:
    assert main(["--task", TASK, *flags]) == 2
    assert message in capsys.readouterr().err


def test_continuations_are_one_seed_and_do_not_block_the_folder(here: Path) -> None:
    experiment = here.parents[1]
    for seed in ("5", "6"):
        train("--resume", "--load_run", ".*base", "--more_iterations", "1", "--seed", seed)
    (subject,) = find_subjects([str(experiment)])
    assert subject.seed == 3 and subject.checkpoint.name == "model_2.pt" and len(subject.stands_for) == 2
    (sentence, *_) = describe_mixtures([subject])
    assert str(here) in sentence and "one seed" in sentence
    assert len(find_subjects([f"base={here}", f"more={subject.checkpoint}"])) == 2


def test_a_checkpoint_elsewhere_is_played_with_its_own_settings(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capsys
) -> None:
    alone = Path(shutil.copy(here, tmp_path / "model_1.pt"))
    play = ScriptHere("play.py", tmp_path, monkeypatch, capsys)
    flags = ("--episodes", "2", "--seed", "1")
    inside, outside = (play("--task", TASK, "--checkpoint", path, *flags) for path in (here, alone))
    assert inside.splitlines()[2:] == outside.splitlines()[2:]
    assert "Overridden" in play("--task", TASK, "--checkpoint", alone, *flags, "env.max_episode_steps=2")
    assert "trained on task 'InvertedPendulum-v5'" in play.error("--task", "Hopper-v5", "--checkpoint", alone)
    (subject,) = find_subjects([str(alone)])
    assert (subject.task, subject.seed, subject.settings["env.max_episode_steps"]) == (TASK, 3, 7)


def test_a_run_of_an_earlier_version_resumes_with_the_settings_beside_its_checkpoints(here: Path) -> None:
    for path in here.parent.glob("model_*.pt"):
        content = torch.load(path, weights_only=False)
        del content["run"]
        torch.save(content, path)
    resumed = read_checkpoint(train("--resume", "--more_iterations", "1"))["run"]
    assert resumed["env"]["max_episode_steps"] == 7 and resumed["seed"] == 3
    assert resumed["ancestors"][0]["id"] == here.parent.name
    assert len(find_subjects([str(here.parents[1])])) == 1


def test_settings_in_a_checkpoint_that_name_foreign_code_are_refused(here: Path, capsys: Capsys) -> None:
    content = torch.load(here, weights_only=False)
    content["run"]["agent"]["algorithm"]["class_name"] = "os:system"
    torch.save(content, here)
    assert main(["--task", TASK, "--resume", "--more_iterations", "1"]) == 2
    assert "os:system" in capsys.readouterr().err


def test_settings_in_a_checkpoint_that_refer_to_others_are_refused(here: Path, capsys: Capsys) -> None:
    content = torch.load(here, weights_only=False)
    content["run"]["env"]["env_kwargs"] = {"xml_file": "${oc.env:HOME}"}
    torch.save(content, here)
    assert main(["--task", TASK, "--resume", "--more_iterations", "1"]) == 2
    assert "${...}" in capsys.readouterr().err
