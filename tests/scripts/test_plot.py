# SPDX-License-Identifier: BSD-3-Clause
"""scripts/plot.py from the command line."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as imageio
import pytest

from tests.evaluation.tiny_runs import train_tiny, write_run
from tests.scripts.running import ScriptHere, run_script
from trudi_rsl.evaluation.learning_curves import RETURN_TAG


@pytest.mark.slow
def test_a_real_run_gets_a_picture_beside_its_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_tiny("trudi", tmp_path / "run")
    result = run_script("plot.py", "run", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "Learning curve: run/learning_curve.png"
    assert imageio.imread(tmp_path / "run" / "learning_curve.png").shape[0] > 800  # with the row of panels
    ScriptHere("plot.py", tmp_path, monkeypatch, capsys)("run", "run", "--output", "pictures/both.svg")
    assert (tmp_path / "pictures" / "both.svg").read_text().lstrip().startswith("<?xml")


def test_a_named_picture_that_exists_is_kept_and_the_default_one_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run", {RETURN_TAG: {0: 0.0, 1: 1.0}})
    plot = ScriptHere("plot.py", tmp_path, monkeypatch, capsys)
    mine, own = tmp_path / "mine.png", tmp_path / "run" / "learning_curve.png"
    for path in (mine, own):
        path.write_text("mine")
    assert "mine.png exists and was kept. Choose another --output" in plot.error("run", "--output", "mine.png")
    assert mine.read_text() == "mine"
    plot("run")
    assert imageio.imread(own).ndim == 3
    assert "Nothing at none." in plot.error("none")
