# SPDX-License-Identifier: BSD-3-Clause
"""What is missing is named at once, with the command that installs it from where the package came from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from trudi_rsl import packages


def test_all_missing_packages_of_all_groups_are_named_in_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    groups = ({"onnx": "onnx", "no_such_module": "no-such-package"}, {"json": "json", "nor_this": "nor-this"})
    with pytest.raises(ImportError, match=r"Flying needs onnx, no-such-package, nor-this, not installed in"):
        packages.require("Flying", *groups)
    packages.require("Flying", {"json": "json"})


@pytest.mark.parametrize(
    ("record", "requirement"),
    [
        (
            {
                "url": "https://host/x/trudi_rsl",
                "vcs_info": {"vcs": "git", "commit_id": "1", "requested_revision": "v1"},
            },
            "trudi_rsl[all] @ git+https://host/x/trudi_rsl@v1",
        ),
        (
            {"url": "https://host/x/trudi_rsl", "vcs_info": {"vcs": "git", "commit_id": "1"}},
            "trudi_rsl[all] @ git+https://host/x/trudi_rsl",
        ),
        ({"url": "file:///a/trudi_rsl-1.whl", "archive_info": {}}, "trudi_rsl[all] @ file:///a/trudi_rsl-1.whl"),
        (None, "trudi_rsl[all]"),
    ],
)
def test_a_wheel_is_installed_again_from_where_it_came_from(
    record: dict | None, requirement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "trudi_rsl-9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: trudi_rsl\nVersion: 9\n")
    if record is not None:
        (info / "direct_url.json").write_text(json.dumps(record))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(packages, "_CHECKOUT", tmp_path)
    assert packages.install_command() == f'pip install "{requirement}"'


def test_in_a_checkout_its_own_environment_is_named_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "_CHECKOUT", tmp_path)
    (tmp_path / "setup.py").touch()
    assert packages.how_to_install() == f"Run: pip install -e '{tmp_path}[all]'"
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    assert packages.how_to_install().endswith(f"source {tmp_path}/.venv/bin/activate")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    assert packages.how_to_install() == f"Run: pip install -e '{tmp_path}[all]'"
