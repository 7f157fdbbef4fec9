# SPDX-License-Identifier: BSD-3-Clause
"""List the pages of the documentation, or print one: trudi docs log explains every column and value of the log.

Pictures are not part of an installation from a wheel.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from trudi_rsl import packages
from trudi_rsl.command_line import Parser
from trudi_rsl.errors import ConfigError, nearest

_PACKAGE = Path(__file__).resolve().parents[1]
_CHECKOUT = _PACKAGE.parents[1] / "docs"

FOLDER = _CHECKOUT if (_CHECKOUT / "log.md").is_file() else _PACKAGE / "docs"
"""The checkout's ``docs/``, or the pages in the installed package."""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the flags."""
    parser = Parser(__doc__, "docs")
    parser.add_argument("page", nargs="?", metavar="PAGE", help="(default: list all pages)")
    return parser.parse_all(argv)


def main(argv: Sequence[str]) -> None:
    """Print the list, or the page: rendered in a terminal, else as it is."""
    args = parse(argv)
    pages = find_pages()
    if args.page is None:
        width = max(map(len, pages))
        print("\n".join(f"{name:{width}}  {title_of(text)}" for name, text in pages.items()))
        return
    name = args.page.removeprefix("docs/").removesuffix(".md")
    if name not in pages:
        raise ConfigError(f"There is no page {name!r}. {nearest(name, pages)}")
    if not sys.stdout.isatty():
        print(pages[name])
        return
    packages.require("Rendering a page", {"rich": "rich"})
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(pages[name]))


def find_pages() -> dict[str, str]:
    """Return the text of each page by its name."""
    files = sorted(FOLDER.rglob("*.md"))
    if not files:
        raise ConfigError(f"No pages in {FOLDER}: trudi_rsl is incomplete, so install it again.")
    return {file.relative_to(FOLDER).with_suffix("").as_posix(): file.read_text(encoding="utf-8") for file in files}


def title_of(text: str) -> str:
    """Return the heading of a page."""
    return next((line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")), "")
