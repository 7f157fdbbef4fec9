# SPDX-License-Identifier: BSD-3-Clause
"""The commands of docs/swap.md for mjlab, one after the other in one folder, made small."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.hosts.documentation import commands
from tests.hosts.mjlab.running import CARTPOLE, SMALL, SMALL_OVERRIDES

ROOT = Path(__file__).parents[3]


def smaller(words: list[str]) -> list[str]:
    """Return a documented command on a light task, with few environments and little training."""
    words = [word.replace("Mjlab-Velocity-Flat-Unitree-G1", CARTPOLE) for word in words]
    if words[0] == "train":
        return [str(Path(sys.executable).with_name("train")), *words[1:], *SMALL, "--agent.max-iterations", "1"]
    few = ["--num_envs", "4", "--device", "cpu"]
    if words[1].endswith("play.py"):
        return [sys.executable, str(ROOT / words[1]), *words[2:], *few, "env.episode_length_s=1"]
    return [sys.executable, str(ROOT / words[1]), *words[2:], *few, "--max_iterations", "1", *SMALL_OVERRIDES]


@pytest.mark.slow
def test_every_command_works(tmp_path: Path) -> None:
    documented = commands("mjlab")
    assert len(documented) > 3
    for words in documented:
        done = subprocess.run(smaller(words), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-3000:]}"
    assert [path.name for path in (tmp_path / "logs" / "rsl_rl").iterdir()] == ["cartpole_trudi"]
