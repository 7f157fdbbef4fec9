# SPDX-License-Identifier: BSD-3-Clause
"""setup.py names every package that the sources import."""

import ast
import importlib.metadata
import runpy
import sys
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
HOSTS = {
    *("isaaclab", "isaaclab_rl", "isaaclab_tasks", "mjlab", "tyro"),
    *("mani_skill", "sapien", "mujoco_playground", "jax", "etils", "humanoid_bench", "dm_control"),
    "mujoco",  # declared as an extra of gymnasium
}
"""Packages that modules below ``hosts/`` alone may import without a declaration."""


def _imported() -> set[str]:
    """Return the packages that the sources import, other than Python's own and this one."""
    names = set()
    for path in [*(ROOT / "source").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names.add((node.module or "").partition(".")[0])
    return names - sys.stdlib_module_names - {"trudi_rsl"}


def test_every_imported_package_is_declared_or_a_host_s(monkeypatch: pytest.MonkeyPatch) -> None:
    declared: dict = {}
    monkeypatch.setattr(setuptools, "setup", declared.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path("setup.py")
    requirements = [*declared["install_requires"], *declared["extras_require"]["all"]]
    names = {canonicalize_name(Requirement(text).name) for text in requirements}
    providers = importlib.metadata.packages_distributions()
    provided = {module: {*map(canonicalize_name, providers.get(module, [module]))} for module in _imported()}
    # hosts come first, and trudi_rsl into their environment
    assert {module for module in provided if not names & provided[module]} <= HOSTS
