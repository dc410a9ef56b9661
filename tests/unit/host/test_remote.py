# SPDX-License-Identifier: GPL-2.0-only
"""What is done to a machine, and when nothing is."""

from __future__ import annotations

import time
from typing import NoReturn, cast

import pytest

from harness.errors import InfraError, UsageError
from harness.host import remote
from harness.host.leases import Lease, LeaseLost
from harness.host.remote import Remote
from harness.host.ssh_config import Reach
from harness.model.health import Act


class Leased:
    """A lease that is lost, or not."""

    def __init__(self, lost: bool) -> None:
        self.lost = lost

    def check(self) -> None:
        if self.lost:
            raise LeaseLost("somebody else came")

    def lose(self, why: str) -> None:
        self.lost = True

    def guard(self, script: str) -> str:
        self.check()
        return script


class Somewhere:
    name = "box"


@pytest.fixture(autouse=True)
def nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise InfraError("box: no ssh", transient=True)

    monkeypatch.setattr(remote, "connect", refuse)
    monkeypatch.setattr(remote, "RETRY_SECONDS", 0.01)


def hands(lost: bool, back_seconds: float) -> Remote:
    return Remote(cast(Reach, Somewhere()), cast(Lease, Leased(lost)), None, back_seconds)


def test_one_that_does_not_answer_is_waited_for() -> None:
    began = time.monotonic()
    assert hands(lost=False, back_seconds=0.2).do(Act.PROBE) == "box: no ssh, for 0 s"
    assert time.monotonic() - began >= 0.2


def test_anothers_is_not() -> None:
    began = time.monotonic()
    with pytest.raises(LeaseLost):
        hands(lost=True, back_seconds=300.0).do(Act.PROBE)
    assert time.monotonic() - began < 60


def test_one_that_we_sent_into_a_boot_may_let_nobody_in_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """sshd answers before PAM lets anybody in."""

    def refuse(*_: object) -> NoReturn:
        raise UsageError("box: root may not log in with a key")

    monkeypatch.setattr(remote, "connect", refuse)
    found = hands(lost=False, back_seconds=0.2)
    with pytest.raises(UsageError):
        found.do(Act.PROBE)
    found.power = lambda: None
    monkeypatch.setattr(found, "_facts", silent)
    assert found.do(Act.POWER_CYCLE) == ""
    monkeypatch.undo()
    monkeypatch.setattr(remote, "connect", refuse)
    monkeypatch.setattr(remote, "RETRY_SECONDS", 0.01)
    assert found.do(Act.PROBE) == "box: root may not log in with a key, for 0 s"


def silent() -> NoReturn:
    raise InfraError("box: no ssh", transient=True)


class Says:
    """A connection to a machine that answers a probe."""

    def __init__(self, answer: str) -> None:
        self.answer = answer

    def run(self, script: str, seconds: float) -> tuple[int, str]:
        return 0, self.answer

    def close(self) -> None:
        pass


def test_a_machine_that_said_nothing_before_a_reboot_has_not_booted_since(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["", "release 6.12\nboot 0f-1\n"]
    monkeypatch.setattr(remote, "connect", lambda *_: Says(answers.pop(0)))
    found = hands(lost=False, back_seconds=0.0)
    assert found.do(Act.REBOOT) == "box does not say what it runs"
    assert found.do(Act.PROBE) == "", "it was not told to reboot, and is well"


def test_one_that_says_nothing_is_not_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "connect", lambda *_: Says("release 6.12\n"))
    assert hands(lost=False, back_seconds=0.0).do(Act.PROBE) == "box does not say what it runs, for 0 s"


def test_who_is_to_be_at_home_is_not_well_in_a_kernel_under_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "connect", lambda *_: Says("own 6.12\nrelease 7.3.4-xdna-1\nboot 0f-1\n"))
    found = hands(lost=False, back_seconds=0.0)
    assert found.do(Act.PROBE) == ""
    found.home = True
    assert found.do(Act.PROBE) == "box is in a kernel under test, 7.3.4-xdna-1, not its own 6.12"


def test_one_that_refuses_our_commands_is_not_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tables, one machine: only the machine itself sees that there are two runs."""
    switched: list[str] = []
    lease = Leased(lost=False)

    def refused(*_: object) -> NoReturn:
        lease.lose("box refuses our commands")
        raise LeaseLost("box refuses our commands")

    monkeypatch.setattr(remote, "connect", refused)
    hand = Remote(cast(Reach, Somewhere()), cast(Lease, lease), lambda: switched.append("off"), 300.0)
    for act in Act:
        with pytest.raises(LeaseLost):
            hand.do(act)
    assert switched == []
