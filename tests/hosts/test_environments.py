# SPDX-License-Identifier: BSD-3-Clause
"""Environments of the host tests are complete or rebuilt, and a host session without its host fails."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.hosts import environments
from tests.hosts.environments import BuildError, Host, build, find_python, read_steps

ROOT = Path(__file__).parents[2]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Return a host that needs this Python and no packages, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(environments, "REQUIREMENTS", tmp_path)
    monkeypatch.setattr(environments, "find_python", lambda _version: Path(sys.executable))
    (tmp_path / "empty.txt").write_text("# Nothing is needed.\n")
    return Host("empty", ".".join(map(str, sys.version_info[:2])), "pip", "", "empty.txt")


def run_pytest(folder: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", folder]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, check=False)


def test_steps_keep_their_order_and_options(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# Comment\npip install --no-deps\na==1  # why\n\npip install\nb>=2\nc[d]\n")
    assert read_steps(path) == [["--no-deps", "a==1"], ["b>=2", "c[d]"]]


@pytest.mark.slow
@pytest.mark.nightly
def test_an_environment_is_built_once_and_rebuilt_if_incomplete(host: Host) -> None:
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(build, [host, host])
    assert first == second
    assert subprocess.run([first, "-c", ""], check=False).returncode == 0
    remnant = first.parents[1] / "remnant"
    remnant.touch()
    assert build(host) == first and remnant.exists()
    remnant.with_name("complete").unlink()
    assert build(host) == first and not remnant.exists()


@pytest.mark.slow
@pytest.mark.nightly
def test_a_package_that_cannot_be_installed_is_named_and_leaves_no_environment(host: Host) -> None:
    (environments.REQUIREMENTS / host.requirements).write_text("pip install --no-index\nno-such-package\n")
    with pytest.raises(BuildError, match="no-such-package"):
        build(host)
    assert not list(environments.cache_folder().glob("*/complete"))


def test_a_missing_interpreter_is_answered_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    with pytest.raises(BuildError, match=r"No python3\.12 .*pyenv install 3\.12"):
        find_python("3.12")


@pytest.mark.slow
@pytest.mark.nightly
def test_without_the_host_its_session_fails_and_others_leave_its_tests_out() -> None:
    session = run_pytest("tests/hosts/isaaclab_3_0", TRUDI_EXPECT_HOST="isaaclab_3_0")
    assert session.returncode != 0
    assert "isaaclab 3.0.* is not installed" in session.stderr
    other = run_pytest("tests/hosts")
    assert other.returncode == 0, other.stdout
    assert "test_environments.py" in other.stdout
    assert not any(f"tests/hosts/{name}/" in other.stdout for name in environments.HOSTS)
