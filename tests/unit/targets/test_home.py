# SPDX-License-Identifier: GPL-2.0-only
"""Our folder on a machine, and the agent in it; the machine's answers are played."""

from __future__ import annotations

import pytest

from harness.guest import resident
from harness.targets.ssh import home
from harness.targets.ssh.home import Home

PATH = "/tmp/xdna-Ab3dEf9h"


class Played:
    """A machine: its answers as root come by the words in the script."""

    name = "box"

    def __init__(self, **answers: tuple[int, str]) -> None:
        self.answers = answers
        self.scripts: list[str] = []

    @property
    def connection(self) -> Played:
        return self

    def run(self, script: str, seconds: float, stdin: bytes = b"") -> tuple[int, str]:
        return 0, f"home {PATH}\n"

    def root(self, script: str, seconds: float, stdin: bytes = b"") -> tuple[int, str]:
        self.scripts.append(script)
        return next((answer for word, answer in self.answers.items() if word in script), (0, ""))


def home_on(machine: Played) -> Home:
    return Home(machine, b"")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "stuck"),
    [
        ("", ""),
        ("sudo: unable to resolve host box\nsh: 1: Cannot fork\n", ""),
        ("sudo: unable to resolve host box\nstuck: python3\nstuck: [<0>] a+0x1/0x2\n", "python3\n[<0>] a+0x1/0x2"),
    ],
)
def test_only_a_task_is_stuck(said: str, stuck: str) -> None:
    """What sudo says would make every lost session the kernel's doing."""
    assert home_on(Played(State=(1, said))).stuck() == stuck


def test_a_task_is_named_with_its_stack() -> None:
    assert "stuck: " in home.STUCK
    assert "HOME" in home.STUCK


@pytest.mark.parametrize("whole", [True, False])
def test_where_the_kernels_log_begins_is_told_before_the_agent_starts(whole: bool) -> None:
    machine = Played(keeper=(0, "ready\n"))
    home_on(machine).start_agent(whole)
    (script,) = machine.scripts
    assert script.startswith(f": > {PATH}/whole-log &&\ncd {PATH} || exit\n" if whole else f"cd {PATH} || exit\n")
    assert resident.WHOLE_LOG == home.WHOLE_LOG
