# SPDX-License-Identifier: BSD-3-Clause
"""Flags and paths in any order, and the nearest flags to an unknown one."""

from __future__ import annotations

import pytest

from trudi_rsl.command_line import Parser


def test_paths_may_stand_before_between_and_behind_the_flags_and_an_unknown_flag_gets_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    parser = Parser("About.", "fly")
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("paths", nargs="*")
    args = parser.parse_all(["a", "--seeds", "1", "2", "--fast", "b", "c"])
    assert (args.paths, args.seeds, args.fast) == (["a", "b", "c"], [1, 2], True)
    for unknown in (["a", "--seed", "3"], ["--seed=3", "a"], ["a", "--seeds", "1", "--seed", "b"]):
        with pytest.raises(SystemExit, match="2"):
            parser.parse_all(unknown)
        assert capsys.readouterr().err == "Error: Unknown flag --seed. Did you mean '--seeds'? --help lists them.\n"
