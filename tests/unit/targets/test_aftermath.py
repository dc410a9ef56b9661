# SPDX-License-Identifier: GPL-2.0-only
"""What is told of a kernel whose tests have all passed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import InfraError
from harness.formats.machine_facts import Facts
from harness.model.result import KERNEL_LOG
from harness.model.session import Lost, Start
from harness.targets.ssh import guests
from harness.targets.ssh.aftermath import Aftermath, whose
from harness.targets.ssh.evidence import Evidence
from harness.targets.ssh.guests import SshGuests, SshLab
from harness.targets.ssh.machine import Machine
from tests.unit.targets.played import ended

FACTS = Facts("7.3.4-xdna-0a", "1", oopsed=False, root="", python=(3, 13), pytest=True)
AGAIN = replace(FACTS, release="6.12.1-amd64", boot_id="2")
LOG = "[   10.000000] WARNING: at a/test.c:1 told+0x1/0x2\n[   11.000000] WARNING: at a/test.c:2 told_last+0x1/0x2\n"
LATE = "[   12.000000] BUG: KASAN: slab-use-after-free in late_work+0x1/0x2\n"
PANIC = "[   12.500000] Kernel panic - not syncing: late\n"
PSTORE = "/sys/fs/pstore/dmesg-erst-1"


class Played:
    """A machine with a kernel log, and with a crash in its pstore when it is told to have one."""

    name = "box"

    def __init__(self, log: str = "", crash: str = "") -> None:
        self.log = log
        self.crash = crash
        self.kept = False
        self.now = FACTS
        self.notes: list[str] = []
        self.late: list[tuple[str, bool]] = []
        self.note: Callable[[str], None] = self.notes.append
        self.ended = False
        self.silent = self.away = False
        self.trouble: InfraError | None = None
        self.console = ""

    def mark(self) -> None:
        pass

    def since_mark(self) -> str:
        return self.console

    def close(self) -> None:
        pass

    def ask(self) -> Facts:
        if self.silent:
            raise InfraError("box: no ssh")
        return self.now

    def back(self) -> Facts | None:
        self.silent = self.away
        return None if self.away else self.now

    def root(self, script: str, seconds: float) -> tuple[int, str]:
        if script.startswith("dmesg"):
            return 0, self.log
        return 0, PSTORE if self.kept else ""

    def fetch(self, names: str) -> dict[str, bytes]:
        return {PSTORE: self.crash.encode()} if self.kept else {}

    def crashes(self) -> None:
        self.now, self.kept = AGAIN, bool(self.crash)

    def end(self) -> None:
        self.ended = True


def aftermath_of(machine: Played, folder: Path) -> Aftermath:
    real = cast(Machine, machine)
    evidence = Evidence(real, machine)
    evidence.mark_files()
    found = Aftermath(real, evidence)
    found.begin(FACTS, 11.0, folder, lambda lost, died: machine.late.append((lost.console, died)))
    return found


def test_a_kernel_that_is_well_is_not_told_of(tmp_path: Path) -> None:
    machine = Played(LOG + "[   13.000000] e1000e: eth0 NIC Link is Up\n")
    assert not aftermath_of(machine, tmp_path).look(FACTS)
    assert (machine.notes, machine.late) == ([], [])


def test_a_complaint_behind_the_last_test_is_told_once(tmp_path: Path) -> None:
    machine = Played(LOG + LATE)
    found = aftermath_of(machine, tmp_path)
    assert found.look(FACTS)
    assert not found.look(FACTS)
    (note,) = machine.notes
    assert "behind the last test 7.3.4-xdna-0a complained: BUG: KASAN: slab-use-after-free in late_work" in note
    assert machine.late == [(LATE, False)]


def test_so_is_a_crash_with_what_it_left(tmp_path: Path) -> None:
    machine = Played(crash=LOG + PANIC)
    found = aftermath_of(machine, tmp_path)
    machine.crashes()
    assert found.look(machine.ask())
    (note,) = machine.notes
    assert "7.3.4-xdna-0a went down, and 6.12.1-amd64 has come up since: Kernel panic - not syncing: late" in note
    assert [path.read_text() for path in tmp_path.rglob("*erst*")] == [LOG + PANIC]
    assert machine.late == [(PANIC, True)]


def test_one_that_left_nothing_is_told_all_the_same(tmp_path: Path) -> None:
    machine = Played()
    found = aftermath_of(machine, tmp_path)
    machine.crashes()
    assert found.look(machine.ask())
    assert "it left no word" in machine.notes[0]


def lab_of(machine: Played, folder: Path, quiet_since: float | None = 11.0, **session: Any) -> SshLab:
    real = cast(Machine, machine)
    lab = SshLab(real, Evidence(real), None)
    lab.upkeep = cast(Any, SimpleNamespace(first=lambda: None, last=lambda: None))
    lab.left(ended(FACTS, folder, quiet_since, **session))
    return lab


def test_the_next_session_and_the_end_of_the_run_look(tmp_path: Path) -> None:
    payload = cast(Any, SimpleNamespace(module=SimpleNamespace(kernel=SimpleNamespace(release=FACTS.release))))
    machine = Played(LOG + LATE)
    lab = lab_of(machine, tmp_path)
    lab.ready(payload, tmp_path)
    assert len(machine.notes) == 1
    assert lab.spoiled == FACTS.boot_id, "nothing new begins in it if it can be booted"
    lab.close()
    assert len(machine.notes) == 1
    machine = Played(LOG + LATE)
    lab_of(machine, tmp_path).close()
    assert len(machine.notes) == 1


def test_who_decides_what_is_asked_again_knows_of_it(tmp_path: Path) -> None:
    machine = Played(LOG + LATE)
    lab = lab_of(machine, tmp_path)
    lab.look()
    lab.look()
    assert len(machine.notes) == 1
    assert lab.spoiled == FACTS.boot_id
    machine = Played(LOG + LATE)
    lab = lab_of(machine, tmp_path)
    machine.ended = True
    lab.look()
    assert machine.notes == [], "the lease is another's"


def test_who_cannot_look_before_the_way_home_says_so(tmp_path: Path) -> None:
    machine = Played(LOG, crash=LOG + PANIC)
    lab = lab_of(machine, tmp_path)

    def away() -> Facts:
        raise InfraError("box did not answer within 300 s")

    boots = SimpleNamespace(booted="1", wake=away, home=machine.crashes, cycled=False, settle=lambda: None)
    boots.rules = SimpleNamespace(leave=False)
    lab.boots = cast(Any, boots)
    lab.close()
    assert machine.notes == ["box did not answer within 300 s: nobody knows what its kernel did behind the last test"]


def test_who_is_interrupted_again_while_a_session_ends_knows_of_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = lab_of(Played(LOG), tmp_path)
    session = ended(FACTS, tmp_path, None, loaded=True, unloaded=False, hello=lambda: None)

    def close() -> None:
        raise KeyboardInterrupt

    session.close = close  # type: ignore[method-assign]
    monkeypatch.setattr(guests, "SshSession", lambda *_: session)
    lab.ready = lambda *_: FACTS  # type: ignore[method-assign]
    lab.guard = lambda *_: None  # type: ignore[method-assign]
    payload = cast(Any, SimpleNamespace(variant=SimpleNamespace(address_mode=None)))
    with pytest.raises(KeyboardInterrupt), SshGuests(lab, payload).open(tmp_path, Start.COLD):
        pass
    assert lab.upkeep.ours == FACTS.boot_id


def test_what_comes_after_it_was_looked_is_told_all_the_same(tmp_path: Path) -> None:
    for dies in (False, True):
        machine = Played(LOG, crash=LOG + PANIC)
        lab = lab_of(machine, tmp_path)
        lab.look()
        assert machine.notes == []
        if dies:
            machine.crashes()
        else:
            machine.log = LOG + LATE
        lab.close()
        assert len(machine.notes) == 1


def test_one_that_went_down_by_itself_is_waited_for(tmp_path: Path) -> None:
    machine = Played(LOG, crash=LOG + PANIC)
    lab = lab_of(machine, tmp_path)
    lab.evidence.mark_files()
    machine.crashes()
    machine.silent = True
    lab.close()
    assert "behind the last test" in machine.notes[0]
    assert "Kernel panic" in machine.notes[0]
    machine = Played(LOG)
    lab = lab_of(machine, tmp_path)
    machine.silent = machine.away = True
    lab.close()
    assert "nobody knows what its kernel did behind the last test" in machine.notes[0]


UNLOADS = (
    "[   12.000000] WARNING: a/pci_drv.c:450 at remove+0x1/0x2, CPU#1: {0}/351\n"
    "[   12.100000] CPU: 1 UID: 0 PID: 351 Comm: {0} Tainted: G\n"
)


def test_what_a_driver_complains_of_as_it_goes_is_no_tests(tmp_path: Path) -> None:
    """Which test came last is chance, and another one when it is asked again."""
    for task, blamed in (("rmmod", KERNEL_LOG), ("kworker/1:2", "t")):
        assert whose({"id": "t", "boot": 3}, UNLOADS.format(task)) == {"id": blamed, "boot": 3}
        machine, told = Played(LOG + UNLOADS.format(task)), list[Any]()
        lab = lab_of(machine, tmp_path)
        session = ended(FACTS, tmp_path, 11.0)
        session.heard.last = {"id": "t", "boot": 3}

        def tell(place: Mapping[str, Any], lost: Lost, died: bool, told: list[Any] = told) -> None:
            told.append((place["id"], died))

        lab.left(session, tell)
        lab.look()
        assert told == [(blamed, False)]


def test_a_driver_that_did_not_go_is_the_kernel_logs(tmp_path: Path) -> None:
    told: list[Any] = []
    session = ended(FACTS, tmp_path, 11.0, was_lost=True, unloading=True, late=Lost(False, "stuck", "no splat"))
    session.heard.last = {"id": "t"}
    lab = lab_of(Played(LOG), tmp_path, None)
    lab.left(session, lambda place, lost, died: told.append((place["id"], died)))
    assert told == [(KERNEL_LOG, True)]


def test_what_a_test_complained_of_is_no_reason_why_we_had_to_switch_it_off(tmp_path: Path) -> None:
    machine = Played()
    machine.console = LOG
    found = aftermath_of(machine, tmp_path)
    machine.crashes()
    assert found.look(machine.ask(), cycled=True)
    assert machine.late == []
    assert "nobody knows why" in machine.notes[0]


def test_what_a_test_has_answered_for_is_not_told_again(tmp_path: Path) -> None:
    for how in ({"was_lost": True}, {"quiet_since": None}):
        machine = Played(LOG + LATE)
        lab_of(machine, tmp_path, **how).close()
        assert machine.notes == []


def test_one_that_we_have_switched_off_ourselves_is_not_blamed_for_being_silent(tmp_path: Path) -> None:
    for crash, late in (("", []), (LOG + PANIC, [(PANIC, True)])):
        machine = Played(crash=crash)
        found = aftermath_of(machine, tmp_path)
        machine.crashes()
        assert found.look(machine.ask(), cycled=True)
        assert machine.late == late
        assert len(machine.notes) == 1


def test_a_full_disk_keeps_no_machine_from_going_home(tmp_path: Path) -> None:
    def full(text: str) -> None:
        raise InfraError("no space left")

    machine = Played(LOG + LATE)
    lab = lab_of(machine, tmp_path)
    machine.note = full
    went: list[str] = []
    boots = SimpleNamespace(booted="1", wake=machine.ask, home=lambda: went.append("home"), cycled=False)
    boots.settle = lambda: None
    boots.rules = SimpleNamespace(leave=False)
    lab.boots = cast(Any, boots)
    lab.upkeep = cast(Any, SimpleNamespace(last=lambda: went.append("swept")))
    lab.close()
    assert (went, machine.ended) == (["home", "swept"], True)
