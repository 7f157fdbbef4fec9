# SPDX-License-Identifier: BSD-3-Clause
"""A training prints one row per iteration, in 80 columns, and says at its end what each return means."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.rsl_rl.helpers import runner_cfg
from trudi_rsl.hosts.gymnasium.env import GymnasiumVecEnv
from trudi_rsl.metric_names import HEADINGS
from trudi_rsl.runners import OnPolicyRunner
from trudi_rsl.runners.report import TimeLeft, _next_commands, number

GLOSSARY = Path(__file__).resolve().parents[2] / "docs" / "log.md"
Capsys = pytest.CaptureFixture[str]


def learn(folder: Path, **settings: object) -> OnPolicyRunner:
    env = GymnasiumVecEnv("InvertedPendulum-v5", 4, max_episode_steps=5)
    cfg = runner_cfg() | {"evaluation_episodes": 2, "seed": 4} | settings
    runner = OnPolicyRunner(env, cfg, str(folder), "cpu")
    runner.learn(3)
    return runner


def test_each_iteration_is_one_row_of_at_most_80_columns_under_one_header(tmp_path: Path, capsys: Capsys) -> None:
    learn(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if re.match(r" *\d/3 ", line)]
    assert [row.split()[0] for row in rows] == ["0/3", "1/3", "2/3"]
    headers = [line for line in lines if line.split()[:2] == ["iteration", "steps"]]
    assert len(headers) == 1
    assert {len(line) for line in (*rows, *headers)} == {len(headers[0])} and len(headers[0]) <= 80
    assert len(lines) < 20, "not RSL-RL's forty lines per iteration"


def test_the_end_explains_the_training_return_the_evaluation_and_the_best(tmp_path: Path, capsys: Capsys) -> None:
    runner = learn(tmp_path)
    end = capsys.readouterr().out.partition("Returns:\n")[2]
    training, evaluation, best = end.splitlines()[:3]
    assert training.split()[0] == "training" and "noise" in training
    assert runner.rating.last is not None and runner.rating.best is not None
    for line, (path, value) in ((evaluation, runner.rating.last), (best, runner.rating.best)):
        assert path.name in line and number(value) in line


def test_verbose_prints_every_logged_value(tmp_path: Path, capsys: Capsys) -> None:
    learn(tmp_path, verbose=True)
    out = capsys.readouterr().out
    for name in ("path_kl_max", "value_range_low", "skipped_updates", "learning_rate", "collecting", "length"):
        assert name in out


def test_the_time_left_is_not_raised_by_compiling_in_the_first_iteration() -> None:
    left = TimeLeft()
    left.add(100.0)
    assert left.estimate(10) is None
    for seconds in (2.0, 3.0, 2.0):
        left.add(seconds)
    assert left.estimate(10) == 20.0


@pytest.mark.parametrize("value", [0.0, 1e-9, -0.012345, 7.0, -123.456, 98765.4, -1234567.0, 1e300])
def test_numbers_fit_their_column(value: float) -> None:
    assert len(number(value)) <= 8
    assert float(number(value)) == pytest.approx(value, rel=0.06)


def test_the_next_commands_are_those_of_the_program_that_trained(tmp_path: Path) -> None:
    (tmp_path / "best.pt").touch()
    scripts = _next_commands("scripts/train.py", "Hopper-v5", tmp_path, unfinished=False)
    command = _next_commands("/usr/bin/trudi", "Hopper-v5", tmp_path, unfinished=False)
    assert f"  python scripts/play.py --task Hopper-v5 --checkpoint {tmp_path}/best.pt" in scripts
    assert f"  trudi play --task Hopper-v5 --checkpoint {tmp_path}/best.pt" in command
    assert _next_commands("my_project.py", "Hopper-v5", tmp_path, unfinished=False) == []


def test_the_glossary_explains_every_logged_metric() -> None:
    text = GLOSSARY.read_text()
    missing = [
        f"{heading}/{name}"
        for heading, names in HEADINGS.items()
        for name in names
        if f"`{heading}/{name}`" not in text
    ]
    assert not missing


def test_the_next_commands_are_words_of_a_shell_and_begin_with_the_resume_of_an_unfinished_training() -> None:
    run = "logs/it's #1"
    _, resume, play, *_ = _next_commands("trudi", "Hopper-v5", Path(run), unfinished=True)
    named = ["--task", "Hopper-v5", "--checkpoint", run]
    assert shlex.split(resume) == ["trudi", "train", *named, "--resume"]
    assert shlex.split(play) == ["trudi", "play", *named]
