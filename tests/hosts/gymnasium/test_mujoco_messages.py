# SPDX-License-Identifier: BSD-3-Clause
"""MuJoCo's warnings are logged once, without a file in the working directory; why it cannot be imported is shown."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import gymnasium
import pytest

from trudi_rsl.hosts.gymnasium import mujoco_messages
from trudi_rsl.hosts.gymnasium.make import make_env
from trudi_rsl.hosts.gymnasium.mujoco_messages import import_advice

MISSING_CORE = "core bindings ('mujoco-core') are missing. Repair:\n pip install --force-reinstall mujoco mujoco-core"


def test_a_deprecation_is_logged_once_and_no_file_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mujoco_messages, "_seen", set())
    for _ in range(3):
        make_env("HalfCheetah-v5").close()
    out = capsys.readouterr().out
    assert out.count("MuJoCo: ") == len(set(out.splitlines())) <= 1
    assert not list(tmp_path.iterdir())


def failed_import(*errors: Exception) -> Exception:
    """Return the error of a chain of causes, the last one outermost, as Gymnasium raises it."""
    cause = None
    for error in errors:
        error.__cause__ = cause
        cause = error
    outer = gymnasium.error.DependencyNotInstalled('MuJoCo is not installed, run `pip install "gymnasium[mujoco]"`')
    outer.__cause__ = cause
    return outer


def test_an_installed_mujoco_that_cannot_be_imported_is_reported_with_the_innermost_remedy() -> None:
    innermost = ModuleNotFoundError("No module named 'mujoco._structs'", name="mujoco._structs")
    advice = import_advice("Ant-v5", failed_import(innermost, ImportError(MISSING_CORE)))
    assert advice is not None and "\n" not in advice
    assert version("mujoco") in advice and "--force-reinstall mujoco mujoco-core" in advice
    assert "gymnasium[mujoco]" not in advice, "that would change nothing"
    bare = import_advice("Ant-v5", failed_import(ImportError("cannot import name 'MjModel' from 'mujoco'")))
    assert bare is not None and "cannot import name 'MjModel'" in bare and "--force-reinstall mujoco" in bare
    assert import_advice("Box-v0", ImportError("No module named 'Box2D'", name="Box2D")) is None
