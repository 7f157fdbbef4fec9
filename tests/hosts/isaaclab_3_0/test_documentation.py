# SPDX-License-Identifier: BSD-3-Clause
"""All commands of docs/swap.md for Isaac Lab 3.0, in their order in one folder, with a light task and small settings.

A wheel of Isaac Lab has no isaaclab.sh, so `./isaaclab.sh -p` is replaced by this Python.
"""

import sys
from pathlib import Path

import pytest

from tests.hosts.isaaclab_3_0.commands import FEW_STEPS, ON_CPU, Done, run
from tests.hosts.shared import commands

LIGHT = "Isaac-Cartpole"


def run_documented(words: list[str], folder: Path) -> Done:
    words = [word.replace("Isaac-Velocity-Rough-G1", LIGHT) for word in words]
    if words[:2] == ["./isaaclab.sh", "-p"]:
        words = [sys.executable, str(Path(__file__).parents[3] / words[2]), *words[3:]]
    else:
        words = [str(Path(sys.executable).with_name(words[0])), *words[1:]]
    plays = "play" in words or any(word.endswith("play.py") for word in words)
    few = ("--num_envs", "4") if plays else (*FEW_STEPS, "--max_iterations", "1")
    runs = sorted((folder / "logs" / "rsl_rl" / "cartpole_trudi").glob("*"))
    loops = "play" in words and "--episodes" not in words
    until = runs[-1] / "exported" / "policy.onnx" if loops else None
    return run(*words, *few, *ON_CPU, "physics=newton_mjwarp", folder=folder, until=until)


@pytest.mark.slow
@pytest.mark.nightly
def test_every_command_works(tmp_path: Path) -> None:
    documented = commands("Isaac Lab 3.0")
    assert len(documented) > 5
    for words in documented:
        done = run_documented(words, tmp_path)
        assert done.returncode in (0, 130), f"{' '.join(words)}\n{done.output[-3000:]}"
    experiments = {path.name for path in (tmp_path / "logs" / "rsl_rl").iterdir()}
    assert experiments == {"cartpole", "cartpole_trudi"}
