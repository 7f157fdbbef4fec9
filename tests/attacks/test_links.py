# SPDX-License-Identifier: BSD-3-Clause
"""Links in a run folder from somebody else lead no script to write outside of it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.attacks.hostile import refused, snapshot
from tests.evaluation.tiny_runs import write_run
from tests.scripts.running import ScriptHere
from trudi_rsl.command_line import require_new
from trudi_rsl.config.event_file import read_run
from trudi_rsl.deploy import export_checkpoint
from trudi_rsl.errors import CheckpointError, ConfigError
from trudi_rsl.evaluation.identify import find_subjects
from trudi_rsl.evaluation.learning_curves import draw_learning_curves
from trudi_rsl.evaluation.measurement import Evaluation, EvaluationCfg
from trudi_rsl.evaluation.samplers import SamplerCfg
from trudi_rsl.files import atomic_write, is_whole, point_link, unused_stem
from trudi_rsl.hosts.registry import SIMULATION

Script = Callable[[str], ScriptHere]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """Return scripts by their names, to run in the test's folder."""
    return lambda name: ScriptHere(name, tmp_path, monkeypatch, capsys)


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file, checked to be unchanged after the test."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("mine")
    yield folder
    assert snapshot(folder) == {"precious": b"mine"}


def test_a_link_in_place_of_a_picture_is_replaced(tmp_path: Path, outside: Path) -> None:
    run = write_run(tmp_path / "run", {"Train/mean_reward": {0: 1.0, 1: 2.0}})
    (run / "learning_curve.png").symlink_to(outside / "precious")
    draw_learning_curves([read_run(run, ("Train/mean_reward",))], run / "learning_curve.png")
    assert (run / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert not (run / "learning_curve.png").is_symlink()


@pytest.mark.slow
def test_links_in_place_of_chain_pictures_are_replaced(
    trudi_run: Path, tmp_path: Path, outside: Path, script: Script
) -> None:
    run = shutil.copytree(trudi_run, tmp_path / "run")
    for name in ("chain.png", "chain.svg"):
        (run / name).symlink_to(outside / "precious")
    script("plot_chain.py")("--checkpoint", str(run))
    assert (run / "chain.svg").read_text().startswith("<?xml")


def test_a_dangling_link_is_not_a_free_name(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "modes.json").symlink_to(outside / "new")
    assert unused_stem(tmp_path, "modes", (".json", ".png")) == "modes_1"
    with refused(ConfigError):
        require_new(tmp_path / "modes.json")


def test_no_export_is_written_through_a_linked_folder(checkpoint: Path, tmp_path: Path, outside: Path) -> None:
    run = shutil.copytree(checkpoint.parent, tmp_path / "run")
    (run / "exported").symlink_to(outside)
    with refused(CheckpointError) as message:
        export_checkpoint(run / checkpoint.name)
    assert "leads out of the run folder" in message[0]


@pytest.mark.slow
def test_no_evaluation_or_video_is_written_through_a_linked_folder(
    trudi_run: Path, tmp_path: Path, outside: Path, script: Script
) -> None:
    run = shutil.copytree(trudi_run, tmp_path / "run")
    for name in ("evaluations", "videos"):
        (run / name).symlink_to(outside)
    [subject] = find_subjects([str(run)])
    evaluation = Evaluation(subject, SamplerCfg(), EvaluationCfg(1), SIMULATION)
    with pytest.warns(UserWarning, match="leads out of the run folder"):
        assert len(evaluation.run().returns) == 1
    task = ["--task", "InvertedPendulum-v5", "--checkpoint", str(run), "--video", "--episodes", "1"]
    assert "leads out" in script("play.py").error(*task)


def test_a_run_folder_may_be_reached_by_a_link(trudi_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trudi_run, tmp_path / "run")
    (tmp_path / "link").symlink_to(run)
    [subject] = find_subjects([str(tmp_path / "link")])
    evaluation = Evaluation(subject, SamplerCfg(), EvaluationCfg(1), SIMULATION)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluation.run()
    assert evaluation.cached() is not None
    assert evaluation.cache.is_file()


def test_writing_a_checkpoint_follows_no_link(tmp_path: Path, outside: Path) -> None:
    with atomic_write(tmp_path / "probe") as file:
        part = Path(file.name).name.replace("probe", "model_1.pt")
    (tmp_path / part).symlink_to(outside / "precious")
    (tmp_path / "model_1.pt").symlink_to(outside / "precious")
    with atomic_write(tmp_path / "model_1.pt") as file:
        file.write(b"new")
    assert (tmp_path / "model_1.pt").read_bytes() == b"new"
    (tmp_path / "latest.pt").symlink_to(outside / "precious")
    point_link(tmp_path / "latest.pt", tmp_path / "model_1.pt")
    assert (tmp_path / "latest.pt").readlink() == Path("model_1.pt")


@pytest.mark.parametrize("target", ["precious", "nowhere", ".", "/dev/zero", "/dev/tty", "/proc/self/environ"])
def test_a_checkpoint_that_links_to_another_file_is_refused(tmp_path: Path, outside: Path, target: str) -> None:
    (tmp_path / "latest.pt").symlink_to(outside / target)
    for named in (tmp_path / "latest.pt", tmp_path):
        with refused(CheckpointError) as message:
            find_subjects([str(named)])
        assert "mine" not in message[0], "nothing of the file is shown"
    assert not is_whole(tmp_path / "latest.pt")
