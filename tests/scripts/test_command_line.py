# SPDX-License-Identifier: BSD-3-Clause
"""Every script reports mistakes on the command line in one line, with the nearest flags."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts.running import SCRIPTS, run_script
from trudi_rsl.command_line import Parser


def parser() -> Parser:
    """Return one with a flag of each kind."""
    made = Parser("About.")
    made.add_argument("--seeds", nargs="+", type=int)
    made.add_argument("--fast", action="store_true")
    made.add_argument("paths", nargs="*")
    return made


@pytest.mark.parametrize("argv", [["a", "--seed", "3"], ["--seed=3", "a"], ["a", "--seeds", "1", "--seed", "b"]])
def test_an_unknown_flag_is_refused_with_the_nearest(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parser().parse_all(argv)
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == "Error: Unknown flag --seed. Did you mean '--seeds'? --help lists them.\n"


def test_what_is_no_flag_may_stand_before_between_and_behind_the_flags() -> None:
    args = parser().parse_all(["a", "--seeds", "1", "2", "--fast", "b", "c"])
    assert (args.paths, args.seeds, args.fast) == (["a", "b", "c"], [1, 2], True)


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py")), ids=lambda script: script.name)
def test_every_script_refuses_an_unknown_flag_in_one_line(script: Path, tmp_path: Path) -> None:
    needed = {"train.py": ["--task", "Hopper-v5"], "play.py": ["--task", "Hopper-v5"]}
    needed |= {name: ["--checkpoint", "x"] for name in ("export.py", "plot_chain.py")}
    done = run_script(script.name, *needed.get(script.name, ["x"]), "--checkpont", cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("Error: Unknown flag --checkpont. ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
