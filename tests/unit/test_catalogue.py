# SPDX-License-Identifier: GPL-2.0-only
"""Every case of the catalogue has a test, or stands in one list with the reason why not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SUITE = Path(__file__).parents[1] / "target"
CATALOGUE = {
    f"{group}{number:02}" for group, last in (("E", 33), ("O", 31), ("L", 35)) for number in range(1, last + 1)
}
BEYOND = ("test_measures.py", "test_soak.py", "test_walk.py")
"""What the series announces, what a machine of metal shows, and what nobody thought of: the catalogue has none."""
NAME = re.compile(r"test_([eol]\d\d)_")
ROW = re.compile(r"^\| ([EOL]\d\d) \| (.+) \|$", re.MULTILINE)


def cases() -> list[tuple[str, ast.FunctionDef]]:
    """(id, function) of each test of the suite."""
    found = []
    for path in sorted(SUITE.glob("test_*.py")):
        if path.name in BEYOND:
            continue
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


def marks(path: Path) -> Iterator[tuple[ast.FunctionDef, str]]:
    """(test, its marks and those of its file, as source) of one file of the suite."""
    assigned = {
        node.targets[0].id: ast.unparse(node.value)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            names = [ast.unparse(decorator) for decorator in node.decorator_list]
            yield node, " ".join([*(assigned.get(name, name) for name in names), assigned.get("pytestmark", "")])


@pytest.mark.parametrize("path", sorted(SUITE.glob("test_*.py")), ids=lambda path: path.stem)
def test_marks_say_what_a_test_needs(path: Path) -> None:
    for node, text in marks(path):
        if "npu" in [argument.arg for argument in node.args.args]:
            assert "mark.fw" in text, f"{node.name} asks the NPU: fw"
        if "mark.modes(" in text:
            assert re.search(r"mark\.mode\b", text), f"{node.name} is not for every address mode: mode"
        if re.search(r"mark\.long\b", text):
            assert re.search(r"mark\.(stress|soak)\b", text), f"{node.name} is in no suite: stress, or soak"
