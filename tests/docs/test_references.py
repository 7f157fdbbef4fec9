# SPDX-License-Identifier: BSD-3-Clause
"""The pages point at files, headings and functions that exist."""

import re
from pathlib import Path

import pytest
import yaml

from trudi_rsl import __version__

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "exts").rglob("*.md")]
)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
CODE = re.compile(r"`((?:[a-z_0-9]+/)+[a-z_0-9]+\.py)(?:: ((?:\w+)))?`")


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_existing_files_and_headings(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), f"{target} does not exist"
        assert not anchor or anchor in _anchors(linked), f"{linked.name} has no heading #{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_named_modules_and_functions_exist(page: Path) -> None:
    for path, name in CODE.findall(page.read_text(encoding="utf-8")):
        if path.startswith(("rsl_rl/", "scripts/reinforcement_learning/")):  # files of RSL-RL and Isaac Lab
            continue
        candidates = [root / path for root in (ROOT, ROOT / "source/trudi_rsl") if (root / path).is_file()]
        assert candidates, f"{path} does not exist"
        if name:
            source = candidates[0].read_text(encoding="utf-8")
            assert re.search(rf"^\s*(?:def|class) {name}\b|^{name}\b", source, re.MULTILINE), (
                f"{path} defines no {name}"
            )


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == __version__
    assert len(citation["preferred-citation"]["authors"]) == 9


def test_the_makefile_runs_scripts_that_exist() -> None:
    scripts = re.findall(r"(?:scripts|benchmarks)/\w+\.py", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert scripts
    assert not [script for script in scripts if not (ROOT / script).is_file()]
