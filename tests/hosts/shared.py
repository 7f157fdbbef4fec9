# SPDX-License-Identifier: BSD-3-Clause
"""Parts of several hosts' tests: documented commands, playing every checkpoint of a run, and what a runner learned."""

from __future__ import annotations

import copy
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from tests.scripts.running import table_rows
from trudi_rsl.checkpoints.file import read_checkpoint

PAGE = Path(__file__).resolve().parents[2] / "docs" / "swap.md"


def commands(heading: str) -> list[list[str]]:
    """Return the shell commands below a second-level heading of docs/swap.md, each split into words."""
    section = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(f"{heading}\n")]
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]


def refused_before_imports(folder: Path, *args: str) -> str:
    """Return the message of ``trudi`` with arguments that it refuses before a simulator, or torch, is imported."""
    code = (
        "import sys; from trudi_rsl.commands.program import main; code = main(sys.argv[1:]); "
        "print(code, [name for name in ('torch', 'mjlab', 'isaaclab') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *args], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[-2] == "2 []", done.stdout + done.stderr
    return done.stderr


def add_checkpoints(run: Path) -> None:
    """Add to a run with ``model_0.pt`` an equal ``model_9.pt`` and a ``model_1.pt`` with another policy."""
    content = read_checkpoint(run / "model_0.pt")
    torch.save(content, run / "model_9.pt")
    content["actor_state_dict"]["actor.score_network.output_layer.bias"].add_(1.0)
    torch.save(content, run / "model_1.pt")
    (run / "best.pt").unlink(missing_ok=True)


def check_every_checkpoint(run: Path, output: str) -> None:
    """Check the table of a run from :func:`add_checkpoints`: equal rows for equal policies, and the best one."""
    first, other, same = table_rows(output)
    assert [row[0] for row in (first, other, same)] == ["0", "1", "9"]
    assert first[1:5] == same[1:5] != other[1:5]
    assert first[4] == "10"
    best = max((first, other), key=lambda row: float(row[1]))
    assert best[-1] == "best"
    assert (run / "best.pt").readlink() == Path(f"model_{best[0]}.pt")


def learned(runner: Any) -> dict[str, torch.Tensor]:
    """Return copies of what a runner's algorithm has learned, and of its memory in each environment."""
    memory = runner.alg.memory.states if runner.alg.memory else {}
    states = {f"memory of the {name}": value for name, value in memory.items()}
    return copy.deepcopy({**runner.alg.actor_critic.state_dict(), **states})


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Return whether all tensors are equal bit by bit."""
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())
