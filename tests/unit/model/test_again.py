# SPDX-License-Identifier: GPL-2.0-only
"""The words that ask one test again survive a shell, and find that test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.model.again import anywhere, matching, repro

TEST = "test_recovery.py::test_r01_a_hang_is_survived"
IDS = ["test_a.py::test_one", "test_a.py::test_one_more[4-MB]", "test_b.py::test_one", "stage/boot"]


def words(command: str, folder: Path) -> list[str]:
    """The words that the program gets when a shell is given the command."""
    (folder / "xdna-harness").write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    (folder / "xdna-harness").chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": "/nowhere"}
    done = subprocess.run(["sh", "-c", command], env=env, check=True, capture_output=True, text=True)
    return done.stdout.split("\0")[:-1]


def test_the_command_survives_a_shell(tmp_path: Path) -> None:
    run = tmp_path / "it's $HOME; # odd" / "plain"
    odd = "test_x.py::test_text[a::b or $HOME;]"
    assert words(repro(run, odd), tmp_path) == ["repro", str(run), odd]
    assert words(repro(run, odd, "patch-2"), tmp_path) == ["repro", str(run), odd, "--lane", "patch-2"]
    command = ("xdna-harness", "run", "it's", "--kernel", "debian:7.3")
    expected = [*command[1:], "-k", TEST.partition("::")[2]]
    assert words(anywhere(command, TEST), tmp_path) == expected
    for whole in ("stage/build", "boot/kernel-log"):
        assert "-k" not in words(anywhere(command, whole), tmp_path)


@pytest.mark.parametrize(
    ("test", "others"),
    [
        ("test_x.py::test_plain", set()),
        ("test_x.py::test_size[4-MB]", set()),
        ("test_x.py::TestIn::test_class", set()),
        ("test_x.py::test_text[a::b or c]", {"test_x.py::test_text[(]"}),
    ],
)
def test_pytest_finds_the_test_by_the_expression(tmp_path: Path, test: str, others: set[str]) -> None:
    (tmp_path / "test_x.py").write_text(
        "import pytest\n"
        "def test_plain(): pass\n"
        "@pytest.mark.parametrize('n', ['4-MB', '64-MB'])\ndef test_size(n): pass\n"
        "class TestIn:\n    def test_class(self): pass\n"
        "@pytest.mark.parametrize('n', ['a::b or c', '('])\ndef test_text(n): pass\n"
    )
    given = words(anywhere(["xdna-harness", "run"], test), tmp_path)
    expression = given[given.index("-k") + 1]
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--collect-only", "-k", expression]
    done = subprocess.run([*argv, "test_x.py"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(re.findall(r"^test_x\.py::.*$", done.stdout, re.MULTILINE)) == {test, *others}


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("test_a.py::test_one", IDS[:1]),
        ("test_one", [IDS[0], IDS[2]]),
        ("more", IDS[1:2]),
        ("boot", IDS[3:]),
        ("nothing", []),
        ("test_b", IDS[2:3]),
    ],
)
def test_a_part_means_the_id_then_the_name_then_what_contains_it(part: str, found: list[str]) -> None:
    assert matching(part, IDS) == found
