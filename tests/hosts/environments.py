# SPDX-License-Identifier: BSD-3-Clause
"""Virtual environments of the host tests, built with the standard library only.

Hosts pin versions of Python and RSL-RL that exclude each other, so each has an environment of its own, in the user's
cache folder, named by a hash of its requirements and built if it is missing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.software_vulkan import software_vulkan

REQUIREMENTS = Path(__file__).parent / "requirements"
# What building the package of this checkout reads.
PACKAGE = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "configs", "docs", "source")
CHECK = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


class BuildError(RuntimeError):
    """An environment cannot be built; the message says what is missing."""


@dataclass(frozen=True)
class Host:
    """A simulator framework and the requirements of its tests."""

    name: str  # its folder in tests/hosts
    python: str  # as "3.12"
    distribution: str
    series: str  # prefix of the distribution's version
    requirements: str  # file in tests/hosts/requirements
    # Versions of rsl-rl-lib to test with, if the environment contains none; all but the first are left to the night.
    rsl_rl: tuple[str, ...] = ()
    longest: tuple[str, ...] = ()  # test files that take the most time, the longest first
    variables: Callable[[Path], dict[str, str]] | None = None  # of the tests, from the environment's folder


# The fastest first.
HOSTS = {
    host.name: host
    for host in (
        Host(
            "isaaclab_2_3",
            "3.11",
            "isaaclab",
            "2.3.",
            "isaaclab-2.3.txt",
            ("3.1.2", "3.0.1"),
            ("test_scripts.py", "test_ppo_scripts.py"),
        ),
        Host(
            "mjlab",
            "3.11",
            "mjlab",
            "1.6.",
            "mjlab.txt",
            longest=("test_training.py", "test_scripts.py", "test_sweep.py"),
        ),
        Host("maniskill", "3.11", "mani-skill", "3.0.", "maniskill.txt", variables=software_vulkan),
        Host("playground", "3.11", "playground", "0.2.", "playground.txt"),
        Host(
            "isaaclab_3_0",
            "3.12",
            "isaaclab",
            "3.0.",
            "isaaclab-3.0.txt",
            longest=(
                "test_documentation.py",
                "test_rough_g1.py",
                "test_own_project.py",
                "test_algorithms.py",
                "test_paper_tasks.py",
            ),
        ),
    )
}


def cache_folder() -> Path:
    """Return the folder of the environments."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trudi_rsl" / "hosts"


def clean_environ() -> dict[str, str]:
    """Return the environment variables without those that make the caller's packages importable."""
    private = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    return {name: value for name, value in os.environ.items() if name not in private} | {"PYTHONNOUSERSITE": "1"}


def find_python(version: str) -> Path:
    """Return an interpreter of a version, as ``"3.12"``, that can make virtual environments.

    Raises:
        BuildError: There is none.
    """
    on_path = [Path(folder) / f"python{version}" for folder in os.get_exec_path()]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for candidate in filter(Path.is_file, [*on_path, *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]):
        # pyenv's shims may stand for an inactive version, and Debian packages ensurepip separately.
        done = subprocess.run([candidate, "-c", CHECK], capture_output=True, text=True, env=clean_environ())
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    raise BuildError(
        f"No python{version} with the venv module, neither on PATH nor among pyenv's versions. Install it (Debian and "
        f"Ubuntu: python{version} and python{version}-venv; pyenv: pyenv install {version}) and run again."
    )


def read_steps(path: Path) -> list[list[str]]:
    """Return the arguments of each ``pip install`` of a requirement file: its options and the lines below it."""
    steps: list[list[str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("pip install"):
            steps.append(text.split()[2:])
        elif text:
            steps[-1].append(text)
    return steps


def build(host: Host) -> Path:
    """Return the Python of a host's environment, which is built if it is missing or incomplete.

    Raises:
        BuildError: There is no interpreter of the version, or pip failed.
    """
    requirements = REQUIREMENTS / host.requirements
    key = hashlib.sha256(f"{host.python}\n{read_steps(requirements)}".encode()).hexdigest()[:12]
    folder = cache_folder() / f"{host.name}-{key}"
    python, complete = folder / "bin" / "python", folder / "complete"
    with locked(folder):
        # A virtual environment contains its path, so it is built in place and marked when complete.
        if complete.exists() and _runs([python, "-c", ""]):
            return python
        interpreter = find_python(host.python)
        print(f"Building {folder} (minutes; once per change of {requirements.name}).", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        commands = [[interpreter, "-m", "venv", folder]]
        commands += [[*_pip(python), *step] for step in read_steps(requirements)]
        for command in commands:
            if not _runs(command):
                raise BuildError(f"Building {folder} stopped at: {' '.join(map(str, command))}")
        complete.touch()
    return python


def install(python: Path, project: Path, target: Path, contents: tuple[str, ...] = ()) -> None:
    """Install a project (``contents`` of it) without dependencies into the folder ``target`` for the import path.

    Raises:
        BuildError: pip failed.
    """
    # setuptools builds in the source folder, and would package files of earlier builds.
    copy = target.with_name(f"{target.name}-build")
    for item in map(project.joinpath, contents or sorted(path.name for path in project.iterdir())):
        if item.is_dir():
            shutil.copytree(item, copy / item.name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
        elif item.exists():
            copy.mkdir(parents=True, exist_ok=True)
            shutil.copy2(item, copy)
    if not _runs([*_pip(python), "--no-deps", "--no-build-isolation", "--target", target, copy]):
        raise BuildError(f"pip could not install {project}")
    shutil.rmtree(copy)


def _pip(python: Path) -> list[str | Path]:
    # No warnings, because the lists leave out packages that hosts require but the tests do not need. No compilation,
    # because it takes longest and most modules are never imported.
    options = ("-qq", "--disable-pip-version-check", "--no-input", "--no-warn-conflicts", "--no-compile")
    return [python, "-m", "pip", "install", *options]


def _runs(command: list[str | Path]) -> bool:
    """Run a command and return whether it succeeded."""
    try:
        return subprocess.run(command, env=clean_environ(), check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time build a folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    for name in sys.argv[1:] or HOSTS:
        print(build(HOSTS[name]))
