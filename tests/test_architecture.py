"""docs/architecture.md names what is there."""

from __future__ import annotations

import re
from pathlib import Path

from tests.test_layering import LINES, PACKAGE

PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()


def test_every_package_has_one_line_and_no_other_has() -> None:
    listed = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) - {"active_indexing"}
    there = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert there <= listed
    assert listed <= {room for line in LINES for room in line}


def test_the_lines_are_those_of_the_table_of_imports() -> None:
    lines = re.findall(r"^    (\d+) +(.+)$", PAGE, re.MULTILINE)
    shown = [tuple(line.split(", ")) for number, line in lines if int(number) not in (15, 17)]
    assert shown == [line for line in LINES if line != ("",)]
