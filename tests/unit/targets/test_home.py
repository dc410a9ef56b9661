# SPDX-License-Identifier: GPL-2.0-only
"""Our folder on a machine, and the agent in it; the machine's answers are played."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import InfraError
from harness.guest import resident
from harness.targets.ssh import home
from harness.targets.ssh.home import Home

PATH = "/tmp/xdna-Ab3dEf9h"


class Played:
    """A machine: its answers as root come by the words in the script."""

    name = "box"

    def __init__(self, *starts: str, **answers: tuple[int, str]) -> None:
        """``starts``: what each keeper says that is started."""
        self.starts = list(starts)
        self.paths = [PATH, "/tmp/xdna-An0ther1"]
        self.answers = answers
        self.scripts: list[str] = []
        self.homes: set[str] = set()
        self.notes: list[str] = []
        self.note: Callable[[str], None] = self.notes.append

    @property
    def connection(self) -> Played:
        return self

    def run(self, script: str, seconds: float, stdin: bytes = b"") -> tuple[int, str]:
        return 0, f"home {self.paths.pop(0)}\n"

    def root(self, script: str, seconds: float, stdin: bytes = b"") -> tuple[int, str]:
        self.scripts.append(script)
        if "harness.guest.keeper" in script:
            said = self.starts.pop(0)
            return int(said != "ready"), f"{said}\n"
        return next((answer for word, answer in self.answers.items() if word in script), (0, ""))

    def fetch(self, names: str) -> dict[str, bytes]:
        return {f"{PATH}/agent.log": b"one\ntwo\n"}


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


def test_a_task_that_works_there_is_named(tmp_path: Path) -> None:
    """By a real sh. One that sleeps is found as one that does not wake up would be."""
    script = home.STUCK.replace("State:.D", "State:.S").replace("HOME", str(tmp_path))
    with subprocess.Popen(["sleep", "60"], cwd=tmp_path) as sleeper:
        while "(sleeping)" not in Path(f"/proc/{sleeper.pid}/status").read_text():
            time.sleep(0.01)
        said = subprocess.run(["sh", "-c", script], capture_output=True, check=False, timeout=60).stdout
        sleeper.kill()
    assert b"stuck: sleep\n" in said


@pytest.mark.parametrize("whole", [True, False])
def test_where_the_kernels_log_begins_is_told_before_the_agent_starts(whole: bool) -> None:
    machine = Played("ready")
    home_on(machine).start_agent(whole)
    (script,) = machine.scripts
    assert script.startswith(f": > {PATH}/whole-log &&\ncd {PATH} || exit\n" if whole else f"cd {PATH} || exit\n")
    assert resident.WHOLE_LOG == home.WHOLE_LOG


OTHER = "/tmp/xdna-0therRun"


@pytest.mark.parametrize(("said", "notes"), [("orphan", 0), ("busy", 1)])
def test_another_runs_agent_gives_way_to_who_has_the_machine(said: str, notes: int) -> None:
    """A harness that lost its power leaves a connection that looks alive from the machine."""
    machine = Played(f"{said} {OTHER}", "ready")
    home_on(machine).start_agent(False)
    _, ended, _ = machine.scripts
    assert ended == home.GIVE_WAY.replace("HOME", OTHER)
    assert len(machine.notes) == notes


@pytest.mark.parametrize(
    ("starts", "why"),
    [
        ([f"busy {PATH}"], "a session of this run is there already"),
        (["busy "], "another run has this machine"),
        ([f"busy {OTHER}", f"busy {OTHER}"], "another run has this machine"),
        (["no module named harness"], "the agent does not start: no module named harness"),
    ],
)
def test_who_does_not_give_way_is_told(starts: list[str], why: str) -> None:
    machine = Played(*starts)
    with pytest.raises(InfraError, match=why):
        home_on(machine).start_agent(False)
    assert sum("kill" in script for script in machine.scripts) == 2 * (OTHER in starts[0]), "each try once"


def test_a_session_of_ours_that_ended_gives_way_like_any_other() -> None:
    """Its connection was cut as it was taken away."""
    machine = Played(f"busy {PATH}", "ready")
    home_on(machine).remove()
    home_on(machine).start_agent(False)
    assert machine.starts == []


def test_a_log_that_cannot_be_kept_costs_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = home_on(Played())
    assert found.agent_said(tmp_path) == "two"
    (tmp_path / "agent.log").unlink()
    (tmp_path / "agent.log").mkdir()
    found.fetch_log(tmp_path)
    assert "cannot keep agent.log" in capsys.readouterr().err
