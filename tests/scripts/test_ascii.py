# SPDX-License-Identifier: BSD-3-Clause
"""Commands on a terminal that shows ASCII only."""

from __future__ import annotations

import io
import sys

import pytest

from trudi_rsl.commands import program


def test_letters_that_a_terminal_cannot_show_do_not_end_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)

    def main(argv: list[str]) -> int:
        print(f"task {argv[0]} ± │")
        return 0

    monkeypatch.setattr(
        program.importlib, "import_module", lambda name: type("Command", (), {"main": staticmethod(main)})
    )
    assert program.run("play", ["héllo"]) == 0
    shown.flush()
    assert shown.buffer.getvalue() == b"task h?llo ? ?\n"  # pyright: ignore[reportAttributeAccessIssue]
