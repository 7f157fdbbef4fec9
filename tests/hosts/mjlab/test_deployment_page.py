# SPDX-License-Identifier: BSD-3-Clause
"""docs/deployment.md, from its first command to its last, in one folder and made small."""

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
from tests.hosts.mjlab.running import SMALL_OVERRIDES

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "deployment.md"
FEW = ("--num_envs", "4", "--max_iterations", "1", "--device", "cpu", "--headless", *SMALL_OVERRIDES)


def documented(onnxruntime_root: Path) -> str:
    """Return the page's shell blocks and Python programs as one script, in their order."""
    text = ""
    for language, block in re.findall(r"^```(bash|python)\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S):
        text += block if language == "bash" else f"python - <<'PROGRAM'\n{block}PROGRAM\n"
    text = re.sub(r"^(python scripts/train\.py .*)$", rf"\1 {shlex.join(FEW)}", text, flags=re.M)
    text = text.replace("/opt/onnxruntime", str(onnxruntime_root))
    return re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", text, flags=re.M)


@pytest.mark.slow
def test_every_command_and_program_works(tmp_path: Path) -> None:
    script = documented(make_root(tmp_path / "onnxruntime"))
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
