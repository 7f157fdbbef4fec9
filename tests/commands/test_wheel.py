# SPDX-License-Identifier: BSD-3-Clause
"""A fresh environment made from the wheel alone runs every command of the README in order, with no git or compiler."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.hosts.environments import PACKAGE, install
from trudi_rsl.hosts.registry import find_host

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "docker" / "cpu.Dockerfile"
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)

SMALLER = {
    "train --resume": "--more_iterations 1",
    "train": "--device cpu --num_envs 4 --max_iterations 2 agent.num_steps_per_env=16 agent.evaluation_episodes=1 "
    "agent.algorithm.num_mini_batches=2",
    "play": "--episodes 2",
    "evaluate": "--episodes 2",
    "sweep": "--tasks dm_control:walker-run --algorithms trudi ppo",
    "demo": "--episodes 2",
    "latency": "--calls 100",
}
"""What is appended to a command of the README, by its name: the last value of a flag counts."""

FOUND_SOMETHING = 1
"""Exit code of `trudi doctor` about a run that is not healthy."""


def commands() -> list[list[str]]:
    """Return the arguments of every line ``trudi ...`` in the README, in order."""
    lines = (line for _, block in BLOCK.findall(README) for line in block.splitlines())
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("trudi ")]


def smaller(arguments: list[str]) -> list[str]:
    """Return a command with what :data:`SMALLER` appends."""
    name = "train --resume" if "--resume" in arguments else arguments[0]
    return [*arguments, *SMALLER.get(name, "").split()]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and the packages of the running one behind it."""
    folder = tmp_path_factory.mktemp("fresh") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    install(Path(sys.executable), ROOT, site, PACKAGE)
    # torch is gigabytes, so it is borrowed; this checkout, if the running environment has it, comes after the wheel
    (site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    script = folder / "bin" / "trudi"
    script.write_text(f"#!{folder / 'bin' / 'python'}\n" + (site / "bin" / "trudi").read_text().partition("\n")[2])
    script.chmod(0o755)
    return folder


class Shell:
    """Runs commands of the environment in a folder, with no other program on the path."""

    def __init__(self, environment: Path, folder: Path) -> None:
        self._bin, self._folder = environment / "bin", folder
        self._variables = {"PATH": str(self._bin), "HOME": str(folder), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        self._variables |= {name: value for name, value in os.environ.items() if name in ("LD_LIBRARY_PATH", "LANG")}

    def __call__(self, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command until it ends; it must not end in a traceback."""
        done = subprocess.run(
            [self._bin / command, *arguments],
            cwd=self._folder,
            env=self._variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, (arguments, done.stderr)
        return done

    def trudi(self, *arguments: str, code: int = 0) -> str:
        """Run a subcommand that must leave with a code, and return what it wrote to standard error."""
        done = self("trudi", *arguments)
        assert done.returncode == code, (arguments, done.stderr)
        return done.stderr


def test_every_command_of_the_readme_runs_in_order_where_neither_git_nor_a_compiler_is_installed(
    environment: Path, tmp_path: Path
) -> None:
    shell = Shell(environment, tmp_path)
    assert {"demo", "tasks", "train", "play", "export", "plot", "doctor"} <= {arguments[0] for arguments in commands()}
    for arguments in commands():
        task = arguments[arguments.index("--task") + 1] if "--task" in arguments else None
        if task is not None and not find_host(task).is_installed():
            (line,) = shell.trudi(*arguments, code=1).splitlines()
            assert line.startswith("Error: ") and find_host(task).install in line
            continue
        done = shell("trudi", *smaller(arguments))
        is_diagnosis = arguments[0] == "doctor" and done.returncode == FOUND_SOMETHING
        assert done.returncode == 0 or is_diagnosis, (arguments, done.stderr)
    assert "path KL" in shell("trudi", "docs", "log").stdout
    (policy,) = tmp_path.glob("logs/rsl_rl/hopper-v5/*/exported/policy.onnx")
    (snippet,) = (block for language, block in BLOCK.findall(README) if language == "python")
    program = f"import os, numpy, trudi_rsl\nos.chdir({str(policy.parent)!r})\nobs = numpy.zeros(11)\n{snippet}"
    done = shell("python", "-c", f"{program}\nprint(action.shape, trudi_rsl.__file__)")
    shape, _, file = done.stdout.strip().rpartition(" ")
    assert shape == "(3,)" and Path(file).is_relative_to(environment), done.stderr


def test_the_steps_of_the_image_for_cpus_install_what_its_command_needs_and_run_it(
    environment: Path, tmp_path: Path
) -> None:
    """Without docker: what the image copies exists, the extra that it installs does, and its command trains."""
    steps = [line.split(maxsplit=1) for line in IMAGE.read_text().splitlines() if line and line[0] != "#"]
    copied = [text.split()[0] for step, text in steps if step == "COPY"]
    assert all((ROOT / name).exists() for name in copied)
    (extra,) = (extra for step, text in steps if step == "RUN" for extra in re.findall(r"'\.\[(\w+)\]'", text))
    (metadata,) = environment.rglob("trudi_rsl-*.dist-info/METADATA")
    assert f"Provides-Extra: {extra}" in metadata.read_text().splitlines()
    program, *arguments = [word for step, text in steps if step in ("ENTRYPOINT", "CMD") for word in json.loads(text)]
    assert program == "trudi"
    Shell(environment, tmp_path).trudi(*smaller(arguments))
    assert list(tmp_path.glob("logs/rsl_rl/*/*/model_1.pt"))
