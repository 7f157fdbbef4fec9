# SPDX-License-Identifier: BSD-3-Clause
"""The commands that docs/swap.md shows, for the tests of each host to run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "swap.md"


def commands(heading: str) -> list[list[str]]:
    """Return the shell commands below a second-level heading, in order, each as its words.

    Args:
        heading: The heading's text.
    """
    section = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    (text,) = [part for part in section if part.startswith(f"{heading}\n")]
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
