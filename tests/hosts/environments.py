# SPDX-License-Identifier: BSD-3-Clause
"""Environments of the host tests: which there are, where they lie, and how one is built.

Hosts pin versions of Python and RSL-RL that exclude each other, so each has an environment of its own. They lie in the
user's cache folder, named after what they were made from, and are built when they are not there. Standard library
only: the session that builds them has none of the hosts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
# What building the package of this checkout reads.
PACKAGE = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "configs", "source")
CHECK = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"


class BuildError(RuntimeError):
    """An environment cannot be built; the message says what to install."""


@dataclass(frozen=True)
class Host:
    """A simulator framework, and what its tests need.

    Attributes:
        name: Its folder below tests/hosts.
        python: Version of Python, as ``"3.12"``.
        distribution: Its package on the index.
        series: How that package's version starts.
        requirements: File that says what to install, below tests/hosts/requirements.
        rsl_rl: Versions of rsl-rl-lib to run the tests with one after the other, if the environment holds none.
    """

    name: str
    python: str
    distribution: str
    series: str
    requirements: str
    rsl_rl: tuple[str, ...] = ()


# The quick ones first.
HOSTS = {
    host.name: host
    for host in (
        Host("isaaclab_2_3", "3.11", "isaaclab", "2.3.", "isaaclab-2.3.txt", ("3.0.1", "3.1.2")),
        Host("mjlab", "3.11", "mjlab", "1.6.", "mjlab.txt"),
        Host("isaaclab_3_0", "3.12", "isaaclab", "3.0.", "isaaclab-3.0.txt"),
    )
}


def cache_folder() -> Path:
    """Return the folder that keeps environments between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trudi_rsl" / "hosts"


def clean_environ() -> dict[str, str]:
    """Return the caller's environment variables without those that point Python to the caller's packages."""
    private = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}
    return {name: value for name, value in os.environ.items() if name not in private} | {"PYTHONNOUSERSITE": "1"}


def find_python(version: str) -> Path:
    """Return an interpreter that can make virtual environments.

    Args:
        version: As ``"3.12"``.

    Raises:
        BuildError: There is none.
    """
    on_path = [Path(folder) / f"python{version}" for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for candidate in [*on_path, *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)]:
        if not candidate.is_file():
            continue
        # A shim of pyenv stands for a version that may not be active, and Debian splits ensurepip off.
        done = subprocess.run(
            [candidate, "-c", CHECK], capture_output=True, text=True, check=False, env=clean_environ()
        )
        if done.returncode == 0 and done.stdout.strip() == version:
            return candidate
    raise BuildError(
        f"No python{version} with the venv module, neither on PATH nor among pyenv's versions. Install it (Debian and "
        f"Ubuntu: python{version} and python{version}-venv; pyenv: pyenv install {version}) and run again."
    )


def read_steps(path: Path) -> list[list[str]]:
    """Read a requirement file: lines ``pip install [options]``, each with the requirements below it.

    Returns:
        The arguments of each ``pip install``, in order.
    """
    steps: list[list[str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("pip install"):
            steps.append(text.split()[2:])
        elif text:
            steps[-1].append(text)
    return steps


def build(host: Host) -> Path:
    """Return the Python of a host's environment, built first if it is not there or was left half-built.

    Raises:
        BuildError: There is no interpreter of the version, or pip failed.
    """
    requirements = REQUIREMENTS / host.requirements
    key = hashlib.sha256(f"{host.python}\n{read_steps(requirements)}".encode()).hexdigest()[:12]
    folder = cache_folder() / f"{host.name}-{key}"
    python, complete = folder / "bin" / "python", folder / "complete"
    with locked(folder):
        # A virtual environment holds its own path, so it is built in place and marked when it is whole.
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
    """Install a project, without its dependencies, into a folder to be put on the import path.

    Args:
        python: Interpreter of the environment, which has setuptools.
        project: Folder with a setup.py or pyproject.toml. Nothing is written into it.
        target: Folder that receives the packages and their metadata.
        contents: What of the project to build from; everything by default.

    Raises:
        BuildError: pip failed.
    """
    # setuptools builds in the source folder and would leave, and later ship, what it built there.
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
    # Conflicts are what the lists are made to have: hosts name packages that the tests do without. Compiling all
    # modules takes longer than all else, and most are never imported.
    options = ("-qq", "--disable-pip-version-check", "--no-input", "--no-warn-conflicts", "--no-compile")
    return [python, "-m", "pip", "install", *options]


def _runs(command: list[str | Path]) -> bool:
    """Run a command to its end and return whether it succeeded."""
    try:
        return subprocess.run(command, env=clean_environ(), check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time build a folder; the others wait and then find it ready."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{folder}.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Build the environments named as arguments, or all, and print their interpreters."""
    for name in sys.argv[1:] or HOSTS:
        print(build(HOSTS[name]))


if __name__ == "__main__":
    main()
