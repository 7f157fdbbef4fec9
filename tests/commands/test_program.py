# SPDX-License-Identifier: BSD-3-Clause
"""The program ``trudi``: its subcommands, exit codes and one-line errors."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
import warnings
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from trudi_rsl.commands import program, train
from trudi_rsl.errors import CheckpointError, ConfigError

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "source"
NEEDED = {"train": ["--task", "Hopper-v5"], "play": ["--task", "Hopper-v5"], "tasks": [], "demo": [], "docs": []}

HOPPER = ["train", "--task", "Hopper-v5"]
G1 = ["train", "--task", "Mjlab-Velocity-Flat-Unitree-G1"]
RUN = "logs/rsl_rl/hopper-v5/run"
WRONG: dict[str, list[list[str]]] = {
    "Unknown flag --checkpont.": [[name, *NEEDED.get(name, ["x"]), "--checkpont"] for name in program.COMMANDS],
    "Unknown flag --tsk. Did you mean '--task'": [["train", "--tsk", "Hopper-v5"], [*HOPPER, "--tsk", "Ant-v5"]],
    "Unknown flag --ouput. Did you mean '--output'": [[name, "--ouput", "x"] for name in ("plot", "export", "modes")],
    "Name a checkpoint": [["export"], ["chains"], ["play"], ["chains", "env.num_envs=1"]],
    "takes one run, not 2": [[name, "x", "--checkpoint", "y"] for name in ("export", "chains", "play")],
    "'kl_bound'": [[*start, "agent.algorithm.kl_bond=1"] for start in (HOPPER, G1, ["sweep", "paper_small"])],
    "above 0; got -1": [
        *([*start, "agent.algorithm.kl_bound=-1"] for start in (HOPPER, G1, ["sweep", "paper_small"])),
        *([*HOPPER, "--algo", algo, "agent.algorithm.clip_param=-1"] for algo in ("ppo", "spo", "dppo", "fpo")),
    ],
    "in [0, 1]; got 2": [[*HOPPER, "--algo", "spo", "agent.algorithm.gamma=2"]],
    "must be a number; got few": [[*HOPPER, "--algo", "ppo", "agent.algorithm.clip_param=few"]],
    "'relu'": [[*HOPPER, "--algo", algo, "agent.critic.activation=relo"] for algo in ("ppo", "dppo")],
    "Known: adam,": [[*HOPPER, "--algo", "ppo", "agent.algorithm.optimizer=x"]],
    "positive integers": [[*HOPPER, "--algo", "ppo", f"agent.actor.hidden_dims={v}"] for v in ("[0]", "32", "[]")],
    "There is no device 'gpu'": [
        [*start, "--device", "gpu"] for start in (HOPPER, G1, ["play", "--task", "Hopper-v5"], ["evaluate", RUN])
    ],
    "It is PPO's; use agent.algorithm.kl_bound.": [[*HOPPER, "agent.algorithm.clip_param=1"]],
    "'num_envs'": [
        [*start, "env.num_env=1"]
        for start in (
            HOPPER,
            ["play", "--task", "Hopper-v5"],
            ["play", "--checkpoint", RUN],
            ["evaluate", RUN],
            ["chains", "--checkpoint", RUN],
            ["chains", RUN],
            ["play", RUN],
        )
    ],
    "must be an integer; got few": [
        [*start, "env.num_envs=few"] for start in (HOPPER, ["play", "--checkpoint", RUN], ["evaluate", RUN])
    ],
    "'clip_param'": [[*HOPPER, "--algo", algo, "agent.algorithm.clip_parm=1"] for algo in ("ppo", "fpo")],
    "'hidden_dims'": [[*HOPPER, "--algo", "dppo", "agent.actor.hiden_dims=[8]"]],
    "'trudi'": [[*start, "--algo", "trudy"] for start in (HOPPER, G1)],
    "must be diffusion in TruDi": [[*G1, "agent.algorithm.actor=gaussian"]],
    "has no use for it; got 'fresh'": [
        [*start, "--algo", "reppo", "agent.algorithm.kl_chains=fresh"] for start in (HOPPER, G1)
    ],
    "score_scale must be above 0": [["evaluate", RUN, "--score_scale", "0"], ["modes", RUN, "--score_scale", "0"]],
    "episodes must be": [["evaluate", RUN, "--episodes", "0"]],
    "at least 1; got 0": [["sweep", "paper_small", "env.num_envs=0"]],
    "takes none": [["modes", RUN, "env.num_envs=1"]],
    "Set it as agent.algorithm.kl_bound=VALUE": [[*HOPPER, "--kl_bound", "0.2"], [*HOPPER, "--kl-bound=0.2"]],
    "Set it as agent.algorithm.clip_param=VALUE": [[*HOPPER, "--algo", "ppo", "--clip_param", "0.1"]],
    "'halfcheetah'": [["demo", "half_cheetah"]],
}
"""What a message contains to the arguments that it refuses, by flags, names and values alone."""
MISSING = {
    "cuda": [
        [*start, "--device", "cuda:0"]
        for start in (HOPPER, G1, ["play", "--task", "Hopper-v5"], ["evaluate", RUN], ["modes", RUN])
        if version("torch").endswith("+cpu")
    ],
    "Nothing at nowhere/model_0.pt. In this folder there is no 'nowhere'": [
        *(["play", "--checkpoint", "nowhere/model_0.pt", *task] for task in ([], ["--task", "Hopper-v5"])),
        *([*start, "--checkpoint", "nowhere/model_0.pt"] for start in (HOPPER, G1, ["export"], ["chains"])),
        *([name, "nowhere/model_0.pt"] for name in ("evaluate", "modes", "plot", "doctor", "latency")),
        *([name, "nowhere/model_0.pt"] for name in ("export", "chains", "play")),
    ],
    "2 of the checkpoints of reppo on Hopper-v5 are of seed 42": [["evaluate", "logs/rsl_rl/twice"]],
    "No run yet": [["play", "--task", "Ant-v5"], ["train", "--task", "Ant-v5", "--resume"]],
    "matches 'run2'": [[*HOPPER, "--load_run", "run2"], ["play", "--task", "Hopper-v5", "--load_run", "run2"]],
    "'Hopper-v5'": [["train", "--task", "Hoper-v5"], ["sweep", "paper_small", "--tasks", "Hoper-v5"]],
    "exist. Did you mean 'Hopper-v5'? A task": [["train", "--task", "hopper-v5"]],
    "no module 'no_such_module'": [["train", "--task", "no_such_module:Hopper-v5"]],
    "actions in Discrete(2)": [["train", "--task", "CartPole-v1"]],
    "no option 'gravity'. Known: g": [["train", "--task", "Pendulum-v1", "env.env_kwargs.gravity=1"]],
}
"""The same of runs and tasks that do not exist; a task is looked up in Gymnasium's registry."""


def in_fresh_python(code: str, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def test_wrong_arguments_are_refused_in_one_line_before_torch_or_a_simulator_is_imported(tmp_path: Path) -> None:
    code = """
import contextlib, io, json, sys
from trudi_rsl.commands.program import main
for message, arguments, without in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as error:
        try:
            code = main(arguments)
        except SystemExit as leaving:
            code = leaving.code
    printed = error.getvalue()
    expected = 1 if "not installed" in printed else 2
    assert code == expected and printed.startswith("Error: ") and printed.count("\\n") == 1, (arguments, code, printed)
    assert message in printed, (arguments, printed)
    assert not set(without) & set(sys.modules), arguments
"""
    for run in (RUN, "logs/rsl_rl/twice/first", "logs/rsl_rl/twice/second"):
        (params := tmp_path / run / "params").mkdir(parents=True)
        with zipfile.ZipFile(params.with_name("model_0.pt"), "w") as archive:
            archive.writestr("data.pkl", b"not read")
        (params / "env.yaml").write_text("task: Hopper-v5\nnum_envs: 4\n")
        algorithm = "{class_name: 'trudi_rsl.algorithms:TruDi', actor: gaussian}"
        (params / "agent.yaml").write_text(f"seed: 42\nresume: false\nalgorithm: {algorithm}\n")
    before = sorted(tmp_path.rglob("*"))
    heavy = ["torch", "rsl_rl", "matplotlib", "mujoco"]
    cases = [
        (message, arguments, without)
        for table, without in ((WRONG, [*heavy, "gymnasium"]), (MISSING, heavy))
        for message, refused in table.items()
        for arguments in refused
    ]
    done = in_fresh_python(code, json.dumps(cases), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_every_subcommand_describes_itself_and_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([]) == 0
    listed = capsys.readouterr().out
    for name in program.COMMANDS:
        assert f"\n  {name} " in listed
        with pytest.raises(SystemExit, match="0"):
            importlib.import_module(f"trudi_rsl.commands.{name}").main(["--help"])
        assert capsys.readouterr().out.startswith(f"usage: trudi {name} ")
    assert max(map(len, listed.splitlines())) <= 80


def test_every_page_is_listed_and_printed_also_those_that_messages_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["docs"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert set(listed) == {p.relative_to(ROOT / "docs").as_posix()[:-3] for p in (ROOT / "docs").rglob("*.md")}
    sources = "".join(file.read_text() for file in SOURCE.rglob("*.py"))
    assert set(re.findall(r"trudi docs (\w+)", sources)) <= set(listed)
    for name in ("log", "docs/log.md"):
        assert program.main(["docs", name]) == 0
        assert capsys.readouterr().out.rstrip() == (ROOT / "docs" / "log.md").read_text().rstrip()
    assert program.main(["docs", "logg"]) == 2
    assert "'log'" in capsys.readouterr().err


def test_an_unknown_subcommand_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["trian"]) == 2
    assert "'train'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (CheckpointError("x"), 2),
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


def test_a_warning_of_a_command_is_one_line_without_a_source_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "\x1b[33mWARN: a simulator says so\x1b[0m"
    monkeypatch.setattr(train, "main", lambda _argv: warnings.warn(said, stacklevel=1))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda *args: print(warnings.formatwarning(*args), end=""))
        assert program.run("train", []) == 0
    assert capsys.readouterr().out == "Warning: a simulator says so\n"


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
