# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import pytest

from harness.formats.machine_facts import Facts, read, unfit

SAID = "release 7.3.4-xdna-1\nboot 0f-1\ntaint 4096\nuid 0\npython 3.13\npytest yes\n"


def test_a_machine_that_does() -> None:
    facts = read(SAID)
    assert facts == Facts("7.3.4-xdna-1", "0f-1", False, "", (3, 13), True)
    assert unfit(facts, "7.3.4-xdna-1") is None


def test_an_ordinary_user_needs_sudo() -> None:
    assert read(SAID.replace("uid 0", "uid 1000\nsudo yes")).root == "sudo -n "
    assert read(SAID.replace("uid 0", "uid 1000")).root is None


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("release 7.3.4-xdna-1", "release 7.3.4-xdna-2", "runs 7.3.4-xdna-2, not 7.3.4-xdna-1"),
        ("taint 4096", "taint 4224", "died in part"),
        ("python 3.13", "python 3.9", "no Python 3.11"),
        ("python 3.13", "python 3.x", "no Python 3.11"),
        ("pytest yes", "pytest no", "with pytest"),
        ("uid 0", "uid 1000", "lets this user load no driver"),
        ("boot 0f-1", "boot", "does not say what it runs"),
    ],
)
def test_why_a_machine_may_not_do(old: str, new: str, why: str) -> None:
    assert old in SAID
    found = unfit(read(SAID.replace(old, new)), "7.3.4-xdna-1")
    assert found is not None
    assert why in found[0]


@pytest.mark.parametrize(
    ("own", "away"), [("own 6.12.1-debian", True), ("own 7.3.4-xdna-1", False), ("own", False), ("", False)]
)
def test_a_machine_that_a_run_left_in_a_kernel_under_test(own: str, away: bool) -> None:
    assert read(f"{SAID}{own}\n").away is away
    assert not read(SAID.replace("7.3.4-xdna-1", "6.12.2-debian") + f"{own}\n").away


@pytest.mark.parametrize("output", ["", "Welcome!\n\x1b[31m", "uid\ntaint\npython .\n", "taint \u0663\n"])
def test_what_is_mangled_is_not_there(output: str) -> None:
    facts = read(output)
    assert not facts.release
    assert facts.root is None
    assert unfit(facts, "7.3.4") is not None
