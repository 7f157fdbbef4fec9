# SPDX-License-Identifier: BSD-3-Clause
"""Tests that need other packages than the core's environment (`make test` runs them).

`core`: the contract with RSL-RL, for each version that hosts pin. torch is gigabytes, so sessions have no environment
of their own: they install rsl-rl-lib without its dependencies into a folder of the running environment and put that
first on the import path; `tests/rsl_rl/test_compat.py` checks that it is used.

`rsl_rl_suite`: RSL-RL's own tests with TruDi in the place of PPO, from its repository; skipped without a network.

`dm_control`: its suite, in the same manner, because it works with one version of MuJoCo only.

`hosts`: real Isaac Lab, mjlab, MuJoCo Playground and ManiSkill, each in an environment of its own
(tests/hosts/environments.py), with this package installed from a wheel.
"""

import os
import subprocess
import sys
import zlib
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import nox

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT))

from tests.hosts.environments import HOSTS, PACKAGE, BuildError, Host, build, cache_folder, install, locked  # noqa: E402

# 3.0.1 and 3.1.2: Isaac Lab 2.3; 5.0.1: Isaac Lab 3.0 beta; 5.4.2: mjlab 1.6; 5.5.1: Isaac Lab 3.0.
RSL_RL_VERSIONS = ("3.0.1", "3.1.2", "4.0.1", "5.0.1", "5.4.2", "5.5.1")
# Left to the night: hosts are tested with 3.1.2 and 5.4.2, and of Isaac Lab 3.0 there is a release after its beta.
LEFT_TO_NIGHT = ("3.1.2", "5.0.1", "5.4.2")
NIGHTLY = "--nightly"
# Also the schema of PPO's configuration, derived from the installed RSL-RL, and files of earlier versions. The core's
# environment runs what does not depend on RSL-RL: exports, processes, and most of the composition.
CONTRACT_TESTS = ("tests/rsl_rl", "tests/config", "tests/checkpoints")
CONTRACT_SELECTION = ("-m", "not slow", "-k", "not test_compose or ppo")
# The newest tag whose expected failures are listed in tests/rsl_rl/suite; the same version is tested.
SUITE_REPOSITORY, SUITE_VERSION = "https://github.com/leggedrobotics/rsl_rl", "5.4.2"
# Without what only rendering, composing models and dm_control's other tasks need.
DM_CONTROL = (
    "dm_control==1.0.50",
    "mujoco==3.17.0",
    "dm-env==1.6",
    "dm-tree==0.1.10",
    "absl-py",
    "lxml",
    "pyopengl",
    "glfw",
)
WORKERS = os.environ.get("PYTEST_WORKERS", "2")

nox.options.default_venv_backend = "none"


@nox.session
@nox.parametrize("rsl_rl", RSL_RL_VERSIONS, ids=RSL_RL_VERSIONS)
def core(session: nox.Session, rsl_rl: str) -> None:
    """Run the contract tests with one version of rsl-rl-lib, unless it is the one of the core's environment."""
    if rsl_rl == metadata.version("rsl-rl-lib"):
        session.skip(f"rsl-rl-lib {rsl_rl} is the version of the core's environment.")
    if rsl_rl in LEFT_TO_NIGHT and NIGHTLY not in session.posargs:
        session.skip(f"{NIGHTLY} also runs the contract tests with rsl-rl-lib {rsl_rl}.")
    target = _rsl_rl(session, Path(sys.executable), Path(sys.prefix), rsl_rl)
    session.run(
        *(sys.executable, "-m", "pytest", *CONTRACT_TESTS, *CONTRACT_SELECTION, "-n", WORKERS),
        *session.posargs,
        env={"PYTHONPATH": _join(target, ROOT / "source"), "TRUDI_EXPECT_RSL_RL": rsl_rl},
        external=True,
    )


@nox.session
@nox.parametrize("host", list(HOSTS.values()), ids=list(HOSTS))
def hosts(session: nox.Session, host: Host) -> None:
    """Run the tests of one host in its environment, which is built if it is missing."""
    with TemporaryDirectory() as folder:
        package = Path(folder) / "package"
        try:
            python = build(host)
            install(python, ROOT, package, PACKAGE)
        except BuildError as error:
            session.error(str(error))
        environment = python.parents[1]
        variables = host.variables(environment) if host.variables else {}
        versions = host.rsl_rl if NIGHTLY in session.posargs else host.rsl_rl[:1]
        for rsl_rl in versions or (None,):
            path = [package] if rsl_rl is None else [_rsl_rl(session, python, environment, rsl_rl), package]
            # Replaces pyproject.toml's pythonpath, which would put the sources before the installed package.
            session.run(
                *(str(python), "-m", "pytest", *_files(host), "-o", "pythonpath=."),
                # Tests of a file share its runs, so one worker runs them. The workers begin with the longest files.
                *("-n", WORKERS, "--dist", "loadfile", "--no-loadscope-reorder"),
                *session.posargs,
                env={
                    "PYTHONPATH": _join(*path),
                    "PATH": os.pathsep.join((str(python.parent), os.environ["PATH"])),
                    "OMP_NUM_THREADS": "1",
                    "WARP_CACHE_PATH": str(environment / "warp"),
                    "JAX_COMPILATION_CACHE_DIR": str(environment / "jax"),
                    "TRUDI_EXPECT_HOST": host.name,
                    "TRUDI_EXPECT_RSL_RL": rsl_rl,
                    **variables,
                },
                external=True,
            )


def _files(host: Host) -> list[str]:
    """Return a host's test files, the longest first."""
    names = sorted(path.name for path in (ROOT / "tests" / "hosts" / host.name).glob("test_*.py"))
    names.sort(key=lambda name: host.longest.index(name) if name in host.longest else len(host.longest))
    return [f"tests/hosts/{host.name}/{name}" for name in names]


@nox.session
def rsl_rl_suite(session: nox.Session) -> None:
    """Run RSL-RL's own tests with TruDi in the place of PPO, those of its algorithms or all; see tests/rsl_rl/suite."""
    suite = cache_folder().parent / f"rsl_rl-v{SUITE_VERSION}"
    with locked(suite):
        if not (suite / "tests").exists():
            found = subprocess.run(("git", "ls-remote", "--tags", SUITE_REPOSITORY), capture_output=True, text=True)
            if found.returncode != 0:
                session.skip(f"RSL-RL's tests cannot be fetched: {found.stderr.strip()}")
            with TemporaryDirectory(dir=suite.parent) as folder:
                clone = ("git", "clone", "--quiet", "--depth", "1", "--branch", f"v{SUITE_VERSION}", SUITE_REPOSITORY)
                session.run(*clone, folder, "-c", "advice.detachedHead=false", external=True)
                suite.mkdir(exist_ok=True)
                Path(folder, "tests").rename(suite / "tests")
    target = _rsl_rl(session, Path(sys.executable), Path(sys.prefix), SUITE_VERSION)
    plugin = ROOT / "tests" / "rsl_rl" / "suite"
    session.chdir(suite)
    # The rest are RSL-RL's models and functions by themselves, which take most of the time.
    folders = ("tests",) if NIGHTLY in session.posargs else ("tests/algorithms", "tests/runners", "tests/extensions")
    session.run(
        *(sys.executable, "-m", "pytest", *folders, "-p", "in_place_of_ppo", "-p", "no:cacheprovider", "-r", "x"),
        *(argument for argument in session.posargs if argument != NIGHTLY),
        env={"PYTHONPATH": _join(target, ROOT / "source", plugin, suite), "OMP_NUM_THREADS": "1"},
        external=True,
    )


@nox.session
def dm_control(session: nox.Session) -> None:
    """Run the tests of dm_control with the MuJoCo that it needs, both in a folder before the core's environment."""
    target = Path(sys.prefix) / "dm_control" / zlib.crc32(repr(DM_CONTROL).encode()).to_bytes(4).hex()
    _install(session, Path(sys.executable), target, *DM_CONTROL)
    session.run(
        *(sys.executable, "-m", "pytest", "tests/hosts/dm_control", "-n", WORKERS),
        *session.posargs,
        env={"PYTHONPATH": _join(target, ROOT / "source"), "OMP_NUM_THREADS": "1", "TRUDI_EXPECT_DM_CONTROL": "1"},
        external=True,
    )


def _rsl_rl(session: nox.Session, python: Path, environment: Path, version: str) -> Path:
    """Return a folder with one version of rsl-rl-lib, which is installed there if it is missing."""
    target = environment / "rsl-rl-versions" / version
    _install(session, python, target, f"rsl-rl-lib=={version}")
    return target


def _install(session: nox.Session, python: Path, target: Path, *packages: str) -> None:
    """Install packages without their dependencies into a folder, unless that has been completed before."""
    complete = target / "complete"
    if not complete.exists():
        pip = (str(python), "-m", "pip", "install", "-qq", "--upgrade", "--no-deps", "--target", str(target))
        session.run(*pip, *packages, external=True)
        complete.touch()


def _join(*folders: Path) -> str:
    return os.pathsep.join(map(str, folders))
