# SPDX-License-Identifier: GPL-2.0-only
"""Every case of the catalogue has a test, or stands in one list with the reason why not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

SUITE = Path(__file__).parents[1] / "target"
CATALOGUE = {
    f"{group}{number:02}" for group, last in (("E", 33), ("O", 31), ("L", 35)) for number in range(1, last + 1)
}
NAME = re.compile(r"test_([eol]\d\d)_")
ROW = re.compile(r"^\| ([EOL]\d\d) \| (.+) \|$", re.MULTILINE)


def cases() -> list[tuple[str, ast.FunctionDef]]:
    """(id, function) of each test of the suite."""
    found = []
    for path in sorted(SUITE.glob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                match = NAME.match(node.name)
                assert match is not None, f"{path.name}: {node.name} names no case"
                found.append((match[1].upper(), node))
    return found


def test_each_case_has_a_test_or_a_reason() -> None:
    here = {case for case, _ in cases()}
    elsewhere = dict(ROW.findall((SUITE / "NOT_HERE.md").read_text()))
    assert here | elsewhere.keys() == CATALOGUE
    assert not here & elsewhere.keys(), "has a test after all"
    assert all(len(reason) > 20 for reason in elsewhere.values())


def test_docstrings_say_the_case_and_the_source() -> None:
    for case, node in cases():
        text = ast.get_docstring(node) or ""
        assert text.startswith((f"{case}:", f"{case}, ")), f"{node.name}: {text[:20]}"
        assert "Source:" in text, node.name
