# SPDX-License-Identifier: BSD-3-Clause
"""Launching several processes, refused launch commands, a single process, and errors that name the lost ranks."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.run import get_args_parser

from scripts.train import main
from trudi_rsl import distributed
from trudi_rsl.commands.train import parse
from trudi_rsl.config import compose
from trudi_rsl.distributed import (
    TORCHRUN_VARIABLES,
    Ranks,
    _ExitNotes,
    _from_torch_distributed,
    all_gather,
    all_reduce_mean,
    broadcast_from_rank0,
    current_ranks,
    join_gloo,
    quiet_unless_rank0,
)
from trudi_rsl.hosts.host import flag_settings

ROOT = Path(__file__).resolve().parents[2]
SBATCH = ROOT / "scripts" / "slurm" / "train_distributed.sbatch"


@pytest.fixture(autouse=True)
def _single_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in TORCHRUN_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("flags", "started"),
    [
        (["--distributed"], {}),
        (["--distributed"], {"RANK": "0", "WORLD_SIZE": "2"}),
        ([], dict(zip(TORCHRUN_VARIABLES, ("1", "1", "2", "localhost", "29500"), strict=True))),
    ],
)
def test_torchrun_and_the_flag_are_refused_without_each_other(
    flags: list[str], started: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    assert main(["--task", "PlanarObstacle-v0", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "torchrun --nproc_per_node=" in line and "-m trudi_rsl train --distributed" in line


def test_the_launch_is_checked_without_importing_torch() -> None:
    program = "import sys, trudi_rsl.distributed; sys.exit('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "source")}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0


def test_only_rank_0_prints_and_all_ranks_report_errors(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank, printed in (("0", "said\n"), ("3", "")):
        monkeypatch.setenv("RANK", rank)
        with quiet_unless_rank0(), warnings.catch_warnings(record=True) as warned:
            print("said")
            print("wrong", file=sys.stderr)
            warnings.warn("odd", stacklevel=1)
        assert capsys.readouterr() == (printed, "wrong\n")
        assert len(warned) == (rank == "0")


def test_collectives_of_a_single_process_return_their_argument() -> None:
    assert current_ranks() == Ranks(rank=0, local_rank=0, world_size=1)
    x = torch.randn(3)
    assert all_reduce_mean(x) is x
    assert torch.equal(all_gather(x), x[None])
    assert broadcast_from_rank0("model_1.pt") == "model_1.pt"


@pytest.mark.parametrize(("device", "world_size"), [("cpu", "1"), ("cuda:0", "2")])
def test_a_single_process_and_gpus_are_left_to_rsl_rl(
    device: str, world_size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", world_size)
    runner = SimpleNamespace(device=device, cfg={})
    assert not join_gloo(runner) and vars(runner) == {"device": device, "cfg": {}}


def test_the_slurm_example_is_accepted_by_torchrun_and_by_the_script(tmp_path: Path) -> None:
    # stand-ins for Slurm's commands; srun prints what each node would run
    for name, body in (("srun", 'printf "%s\\n" "$@"'), ("scontrol", "printf 'node7\\nnode8\\n'")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2", "SLURM_GPUS_ON_NODE": "4"}
    documented = re.search(r"^#   sbatch \S+ (.*)$", SBATCH.read_text(), re.MULTILINE)
    assert documented is not None
    done = subprocess.run(
        ["bash", str(SBATCH), *shlex.split(documented[1])],
        env=os.environ | job | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    srun_flag, torchrun, *command = done.stdout.splitlines()
    assert (srun_flag, torchrun) == ("--kill-on-bad-exit=1", "torchrun")
    launch = get_args_parser().parse_args(command)
    assert (launch.nnodes, launch.nproc_per_node, launch.rdzv_id) == ("2", "4", "4711")
    assert re.fullmatch(r"node7:\d{5}", launch.rdzv_endpoint)
    assert (ROOT / launch.training_script).is_file()
    args, overrides = parse(launch.training_script_args)
    assert args.distributed and overrides == []
    assert compose(args.task, args.algo, overrides, settings=flag_settings(args)).agent.seed == 1


@pytest.fixture
def notes_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], _ExitNotes]:
    """Returns the exit notes as one of three ranks sees them."""
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setattr(distributed, "EXIT_NOTE_SECONDS", 0.3)
    for name, value in (("MASTER_ADDR", "localhost"), ("MASTER_PORT", str(store.port)), ("WORLD_SIZE", "3")):
        monkeypatch.setenv(name, value)

    def of(rank: int) -> _ExitNotes:
        assert store.port  # the closure keeps the server alive
        monkeypatch.setenv("RANK", str(rank))
        return _ExitNotes()

    return of


def test_reasons_are_quoted_silent_ranks_named_and_ranks_that_leave_because_another_did_are_not_blamed(
    notes_of: Callable[[int], _ExitNotes], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = notes_of(0)
    own.leave("")
    notes_of(1).leave("NonFiniteError: NaN in environment 3")
    message = own.read()
    assert message.startswith("Rank 0 of 3")
    assert "rank 1 ended (NonFiniteError: NaN in environment 3); rank 2 is gone" in message
    notes_of(1).leave("")
    assert "rank 2 is gone" in own.read() and "rank 1" not in own.read()
    # notes from before a restart do not count
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert "ranks 0, 1, 2 are gone" in notes_of(0).read()


def test_without_a_store_no_rank_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    notes = _ExitNotes()
    notes.leave("")
    assert "Rank 0 of 2 lost another rank" in notes.read()


def test_errors_of_collectives_are_distinguished_from_others() -> None:
    with pytest.raises(ValueError, match="process group has not been initialized") as of_torch:
        torch.distributed.all_reduce(torch.ones(1))
    with pytest.raises(ValueError, match="ours") as of_ours:
        raise ValueError("ours")
    assert _from_torch_distributed(of_torch.value) and not _from_torch_distributed(of_ours.value)
