# SPDX-License-Identifier: BSD-3-Clause
"""Write the tables, the marked numbers and the figures of the docs from the stored results and from the code.

    python benchmarks/report.py

A table is what stands between ``<!-- table: NAME ARGUMENTS -->`` and ``<!-- end of table -->``; a number is what stands
directly before ``<!-- value: NAME -->``. Everything else in the pages is written by hand.
"""

from __future__ import annotations

import argparse
import re

from code_tables import CODE_TABLES
from figures import draw_all
from results import ROOT, Results
from tables import TABLES, Rows, values

PAGES = ("README.md", "docs/results.md", "docs/choosing.md")
PAGES += tuple(f"docs/{name}.md" for name in ("multimodality", "playground", "maniskill"))
CODE_PAGES = ("docs/settings.md", "docs/installation.md")
"""Pages whose tables come from the code."""
TABLE = re.compile(r"(<!-- table: (\w+)([^>]*?) -->\n).*?(<!-- end of table -->)", re.DOTALL)
VALUE = re.compile(r"[-\w.]+(<!-- value: ([\w.]+) -->)")


def markdown(rows: Rows) -> str:
    """Return rows as a Markdown table; its columns are those of all rows, in order of appearance."""
    header = max((list(row) for row in rows), key=len)
    header += [name for name in dict.fromkeys(name for row in rows for name in row) if name not in header]
    lines = [header, ["---"] * len(header), *([row.get(name, "-") for name in header] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def render(page: str, results: Results) -> str:
    """Return a page with its tables and marked numbers replaced; an unknown name raises KeyError."""
    made = TABLES | CODE_TABLES
    page = TABLE.sub(lambda m: f"{m[1]}\n{markdown(made[m[2]](results, *m[3].split()))}\n{m[4]}", page)
    numbers = values(results) if VALUE.search(page) else {}
    return VALUE.sub(lambda m: numbers[m[2]] + m[1], page)


def main() -> None:
    """Write the pages and figures."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    results = Results()
    for name in (*PAGES, *CODE_PAGES):
        (ROOT / name).write_text(render((ROOT / name).read_text(encoding="utf-8"), results), encoding="utf-8")
    draw_all(results, ROOT / "docs")


if __name__ == "__main__":
    main()
