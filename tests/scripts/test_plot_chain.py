# SPDX-License-Identifier: BSD-3-Clause
"""scripts/plot_chain.py from the command line."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest

from tests.evaluation.tiny_runs import train_tiny
from tests.scripts.running import ScriptHere, assert_pictures

TASK = "PlanarObstacle-v0"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of TruDi and one of REPPO."""
    root = tmp_path_factory.mktemp("project")
    for algo in ("trudi", "reppo"):
        train_tiny(algo, root / algo, TASK)
    np.save(root / "obs.npy", np.array([-0.6, 0.0]))
    return root


@pytest.fixture
def plot_chain(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> ScriptHere:
    return ScriptHere("plot_chain.py", project, monkeypatch, capsys)


def test_both_pictures_are_written_beside_the_checkpoint_and_replaced(plot_chain: ScriptHere, project: Path) -> None:
    (project / "trudi" / "chain.png").write_text("older")
    output = plot_chain("--checkpoint", "trudi", "--num_paths", "100", "env.env_kwargs.fixed_start=true")
    assert output.count("trudi/chain.") == 2
    assert_pictures(project / "trudi" / "chain")


def test_chosen_dimensions_of_an_observation_from_a_file_go_to_a_chosen_place(
    plot_chain: ScriptHere, project: Path
) -> None:
    checkpoint = ("--checkpoint", "trudi/model_1.pt", "--num_paths", "50")
    plot_chain(*checkpoint, "--obs", "obs.npy", "--output", "pictures/both")
    plot_chain(*checkpoint, "--obs", "obs.npy", "--dims", "1", "--output", "pictures/one")
    both, one = (imageio.imread(project / "pictures" / f"{name}.png") for name in ("both", "one"))
    assert both.shape[0] > 1.5 * one.shape[0]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--checkpoint", "trudi", "--dims", "2"], "Error: --dims must be among 0 .. 1; got [2]."),
        (["--checkpoint", "trudi", "--num_paths", "1"], "Error: The number of paths must be at least 2, got 1."),
        (["--checkpoint", "trudi", "--obs", "none.npy"], "Error: Cannot read an observation from none.npy"),
        (["--checkpoint", "trudi", "--obs", "obs.npy", "env.num_envs=2"], "With --obs there is no simulator"),
        (["--checkpoint", "trudi", "env.env_kwargs.fixd_start=true"], "Did you mean 'fixed_start'?"),
    ],
)
def test_mistakes_are_reported_in_one_line(plot_chain: ScriptHere, args: list[str], message: str) -> None:
    assert message in plot_chain.error(*args)


def test_a_named_picture_that_exists_is_kept(plot_chain: ScriptHere, project: Path) -> None:
    mine = project / "mine.svg"
    mine.write_text("mine")
    arguments = ("--checkpoint", "trudi", "--num_paths", "50", "--output", "mine")
    assert "mine.svg exists and was kept. Choose another --output" in plot_chain.error(*arguments)
    assert mine.read_text() == "mine"
    assert not (project / "mine.png").exists()
