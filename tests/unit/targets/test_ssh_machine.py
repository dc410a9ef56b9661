# SPDX-License-Identifier: GPL-2.0-only
"""How long a machine that does not answer is waited for; network and clock are played."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InfraError, UsageError
from harness.host.ssh import BadHostKey, Unguarded
from harness.host.ssh_config import Reach
from harness.targets.ssh import machine as module
from harness.targets.ssh.machine import RETRY_SECONDS, WATCHDOG_SECONDS, Machine

BACK = 100.0


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Answer:
    """A connection that tells a boot id and a release."""

    def __init__(self, said: str = "release 7.3\nboot 0f-1\n") -> None:
        self.said = said

    def run(self, script: str, seconds: float, stdin: bytes = b"") -> tuple[int, str]:
        return 0, self.said

    def alive(self) -> bool:
        return True

    def close(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def silent(*_: object) -> Any:
    raise InfraError("no ssh", transient=True)


def test_a_silence_is_waited_through_once(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(Reach("box", "127.0.0.1", 22, "root"), Unguarded(), BACK, print)
    monkeypatch.setattr(module, "connect", silent)
    begun = clock.now
    assert machine.back() is None
    assert 0 <= clock.now - begun - (BACK + WATCHDOG_SECONDS) <= 2 * RETRY_SECONDS, "a machine that hangs, and its boot"
    begun = clock.now
    assert machine.back() is None
    assert clock.now - begun <= RETRY_SECONDS, "who asks next is told at once"
    monkeypatch.setattr(module, "connect", lambda *_: Answer())
    assert machine.back() is not None
    machine.hang_up()
    monkeypatch.setattr(module, "connect", silent)
    begun = clock.now
    assert machine.back() is None
    assert clock.now - begun >= BACK, "another silence"


@pytest.mark.parametrize("said", ["", "release 7.3\n", "boot 0f-1\n", "uid 0\n"])
def test_one_that_says_nothing_has_not_booted_anew(said: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again: a shell that cannot start a process says nothing, too."""
    answers = [Answer(said), Answer()]
    machine = Machine(Reach("box", "127.0.0.1", 22, "root"), Unguarded(), BACK, print)
    monkeypatch.setattr(module, "connect", lambda *_: answers.pop(0))
    found = machine.again(BACK)
    assert found is not None
    assert found.boot_id == "0f-1"


@pytest.mark.parametrize(
    ("refusal", "waited"),
    [(UsageError("no such host"), BACK), (UsageError("may not log in"), BACK), (BadHostKey("another key"), 0)],
)
def test_only_another_host_key_is_not_waited_for(
    refusal: UsageError, waited: float, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that stumbles, or a login that a machine refuses while it boots, passes."""

    def refuse(*_: object) -> Any:
        raise refusal

    machine = Machine(Reach("box", "127.0.0.1", 22, "root"), Unguarded(), BACK, print)
    monkeypatch.setattr(module, "connect", refuse)
    begun = clock.now
    assert machine.again(BACK) is None
    assert waited <= clock.now - begun <= waited + 2 * RETRY_SECONDS
    assert machine.trouble is refusal


def test_of_a_long_log_the_end_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A panic stands there, and the agent's last words."""
    log = tmp_path / "dmesg"
    log.write_bytes(b"early\n" * 1000 + b"Kernel panic\n")
    machine = Machine(Reach("box", "127.0.0.1", 22, "root"), Unguarded(), BACK, print)

    def root(script: str, seconds: float) -> tuple[int, str]:
        return 0, subprocess.run(["sh", "-c", script], capture_output=True, check=True, timeout=seconds).stdout.decode()

    monkeypatch.setattr(machine, "root", root)
    (found,) = machine.fetch(str(log), most_kib=1).values()
    assert len(found) == 1024
    assert found.endswith(b"Kernel panic\n")
