# SPDX-License-Identifier: BSD-3-Clause
"""All commands of docs/swap.md for mjlab and of docs/deployment.md, in their order, on small settings."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.onnxruntime_root import make_root
from tests.hosts.mjlab.running import CARTPOLE, SMALL, SMALL_OVERRIDES
from tests.hosts.shared import commands

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
DEPLOYMENT = ROOT / "docs" / "deployment.md"
FEW = ("--num_envs", "4", "--max_iterations", "1", "--device", "cpu", *SMALL_OVERRIDES)


def smaller(words: list[str]) -> list[str]:
    """Return a documented command with a light task, few environments and little training."""
    words = [word.replace("Mjlab-Velocity-Flat-Unitree-G1", CARTPOLE) for word in words]
    if words[0] == "train":
        return [str(Path(sys.executable).with_name("train")), *words[1:], *SMALL, "--agent.max-iterations", "1"]
    few = ("--num_envs", "4", "--device", "cpu", "env.episode_length_s=1") if words[1] == "play" else FEW
    return [sys.executable, "-m", "trudi_rsl", *words[1:], *few]


@pytest.mark.nightly
def test_every_command_of_the_page_on_swapping_works(tmp_path: Path) -> None:
    documented = commands("mjlab")
    assert len(documented) > 3
    for words in documented:
        done = subprocess.run(smaller(words), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-3000:]}"
    assert [path.name for path in (tmp_path / "logs" / "rsl_rl").iterdir()] == ["cartpole_trudi"]


def deployment_script(onnxruntime_root: Path) -> str:
    """Return the shell blocks and Python programs of the page on deployment as one script."""
    text = ""
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```", DEPLOYMENT.read_text(), flags=re.M | re.S):
        text += block if language == "bash" else f"python - <<'PROGRAM'\n{block}PROGRAM\n"
    few = shlex.join(("--headless", *FEW))
    text = re.sub(r"^(trudi train .*)$", rf"\1 {few}", text, flags=re.M)
    text = text.replace("/opt/onnxruntime", str(onnxruntime_root))
    text = re.sub(r"^trudi ", "python -m trudi_rsl ", text, flags=re.M)
    return re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", text, flags=re.M)


@pytest.mark.nightly
def test_every_command_and_program_of_the_page_on_deployment_works(tmp_path: Path) -> None:
    script = deployment_script(make_root(tmp_path / "onnxruntime"))
    assert script.count(sys.executable) >= 7
    here = tmp_path / "here"
    here.mkdir()
    for name in ("scripts", "exts"):
        (here / name).symlink_to(ROOT / name)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "source")}
    done = subprocess.run(["bash", "-eu"], input=script, cwd=here, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "of 100 steps were late" in done.stdout
    assert "joint_pos: 29 numbers, 1 frames, scale 1.0" in done.stdout
    assert len(done.stdout.splitlines()[-1].split()) == 29, "the C++ program's last line is an action"
    content = yaml.safe_load((here / "robot" / "params" / "deploy.yaml").read_text())
    assert len(content["joint_ids_map"]) == 29
    assert (here / "robot" / "exported" / "policy.onnx").is_file()
    assert (here / "latency.png").stat().st_size > 0
