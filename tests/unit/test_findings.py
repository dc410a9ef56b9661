# SPDX-License-Identifier: GPL-2.0-only
"""Each finding has a page a maintainer can use, and stands in one table with what became of the suspicion."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/findings"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
SECTIONS = [
    "What happens",
    "Since",
    "Who can trigger it",
    "What the kernel says",
    "How to see it",
    "Cause",
    "Suggested fix",
]
TEST = re.compile(r"`(test_\w+\.py)::(test_\w+)(?:\[[^\]]+\])?`")
COMMAND = re.compile(r"^    xdna-harness run --kernel debian:7\.\d .*-k ('[^']+'|\S+)$", re.MULTILINE)
WORD = re.compile(r"test_\w+")
ROW = re.compile(r"^\| (?!finding |---)(.+?) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
LINK = re.compile(r"\[([\w-]+)\]\(([\w-]+)\.md\)")
ANSWERS = ("confirmed", "refuted", "not shown")


def suite_tests() -> set[tuple[str, str]]:
    """(file, function) of the suite."""
    return {
        (path.name, node.name)
        for path in (ROOT / "tests/target").glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def sections(text: str) -> dict[str, str]:
    """Text by heading."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip("\n") for part in parts[2::2]), strict=True))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_says_all_that_a_maintainer_asks(path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# "), "a page begins with its title"
    found = sections(text)
    assert list(found) == SECTIONS
    assert all(len(part) > 20 for part in found.values()), [name for name, part in found.items() if len(part) <= 20]
    assert "@@" not in text
    assert "7.2" in found["Since"]
    assert "7.3" in found["Since"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_page_names_tests_that_are_there_and_its_command_finds_them(path: Path) -> None:
    how = sections(path.read_text())["How to see it"]
    named = set(TEST.findall(how))
    assert named, "no test"
    assert named <= suite_tests()
    files = {name.removesuffix(".py") for name, _ in named}
    words = [word for chosen in COMMAND.findall(how) for word in WORD.findall(chosen) if word not in files]
    assert words, "no command"
    for word in words:
        assert any(word in name for _, name in named), f"-k {word} finds none of the tests"


def test_the_table_has_each_page_and_says_what_was_seen() -> None:
    rows = ROW.findall((FOLDER / "README.md").read_text())
    linked = [link[1] for row in rows for link in LINK.findall(row[0])]
    assert sorted(linked) == [path.stem for path in PAGES]
    there = suite_tests()
    for name, _, before, now, test in rows:
        assert before.startswith(ANSWERS), name
        assert now.startswith(ANSWERS), name
        assert set(TEST.findall(test)) <= there, name
        assert TEST.search(test) or test.startswith("none: "), name
        assert LINK.search(name) or "confirmed" not in (before, now), f"{name} has no page"


def test_known_failures_point_to_pages_that_are_there() -> None:
    pointed = re.findall(r"docs/findings/([\w-]+)\.md", (ROOT / "jobs/known.toml").read_text())
    assert set(pointed) <= {path.stem for path in PAGES}
