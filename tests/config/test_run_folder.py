# SPDX-License-Identifier: BSD-3-Clause
"""Run folders: never reused, found again, and their settings read back."""

import re
from pathlib import Path

import pytest
import torch

from trudi_rsl.config import compose, create_run_folder, find_checkpoint, load_params, resume_path, save_params
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.rsl_rl_compat.version import PPO_MODELS


def _run(experiment: Path, name: str, *files: str) -> Path:
    (experiment / name).mkdir(parents=True)
    for file in files:
        torch.save({}, experiment / name / file)
    return experiment / name


def test_a_run_folder_is_never_handed_out_twice(tmp_path: Path) -> None:
    folders = []
    for _ in range(5):
        with create_run_folder(tmp_path, "same") as folder:
            (folder / "model_0.pt").touch()
            folders.append(folder)
    assert len(set(folders)) == 5
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d_same(_\d+)?", f.name) for f in folders)


@pytest.mark.parametrize("kept", [True, False])
def test_a_failed_start_leaves_no_empty_folder_and_loses_no_file(tmp_path: Path, kept: bool) -> None:
    with pytest.raises(RuntimeError), create_run_folder(tmp_path) as folder:
        if kept:
            (folder / "model_0.pt").touch()
        raise RuntimeError
    assert folder.exists() == kept


def test_the_newest_checkpoint_of_the_newest_run_is_found_by_number(tmp_path: Path) -> None:
    _run(tmp_path, "2026-01-01_00-00-00_a", "model_0.pt", "model_900.pt")
    newest = _run(tmp_path, "2026-01-02_00-00-00_b", "model_9.pt", "model_10.pt", "notes.txt")
    _run(tmp_path, "2026-01-03_00-00-00_crashed_before_its_first_checkpoint", "notes.txt")
    assert find_checkpoint(tmp_path) == newest / "model_10.pt"
    assert find_checkpoint(tmp_path, ".*_a").name == "model_900.pt"
    assert find_checkpoint(tmp_path, ".*_b", "model_9").name == "model_9.pt"


def test_runs_that_are_not_accepted_are_skipped_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    older = _run(tmp_path, "2026-01-01_00-00-00_flat", "model_0.pt")
    _run(tmp_path, "2026-01-02_00-00-00_rough", "model_5.pt")

    def is_flat(file: Path) -> bool:
        return file.parent.name.endswith("flat")

    assert find_checkpoint(tmp_path, accepts=is_flat) == older / "model_0.pt"
    assert "Skipped newer runs of other tasks: 2026-01-02_00-00-00_rough" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=r"is of this task; .*_rough are of others"):
        find_checkpoint(tmp_path, ".*_rough", accepts=is_flat)


def test_what_is_not_found_is_named(tmp_path: Path) -> None:
    _run(tmp_path, "2026-01-01_00-00-00", "model_0.pt")
    with pytest.raises(CheckpointError, match="'nope'"):
        find_checkpoint(tmp_path, "nope")
    with pytest.raises(CheckpointError, match="'model_7'"):
        find_checkpoint(tmp_path, ".*", "model_7")
    with pytest.raises(CheckpointError, match="empty"):
        find_checkpoint(tmp_path / "empty")
    with pytest.raises(ConfigError, match="regular expression"):
        find_checkpoint(tmp_path, "(")


def test_a_checkpoint_is_a_file_a_run_folder_or_a_regular_expression(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = _run(tmp_path / "logs" / "rsl_rl" / "sometask-v0", "2026-01-01_00-00-00", "model_0.pt", "model_5.pt")

    def resolve(**agent: object) -> Path | None:
        return resume_path(compose("SomeTask-v0", settings={f"agent.{k}": v for k, v in agent.items()}))

    assert resolve() is None
    assert resolve(resume=True) == run.relative_to(tmp_path) / "model_5.pt"
    by_name = resolve(resume=True, load_run="2026.*", load_checkpoint="model_0")
    assert by_name == run.relative_to(tmp_path) / "model_0.pt"
    assert resolve(resume=True, load_checkpoint=str(run / "model_0.pt")) == run / "model_0.pt"
    assert resolve(resume=True, load_checkpoint=str(run)) == run / "model_5.pt"
    with pytest.raises(CheckpointError, match=r"Nothing at .*model_9\.pt"):
        resolve(resume=True, load_checkpoint=str(run / "model_9.pt"))


@pytest.mark.parametrize("file", ["agent", "env"])
@pytest.mark.parametrize(
    "content",
    [b"cfg: !!python/object:some.Class {}", b"a: [", b"- 1", b"3", b"\xff\xfe\x00", b"a: ${nowhere"],
)
def test_settings_of_another_program_are_refused_in_one_line_that_names_the_file(
    tmp_path: Path, file: str, content: bytes
) -> None:
    save_params(tmp_path, compose("HalfCheetah-v5"))
    (tmp_path / "params" / f"{file}.yaml").write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"params/{file}\.yaml was not written by trudi_rsl") as caught:
        load_params(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "num_envs: 3"])
def test_settings_without_a_task_are_refused(tmp_path: Path, content: str) -> None:
    save_params(tmp_path, compose("HalfCheetah-v5"))
    (tmp_path / "params" / "env.yaml").write_text(content)
    with pytest.raises(CheckpointError, match=r"params/env\.yaml does not name a task"):
        load_params(tmp_path)


@pytest.mark.parametrize("algo", ["trudi", "ppo"] if PPO_MODELS else ["trudi"])
def test_saved_settings_read_back_unchanged(tmp_path: Path, algo: str) -> None:
    cfg = compose("HalfCheetah-v5", algo, ["agent.algorithm.learning_rate=1e-5", "env.env_kwargs.frame_skip=3"])
    save_params(tmp_path, cfg)
    assert load_params(tmp_path) == cfg
    with pytest.raises(CheckpointError, match="not a run folder"):
        load_params(tmp_path / "params")
