# SPDX-License-Identifier: BSD-3-Clause
"""The program ``trudi``: its subcommands, exit codes and one-line errors."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trudi_rsl.commands import program, train
from trudi_rsl.errors import CheckpointError, ConfigError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "source"
NEEDED = {"train": ["--task", "Hopper-v5"], "play": ["--task", "Hopper-v5"], "export": ["--checkpoint", "x"]}
NEEDED |= {"chains": NEEDED["export"], "tasks": [], "sweep": ["x"], "demo": []}

WRONG = {
    "Unknown flag --checkpont.": [[name, *NEEDED.get(name, ["x"]), "--checkpont"] for name in program.COMMANDS],
    "'kl_bound'": [["train", "--task", "Hopper-v5", "agent.algorithm.kl_bond=1"]],
    "above 0; got -1": [["train", "--task", "Hopper-v5", "agent.algorithm.kl_bound=-1"]],
    "It is PPO's; use agent.algorithm.kl_bound.": [["train", "--task", "Hopper-v5", "agent.algorithm.clip_param=1"]],
    "'num_envs'": [["train", "--task", "Hopper-v5", "env.num_env=1"], ["play", "--task", "Hopper-v5", "env.num_env=1"]],
    "'clip_param'": [
        ["train", "--task", "Hopper-v5", "--algo", algo, "agent.algorithm.clip_parm=1"] for algo in ("ppo", "fpo")
    ],
    "'hidden_dims'": [["train", "--task", "Hopper-v5", "--algo", "dppo", "agent.actor.hiden_dims=[8]"]],
    "'trudi'": [["train", "--task", "Hopper-v5", "--algo", "trudy"]],
    "'halfcheetah'": [["demo", "half_cheetah"]],
}
"""What a message contains to the arguments that it refuses."""


def in_fresh_python(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def test_wrong_arguments_are_refused_in_one_line_before_torch_or_a_simulator_is_imported(tmp_path: Path) -> None:
    code = """
import contextlib, io, json, sys
from trudi_rsl.commands.program import main
for message, arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as error:
        try:
            code = main(arguments)
        except SystemExit as leaving:
            code = leaving.code
    printed = error.getvalue()
    assert code == 2 and printed.startswith("Error: ") and printed.count("\\n") == 1, (arguments, code, printed)
    assert message in printed, (arguments, printed)
    heavy = {"torch", "rsl_rl", "gymnasium", "matplotlib"} & set(sys.modules)
    assert not heavy, (arguments, heavy)
"""
    cases = [(message, arguments) for message, refused in WRONG.items() for arguments in refused]
    done = in_fresh_python(code, json.dumps(cases), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_subcommand_describes_itself_and_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([]) == 0
    listed = capsys.readouterr().out
    for name in program.COMMANDS:
        assert f"\n  {name} " in listed
        with pytest.raises(SystemExit, match="0"):
            importlib.import_module(f"trudi_rsl.commands.{name}").main(["--help"])
        assert capsys.readouterr().out.startswith(f"usage: trudi {name} ")
    assert max(map(len, listed.splitlines())) <= 80


def test_an_unknown_subcommand_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["trian"]) == 2
    assert "'train'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (CheckpointError("x"), 1),
        (ImportError("x"), 1),
        (OSError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_a_problem_of_the_user_is_one_line_and_an_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_argv: list[str]) -> None:
        raise error

    monkeypatch.setattr(train, "main", fail)
    assert program.run("train", []) == code
    assert capsys.readouterr().err == ("Interrupted.\n" if code == 130 else "Error: x\n")


def test_ctrl_c_during_the_imports_ends_quietly() -> None:
    code = """
import sys
from importlib.abc import MetaPathFinder
class Interrupting(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "torch._C":
            raise KeyboardInterrupt
from trudi_rsl.commands.program import main
sys.meta_path.insert(0, Interrupting())
sys.exit(main(["train", "--task", "Pendulum-v1", "--max_iterations", "1"]))
"""
    done = in_fresh_python(code)
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")


def test_a_module_of_the_working_folder_can_be_named_as_a_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "module_of_this_folder.py").write_text("raise ImportError('found in the working folder')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert program.run("train", ["--task", "module_of_this_folder:Mine-v0", "--device", "cpu"]) == 1
    assert "found in the working folder" in capsys.readouterr().err


def test_the_public_names_are_those_of_their_rooms_and_importing_the_package_imports_no_torch() -> None:
    code = """
import sys
import trudi_rsl
assert "torch" not in sys.modules
from trudi_rsl import *
from trudi_rsl import algorithms, policies, runners
assert (TruDi, DiffusionActorCritic, OnPolicyRunner) == (
    algorithms.TruDi, policies.DiffusionActorCritic, runners.OnPolicyRunner
)
"""
    done = in_fresh_python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda script: script.name)
def test_a_script_runs_its_subcommand_from_a_checkout_that_is_not_installed(script: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-S", str(script), "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    name = {"plot_chain": "chains"}.get(script.stem, script.stem)
    assert done.stdout.startswith(f"usage: trudi {name} "), done.stderr
