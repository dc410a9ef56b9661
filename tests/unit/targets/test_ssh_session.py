# SPDX-License-Identifier: GPL-2.0-only
"""A session on a machine behind ssh; machine and agent are played."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.formats.machine_facts import Facts
from harness.host.payload import Payload
from harness.model.session import SessionLost, SuiteRequest
from harness.targets.ssh.evidence import Evidence
from harness.targets.ssh.machine import Machine
from harness.targets.ssh.session import SshSession

FACTS = Facts("7.3.4-xdna-0a", "1", oopsed=False, root="", python=(3, 13), pytest=True)
AGAIN = Facts("6.12", "2", oopsed=False, root="", python=(3, 13), pytest=True)
PATH = "/tmp/xdna-Ab3dEf9h"
WARNING = "WARNING: at drivers/base/core.c:1 device_del+0x1/0x2"
Message = dict[str, Any]


class Played:
    """A machine with an agent: ``events`` are those of its suite, ``answers`` what root's scripts say, by a word of
    theirs. It is the stream to the agent, too."""

    name, back_seconds, away_seconds, hang_seconds = "box", 0.1, 0.1, 60

    def __init__(self, *events: Message, **answers: str) -> None:
        self.events = events
        self.answers = answers
        self.now: Facts | None = FACTS
        self.gone = False
        self.dies_of = ""
        self.again: Facts | None = AGAIN
        self.done: list[str] = []
        self.homes: set[str] = set()
        self.notes: list[str] = []
        self.note: Callable[[str], None] = self.notes.append
        self._said = bytearray()

    @property
    def connection(self) -> Played:
        return self

    def run(self, script: str, seconds: float, stdin: bytes = b"") -> tuple[int, str]:
        return 0, f"home {PATH}\n"

    def start(self, script: str) -> Played:
        return self

    def root(self, script: str, seconds: float, stdin: bytes = b"") -> tuple[int, str]:
        if "harness.guest.keeper" in script:
            return 0, "ready\n"
        return 0, next((said for word, said in self.answers.items() if word in script), "")

    def fetch(self, names: str) -> dict[str, bytes]:
        return {}

    def back(self, unless: Callable[[], bool]) -> Facts | None:
        return self.now

    def settimeout(self, value: float | None, /) -> None:
        pass

    def recv(self, nbytes: int, /) -> bytes:
        if not self._said and self.gone:
            return b""
        if not self._said:
            raise TimeoutError
        piece = bytes(self._said[:nbytes])
        del self._said[:nbytes]
        return piece

    def sendall(self, data: bytes, /) -> None:
        for line in data.splitlines():
            message = json.loads(line)
            self.done += message.get("argv") or ([message["cmd"]] if "cmd" in message else [])
            if self.dies_of and self.dies_of in self.done:
                self.gone, self.now = True, self.again
            if "have" in message and not self.gone:
                self._say({"have": 0})
            if message.get("cmd") == "suite":
                for event in self.events:
                    self._say(event)
            if "cmd" in message and not self.gone:
                value = {"status": 0, "output": ""} if message["cmd"] == "run" else 0
                self._say({"done": message["id"], "value": value})

    def _say(self, message: Message) -> None:
        self._said += json.dumps(message).encode() + b"\n"

    def close(self) -> None:
        pass


def session_on(machine: Played, folder: Path, whole_log: bool = False) -> SshSession:
    real = cast(Machine, machine)
    module = SimpleNamespace(files=(Path("gpu-sched.ko"), Path("amdxdna.ko")))
    payload = cast(Payload, SimpleNamespace(whole=lambda: b"", module=module))
    return SshSession(real, FACTS, payload, Evidence(real), folder, whole_log)


def said(time: float, text: str) -> Message:
    return {"seq": 1, "level": 4, "time": time, "text": text}


def suite(session: SshSession) -> list[Any]:
    return list(session.suite(SuiteRequest("default")))


@pytest.mark.parametrize("whole", [True, False])
def test_a_kernel_that_complained_while_it_booted_for_us_answers_for_one_session(whole: bool, tmp_path: Path) -> None:
    machine = Played({"event": "suite-start", "tests": [], "kmsg": [said(1.0, WARNING)]})
    session = session_on(machine, tmp_path, whole)
    suite(session)
    assert session.heard.complained is whole


@pytest.mark.parametrize(
    ("stuck", "ours"), [("", True), ("sudo: unable to resolve host box", True), ("stuck: python3", False)]
)
def test_who_is_to_blame_for_an_agent_that_fell_silent(stuck: str, ours: bool, tmp_path: Path) -> None:
    session = session_on(Played(State=stuck), tmp_path)
    assert session.lost("waited").lost.ours is ours


def test_another_boot_is_the_kernels_doing(tmp_path: Path) -> None:
    machine = Played()
    session = session_on(machine, tmp_path)
    machine.gone, machine.now = True, AGAIN
    with pytest.raises(SessionLost, match="box has booted anew") as lost:
        session.run(["true"])
    assert not lost.value.lost.ours


def test_it_knows_until_when_the_kernels_words_are_told(tmp_path: Path) -> None:
    """What came later is nobody's yet."""
    start = {"event": "suite-start", "tests": [], "kmsg": [said(9.0, "ready"), {"seq": 2}]}
    session = session_on(Played(start, {"event": "suite-end", "status": 0, "uptime": 12.0, "kmsg": []}), tmp_path)
    suite(session)
    assert session.heard.quiet_since == 9.0
    session = session_on(Played({"event": "suite-end", "status": 0, "uptime": 12.0}), tmp_path)
    suite(session)
    assert session.heard.quiet_since == 12.0


def test_a_machine_that_goes_down_with_the_session_is_told(tmp_path: Path) -> None:
    """Its evidence is collected then, and nobody after us finds it."""
    machine = Played({"event": "suite-end", "status": 0})
    session = session_on(machine, tmp_path)
    suite(session)
    machine.gone, machine.now = True, AGAIN
    session.close()
    assert any("box has booted anew since: it left no word" in note for note in machine.notes)


def test_what_was_lost_before_is_not_told_again(tmp_path: Path) -> None:
    machine = Played(State="stuck: python3")
    session = session_on(machine, tmp_path)
    machine.gone = True
    with pytest.raises(SessionLost, match="does not let go of\npython3"):
        session.run(["true"])
    session.close()
    assert machine.notes == []


def test_the_driver_goes_while_it_is_this_sessions(tmp_path: Path) -> None:
    machine = Played({"event": "suite-end", "status": 0})
    session = session_on(machine, tmp_path)
    suite(session)
    session.close()
    assert machine.done == ["suite", "rmmod", "amdxdna", "poweroff"]
    assert machine.notes == []
    assert session.unloaded


def test_one_whose_suite_did_not_end_stays(tmp_path: Path) -> None:
    """What is there then may be needed, and the next session takes it away."""
    machine = Played()
    session_on(machine, tmp_path).close()
    assert machine.done == ["poweroff"]


def test_a_kernel_that_dies_of_its_drivers_end_is_told_of_this_session(tmp_path: Path) -> None:
    machine = Played({"event": "suite-end", "status": 0})
    machine.dies_of = "rmmod"
    session = session_on(machine, tmp_path)
    suite(session)
    session.close()
    assert "poweroff" not in machine.done
    assert session.late is not None
    assert not session.late.ours
    assert session.unloading
    assert not session.unloaded


def test_a_machine_that_is_silent_in_the_end_is_looked_at_by_who_finds_it_again(tmp_path: Path) -> None:
    machine = Played({"event": "suite-end", "status": 0})
    machine.dies_of = "rmmod"
    session = session_on(machine, tmp_path)
    suite(session)
    machine.again = None
    session.close()
    assert session.late is None
    assert not session.was_lost
    assert any("box: behind the last test" in note and "did not come back" in note for note in machine.notes)
