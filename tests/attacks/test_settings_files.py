# SPDX-License-Identifier: BSD-3-Clause
"""Settings from somebody else, of a run folder or an experiment: plain values, or one line."""

from __future__ import annotations

import functools
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.attacks.hostile import refused, snapshot
from trudi_rsl.commands.sweep import launcher_options
from trudi_rsl.config import compose, load_params
from trudi_rsl.config.compose import find_played
from trudi_rsl.config.event_file import RunError, read_run
from trudi_rsl.config.schema import GymnasiumEnvCfg
from trudi_rsl.config.yaml_file import read_foreign_yaml
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.evaluation.comparison import read_ranges
from trudi_rsl.experiments.experiment import load_experiment, plan, try_tasks
from trudi_rsl.experiments.job import RECORD_FILE, Job
from trudi_rsl.hosts.registry import make_env
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS

LAUGHS = "\n".join(["a0: &a0 [ha, ha]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))])
TEXTS = {
    "object": "x: !!python/object/apply:os.mkdir [{marker}]",
    "object by name": "x: !!python/name:os.system",
    "new object": "x: !!python/object/new:subprocess.Popen [[mkdir, {marker}]]",
    "module": "x: !!python/module:antigravity",
    "own tag": "x: !!os.system mkdir",
    "laughs": LAUGHS,
    "itself": "x: &x [*x]",
    "twice": "x: 1\nx: 2",
    "depth": "x: " + "[" * 700 + "]" * 700,
    "long number": "x: " + "9" * 5000,
    "no day": "x: 2026-99-99",
    "no number": "x: !!int ''",
    "no truth": "x: !!bool maybe",
    "no time": "x: !!timestamp soon",
    "secret": "x: ${oc.env:HOME}",
    "other key": "x: ${y}",
    "escape": "x: \x1b[2J",
    "zero bytes": "\0\0\0\0",
    "not a mapping": "- x",
    "size": "x: " + "a" * 2_000_000,
}


@pytest.fixture(params=TEXTS)
def text(request: pytest.FixtureRequest, marker: Path) -> str:
    return TEXTS[request.param].replace("{marker}", str(marker))


@pytest.mark.parametrize("file", ["agent", "env"])
def test_hostile_settings_of_a_run_are_refused(text: str, file: str, run: Path, marker: Path) -> None:
    with (run / "params" / f"{file}.yaml").open("a") as params:
        params.write(f"\n{text}\n")
    with refused(CheckpointError, marker) as message:
        load_params(run)
    assert f"{file}.yaml was not written by trudi_rsl" in message[0]
    assert read_run(run, ()).steps_per_iteration is None


def test_settings_of_another_host_become_plain_values_or_are_refused(text: str, tmp_path: Path, marker: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    try:
        content = read_foreign_yaml(tmp_path / "x.yaml")
    except ConfigError as error:
        assert str(error).isprintable()
    else:
        json.dumps(content, default=str)
    assert not marker.exists() and "antigravity" not in sys.modules


def test_hostile_experiment_and_reference_files_are_refused(text: str, tmp_path: Path, marker: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with refused(ConfigError, marker) as of_experiment:
        load_experiment(str(tmp_path / "x.yaml"))
    with refused(ConfigError, marker) as of_reference:
        read_ranges(reference=tmp_path / "x.yaml")
    assert "x.yaml" in of_experiment[0] and "x.yaml" in of_reference[0] and not marker.exists()


@pytest.mark.parametrize("text", ["x=[", "x=!!python/name:os.system", "x=!!int ''", "x=${oc.env:HOME}"])
def test_hostile_launcher_options_are_refused(text: str) -> None:
    with refused(ConfigError) as message:
        launcher_options([text])
    assert "x=" in message[0]


WRONG_TYPES: list[tuple[str, dict[str, Any]]] = [
    *(("env", {"task": task}) for task in (3, ["Pendulum-v1"])),
    *(("env", {"num_envs": number}) for number in ("many", [1])),
    *(("env", changes) for changes in ({"env_kwargs": "none"}, {"action_bounds": {"low": 1}})),
    *(("agent", {"seed": seed}) for seed in ([1], "???")),
    *(("agent", changes) for changes in ({"num_threads": "all"}, {"experiment_name": {"a": 1}})),
    ("agent", {"obs_groups": {"actor": 3}}),
]


@pytest.fixture
def run(trudi_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trudi_run, tmp_path / "run")


def edit(run: Path, file: str, changes: dict[str, Any]) -> None:
    """Replace settings of a run."""
    path = run / "params" / f"{file}.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


@pytest.mark.parametrize(("file", "changes"), WRONG_TYPES, ids=str)
def test_settings_of_another_type_are_refused(run: Path, file: str, changes: dict[str, Any]) -> None:
    edit(run, file, changes)
    with refused(CheckpointError) as message:
        load_params(run, GymnasiumEnvCfg)
    assert f"{file}.yaml" in message[0]


def test_numbers_written_as_text_are_converted_and_a_kl_bound_must_be_a_number(run: Path) -> None:
    edit(run, "agent", {"seed": "7"})
    assert load_params(run).agent.seed == 7
    for value in ({"kl_bound": "a" * 100}, 3):
        edit(run, "agent", {"algorithm": value})
        assert read_run(run, ()).kl_bound is None


@pytest.mark.parametrize("damage", ["empty", "zeros", "ones", "half", "flipped"])
def test_damaged_events_are_read_partially_or_refused(run: Path, damage: str) -> None:
    [file] = run.glob("events.out.tfevents.*")
    events = file.read_bytes()
    middle = len(events) // 2
    flipped = events[:middle] + bytes([events[middle] ^ 255]) + events[middle + 1 :]
    made = {"empty": b"", "zeros": bytes(100), "ones": b"\xff" * 100, "half": events[:middle], "flipped": flipped}
    file.write_bytes(made[damage])
    try:
        assert isinstance(read_run(run, ("Loss/path_kl",)).scalars, dict)
    except RunError as error:
        assert str(error).isprintable()


@pytest.mark.skipif(not PPO_MODELS, reason="experiments need rsl-rl-lib 5")
@pytest.mark.parametrize(
    "content",
    [
        *({"name": name} for name in ("..", ".", "../x", "/tmp/x", "a/b", "a\\b", "\x1b", "~")),
        *({"overrides": [f"{key}=../../x"]} for key in ("agent.experiment_name", "++agent.run_name", "hydra.run.dir")),
        *({"overrides": [f"{name}._target_=os.system"]} for name in ("+agent", "env.env_kwargs")),
        *({"overrides": [text]} for text in ("--resume", "agent.algorithm={_target_: os.system}")),
        *({"overrides": value} for value in (["agent.seed=${oc.env:HOME}"], 3)),
        *({"variants": {"v": {"overrides": value}}} for value in (3, "agent.seed=1")),
        {"variants": {"v": {"algorithms": "trudi"}}},
        *({"seeds": [seed]} for seed in ("../x", 2**70)),
        {"tasks": ["../../../tmp/x"]},
        {"seconds": {"trudi": "nan"}},
    ],
    ids=str,
)
def test_an_experiment_sets_nothing_but_settings_and_writes_below_the_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    base = {"name": "x", "algorithms": ["trudi"], "tasks": ["Pendulum-v1"], "seeds": [1]}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(base | content))
    before = snapshot(tmp_path)
    with refused(ConfigError):
        try_tasks(plan(load_experiment("x.yaml")))
    assert snapshot(tmp_path) == before


def test_a_record_of_another_form_or_of_another_attempts_checkpoint_is_no_finished_run(tmp_path: Path) -> None:
    job = Job("x", "run", "trudi", "T-v0", "trudi", "", 1, [], {"agent": {}}, root=str(tmp_path))
    (job.folder / "attempt").mkdir(parents=True)
    (tmp_path / "model_1.pt").touch()
    records: list[Any] = [[], 3, {}, {"checkpoint": 3, "settings": {}}, {"checkpoint": "a.pt"}]
    records += [{"checkpoint": "a.pt", "settings": []}]
    elsewhere = ("../../../model_1.pt", str(tmp_path / "model_1.pt"))
    for record in [*records, *({"checkpoint": path, "settings": job.settings} for path in elsewhere)]:
        (job.folder / "attempt" / RECORD_FILE).write_text(json.dumps(record))
        assert job.record() is None, record


@pytest.mark.parametrize("name", ["run_name", "experiment_name"])
@pytest.mark.parametrize("value", ["x\0y", "x\ny", "\x1b[2J", "x" * 300, "../x", "a/../../x", "/x", "..\\x"])
def test_run_names_outside_of_the_logs_are_refused(name: str, value: str) -> None:
    with refused(ConfigError) as message:
        compose("Pendulum-v1", settings={f"agent.{name}": value})
    assert f"agent.{name}" in message[0] or "override" in message[0]


@pytest.mark.parametrize("task", ["..", "../x", "a/../../b", "\0", "x" * 1000])
def test_no_task_name_becomes_a_folder_outside_the_logs(task: str) -> None:
    try:
        name = compose(task).agent.experiment_name
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert "/" not in name and name != ".."


@pytest.mark.parametrize("name", ["load_run", "checkpoint"])
@pytest.mark.parametrize("value", ["../../secret", "/etc/passwd", "..", "logs/../../secret", "[", "(?P<a"])
def test_checkpoints_to_resume_are_found_among_the_runs_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    (tmp_path / "here" / "logs" / "rsl_rl" / "pendulum-v1" / "run").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "model_1.pt").touch()
    monkeypatch.chdir(tmp_path / "here")
    found: Any = functools.partial(find_played, "Pendulum-v1", "trudi")
    try:
        assert found(**{name: value}) == Path("/etc/passwd")
    except (CheckpointError, ConfigError) as error:
        assert str(error).isprintable()


def test_hydra_targets_are_unknown_options(marker: Path) -> None:
    cfg = compose("Pendulum-v1", overrides=["env.env_kwargs._target_=os.mkdir", f"env.env_kwargs.path={marker}"])
    with refused(ConfigError, marker) as message:
        make_env("Pendulum-v1", cfg.env)
    assert "'_target_'" in message[0]
