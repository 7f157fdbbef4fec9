# SPDX-License-Identifier: BSD-3-Clause
"""Every script reports mistakes on the command line in one line, with the nearest flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts.running import SCRIPTS, run_script
from trudi_rsl.command_line import Parser


def test_paths_may_stand_before_between_and_behind_the_flags_and_an_unknown_flag_gets_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = Parser("About.")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("paths", nargs="*")
    args = parser.parse_all(["a", "--seeds", "1", "2", "--fast", "b", "c"])
    assert (args.paths, args.seeds, args.fast) == (["a", "b", "c"], [1, 2], True)
    for unknown in (["a", "--seed", "3"], ["--seed=3", "a"], ["a", "--seeds", "1", "--seed", "b"]):
        with pytest.raises(SystemExit, match="2"):
            parser.parse_all(unknown)
        assert capsys.readouterr().err == "Error: Unknown flag --seed. Did you mean '--seeds'? --help lists them.\n"


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda script: script.name)
def test_every_script_refuses_an_unknown_flag_in_one_line(script: Path, tmp_path: Path) -> None:
    needed = {"train.py": ["--task", "Hopper-v5"], "play.py": ["--task", "Hopper-v5"]}
    needed |= {name: ["--checkpoint", "x"] for name in ("export.py", "plot_chain.py")}
    done = run_script(script.name, *needed.get(script.name, ["x"]), "--checkpont", cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("Error: Unknown flag --checkpont. ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
