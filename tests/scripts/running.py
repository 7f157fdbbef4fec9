# SPDX-License-Identifier: BSD-3-Clause
"""Running the scripts as a user does."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def start_script(name: str, *args: str | Path, cwd: Path, **pipes: Any) -> subprocess.Popen[str]:
    """Start ``scripts/<name>`` in the folder ``cwd`` in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen([sys.executable, SCRIPTS / name, *args], cwd=cwd, text=True, env=environment, **pipes)


def run_script(name: str, *args: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run ``scripts/<name>`` in a process of its own until it ends."""
    with start_script(name, *args, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        output = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, *output)


def table_rows(output: str) -> list[list[str]]:
    """Return the cells of the rows of the tables in what a script printed."""
    return [[cell.strip() for cell in row.split("│")] for row in re.findall(r"^│(.*)│$", output, re.MULTILINE)]


def assert_pictures(stem: Path) -> None:
    """Check that ``stem`` + ``.png`` shows something light and dark, and that ``stem`` + ``.svg`` is one."""
    import imageio.v3 as imageio  # the hosts' environments, whose tests use this module, lack it

    picture = imageio.imread(f"{stem}.png")
    assert picture.min() < 128 < picture.max()
    assert Path(f"{stem}.svg").read_text().lstrip().startswith("<?xml")


class ScriptHere:
    """Runs ``scripts/<name>`` in the folder ``cwd`` in this process, which spares the seconds of importing torch."""

    def __init__(
        self, name: str, cwd: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._name, self._cwd, self._monkeypatch, self._capsys = name, cwd, monkeypatch, capsys

    def __call__(self, *args: str | Path) -> str:
        """Return what it prints."""
        self._monkeypatch.chdir(self._cwd)
        self._monkeypatch.setattr(sys, "argv", [self._name, *map(str, args)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            runpy.run_path(str(SCRIPTS / self._name), run_name="__main__")
        if exit_info.value.code != 0:
            raise exit_info.value
        return self._capsys.readouterr().out

    def error(self, *args: str | Path) -> str:
        """Return the message with which it leaves."""
        with pytest.raises(SystemExit) as exit_info:
            self(*args)
        assert exit_info.value.code not in (None, 0)
        return self._capsys.readouterr().err.strip().splitlines()[-1]
