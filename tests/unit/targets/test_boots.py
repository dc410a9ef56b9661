# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of a boot, by who answers afterwards; the machine is played."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import HarnessError, InfraError, UsageError
from harness.formats.machine_facts import Facts
from harness.host.leases import LeaseLost
from harness.host.payload import Payload
from harness.model.came_back import Sent
from harness.model.kernel import Kernel, Profile
from harness.model.lab_host import LabHost
from harness.model.session import SessionLost
from harness.targets.ssh import boots, guests, ways
from harness.targets.ssh.boots import Boots, Rules
from harness.targets.ssh.evidence import Evidence
from harness.targets.ssh.guests import SshLab
from harness.targets.ssh.kernels import There
from harness.targets.ssh.machine import Machine
from harness.targets.ssh.session import SshSession
from tests.unit.targets.played import ended

OWN, OURS = "6.12.1-amd64", "7.3.4-xdna-0a"
HOST = LabHost(
    release=OWN,
    cmdline="root=/dev/vda1",
    rootfs="ext4",
    partuuid="",
    systemd=True,
    kexec=True,
    grub=None,
    boot_partition="",
    initramfs="",
    watchdog="",
    free={},
    installed=(),
    known_good=OWN,
    clock=0.0,
    users=(),
    left=(),
    tainted=0,
)
KERNEL = Kernel("0a", OURS, Profile.PLAIN, Path(), (), Path(), Path())


def facts(release: str, boot: str) -> Facts:
    return Facts(release, boot, oopsed=False, root="", python=(3, 13), pytest=True)


class Played:
    """A machine whose boots are given: what it says after each time it was told to leave."""

    name, back_seconds, ended, watchdog = "box", 0.1, False, ""
    trouble: HarnessError | None = None

    def __init__(self, now: Facts, *then: Facts | None) -> None:
        self.now: Facts | None = now
        self.then = list(then)
        self.notes: list[str] = []
        self.note: Callable[[str], None] = self.notes.append
        self.left: list[str] = []
        self.armed: tuple[str, ...] = ()

    def ask(self) -> Facts:
        if self.now is None:
            raise InfraError("box: no ssh", transient=True)
        return self.now

    def again(self, seconds: float, unless: Callable[[], bool] = lambda: False) -> Facts | None:
        return self.now

    def back(self) -> Facts | None:
        return self.now

    def host(self) -> LabHost:
        return replace(HOST, release=self.ask().release, watchdog=self.watchdog)

    def end(self) -> None:
        self.ended = True

    def python(self, name: str, *words: str) -> tuple[int, str]:
        self.armed = (name, *words)
        return 0, "armed"

    def root(self, script: str, seconds: float, stdin: bytes = b"") -> tuple[int, str]:
        return 0, ""

    def do(self, what: str, script: str, seconds: float = 60.0, stdin: bytes = b"") -> str:
        return ""

    def fetch(self, names: str) -> dict[str, bytes]:
        return {}

    def next(self, command: str = "") -> None:
        self.left.append(command)
        self.now = self.then.pop(0)


class Plug:
    def __init__(self, machine: Played) -> None:
        self.machine = machine

    def cycle(self) -> None:
        self.machine.next("cycle")


@pytest.fixture(autouse=True)
def played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boots, "LEAVE_SECONDS", 0.0)
    monkeypatch.setattr(boots, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(boots, "install", lambda *_: There(OURS, "/boot/ours"))
    monkeypatch.setattr(ways, "prepare", lambda *_: "kexec")
    monkeypatch.setattr(ways, "leave", lambda machine, command: machine.next(command))


def boots_of(machine: Played, power: Any = None) -> Boots:
    real = cast(Machine, machine)
    return Boots(real, Rules(seconds=0.1), Evidence(real), power)


def test_it_comes_up(tmp_path: Path) -> None:
    machine = Played(facts(OWN, "1"), facts(OURS, "2"))
    found = boots_of(machine)
    assert found.into(KERNEL, tmp_path).boot_id == "2"
    assert found.booted == "2"
    assert any("booted by kexec" in note for note in machine.notes)
    assert any("no hardware watchdog" in note for note in machine.notes)


def test_one_that_falls_back_is_the_kernels_doing(tmp_path: Path) -> None:
    with pytest.raises(SessionLost, match="came back with its own kernel") as lost:
        boots_of(Played(facts(OWN, "1"), facts(OWN, "2"))).into(KERNEL, tmp_path)
    assert not lost.value.lost.ours


def test_the_watchdog_leaves_the_shutdown_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts before the machine goes down, and must not take that for a kernel that does not come up."""
    monkeypatch.setattr(boots, "LEAVE_SECONDS", 150.0)
    machine = Played(facts(OWN, "1"), facts(OURS, "2"))
    machine.watchdog = "i6300esb"
    Boots(cast(Machine, machine), Rules(seconds=300.0), Evidence(cast(Machine, machine))).into(KERNEL, tmp_path)
    assert machine.armed == ("arm", "450", "i6300esb")


@pytest.mark.parametrize("then", [facts(OWN, "1"), facts("7.3.4-xdna-0b", "2"), facts(OWN, "2")])
def test_a_machine_that_did_not_leave_has_no_watchdog_that_nobody_feeds(then: Facts, tmp_path: Path) -> None:
    """It would reset whoever has it next. One that left needs it."""
    machine = Played(facts(OWN, "1"), then)
    machine.watchdog = "i6300esb"
    real = cast(Machine, machine)
    with pytest.raises((InfraError, SessionLost)):
        Boots(real, Rules(seconds=1.0), Evidence(real)).into(KERNEL, tmp_path)
    assert machine.armed == ("arm", "0" if then.boot_id == "1" else "1", "i6300esb")


def test_a_watchdog_that_could_not_be_armed_is_fed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may tick already, from before; and a kernel that hangs in a test has a net."""
    machine = Played(facts(OWN, "1"), facts(OURS, "2"))
    machine.watchdog = "i6300esb"
    monkeypatch.setattr(machine, "python", lambda *_: (1, "i6300esb drives no device"))
    monkeypatch.setattr(guests, "watchdog_modules", lambda kernel, name: [Path(name)])
    lab = lab_of(machine)
    payload = cast(Payload, SimpleNamespace(module=SimpleNamespace(kernel=KERNEL)))
    found = lab.ready(payload, tmp_path)
    fed: list[list[Path]] = []
    session = SimpleNamespace(facts=found, has_crash_kernel=lambda: False, guard=fed.append)
    lab.guard(cast(SshSession, session), payload)
    assert fed == [[Path("i6300esb")]]
    assert any("cannot be armed" in note for note in machine.notes)


@pytest.mark.parametrize(
    ("then", "why"),
    [(facts(OWN, "1"), "did not leave"), (facts("7.3.4-xdna-0b", "2"), "neither 7.3.4-xdna-0a nor its own")],
)
def test_what_is_the_labs_doing(then: Facts, why: str, tmp_path: Path) -> None:
    with pytest.raises(InfraError, match=why):
        boots_of(Played(facts(OWN, "1"), then)).into(KERNEL, tmp_path)


def test_one_that_stays_away_is_nobodys_doing(tmp_path: Path) -> None:
    with pytest.raises(SessionLost, match="nobody knows") as lost:
        boots_of(Played(facts(OWN, "1"), None)).into(KERNEL, tmp_path)
    assert lost.value.lost.ours


def test_one_that_the_plug_brings_back_fell_back(tmp_path: Path) -> None:
    machine = Played(facts(OWN, "1"), None, facts(OWN, "3"))
    with pytest.raises(SessionLost, match="came back with its own kernel"):
        boots_of(machine, Plug(machine)).into(KERNEL, tmp_path)
    assert machine.left == ["kexec", "cycle"]


def test_a_kernel_under_test_boots_no_other(tmp_path: Path) -> None:
    machine = Played(facts("7.3.4-xdna-0b", "1"), facts(OWN, "2"), facts(OURS, "3"))
    assert boots_of(machine).into(KERNEL, tmp_path).boot_id == "3"
    assert machine.left == ["systemctl reboot || reboot", "kexec"]


def lab_of(machine: Played) -> SshLab:
    real = cast(Machine, machine)
    lab = SshLab(real, Evidence(real), boots_of(machine))
    lab.upkeep = cast(Any, SimpleNamespace(first=lambda: None, last=lambda: None))
    return lab


def test_a_kernel_that_a_killed_run_left_is_ours_until_the_machine_is_home_again(tmp_path: Path) -> None:
    machine = Played(facts(OURS, "1"), facts(OWN, "2"))
    machine.watchdog = "i6300esb"
    lab = lab_of(machine)
    payload = cast(Payload, SimpleNamespace(module=SimpleNamespace(kernel=KERNEL)))
    assert lab.ready(payload, tmp_path).boot_id == "1"
    assert lab.boots is not None
    assert (lab.boots.booted, lab.boots.watchdog) == ("1", "i6300esb"), "who goes on must feed it"
    assert not lab.unread(machine.ask()), "what was said before us is not ours to tell"
    lab.close()
    assert machine.left == ["systemctl reboot || reboot"]


def test_the_first_session_with_a_driver_tells_what_the_kernel_said_as_it_came_up(tmp_path: Path) -> None:
    machine = Played(facts(OWN, "1"), facts(OURS, "2"))
    lab = lab_of(machine)
    payload = cast(Payload, SimpleNamespace(module=SimpleNamespace(kernel=KERNEL)))
    assert not lab.unread(machine.ask()), "the machine's own kernel"
    found = lab.ready(payload, tmp_path)
    assert lab.unread(found)
    session = ended(found, tmp_path, None, loaded=False)
    lab.left(session)
    assert lab.unread(found), "nobody got as far as a test"
    session.loaded = True
    lab.left(session)
    assert not lab.unread(lab.ready(payload, tmp_path)), "now an earlier driver is in the log"
    assert lab.spoiled == ""
    session.heard.complained = True
    lab.left(session)
    machine.then = [facts(OWN, "3"), facts(OURS, "4")]
    assert lab.unread(lab.ready(payload, tmp_path)), "each answer has a boot of its own"


@pytest.mark.parametrize(
    ("runs", "known", "left"), [(OURS, OWN, ["systemctl reboot || reboot"]), (OWN, OWN, []), (OURS, "", [])]
)
def test_also_when_no_session_was_needed_but_only_where_a_run_has_booted_it(
    runs: str, known: str, left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Played(facts(runs, "1"), facts(OWN, "2"))
    monkeypatch.setattr(machine, "host", lambda: replace(HOST, release=runs, known_good=known))
    lab_of(machine).close()
    assert machine.left == left


def test_home_by_whatever_it_takes() -> None:
    hung = facts(OURS, "1")
    machine = Played(hung, hung, hung, facts(OWN, "2"))
    found = boots_of(machine, Plug(machine))
    found.known_good = OWN
    found.home()
    assert machine.left[1:] == ["echo s > /proc/sysrq-trigger; echo b > /proc/sysrq-trigger", "cycle"]


def test_a_machine_that_does_not_come_home_is_said() -> None:
    hung = facts(OURS, "1")
    found = boots_of(Played(hung, hung, hung))
    found.known_good = OWN
    with pytest.raises(InfraError, match="does not come back with"):
        found.home()


def test_what_a_person_must_mend_is_no_reason_to_switch_the_machine_off() -> None:
    machine = Played(facts(OWN, "1"))
    machine.now, machine.trouble = None, UsageError("box: its host key has changed")
    with pytest.raises(UsageError, match="host key has changed"):
        boots_of(machine, Plug(machine)).wake()
    assert machine.left == []


def test_no_way_is_said_with_what_each_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Played(facts(OWN, "1"))
    monkeypatch.setattr(machine, "host", lambda: replace(HOST, kexec=False))
    with pytest.raises(InfraError, match=r"no kexec program.*grub: .*systemd-boot: "):
        boots_of(machine).into(KERNEL, tmp_path)


@pytest.mark.parametrize(
    ("then", "orders", "armed"),
    [
        (facts(OURS, "2"), ["kexec", "systemctl reboot || reboot"], "1"),
        (facts(OWN, "1"), ["kexec"], "0"),
        (facts(OWN, "2"), ["kexec"], "1"),
    ],
    ids=["comes up", "stays", "falls back"],
)
def test_who_is_interrupted_while_a_kernel_boots_brings_the_machine_home(
    then: Facts, orders: list[str], armed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else would, and nobody feeds its watchdog."""
    machine = Played(facts(OWN, "1"), then, facts(OWN, "3"))
    machine.watchdog = "i6300esb"
    lab = lab_of(machine)
    lab.boots = Boots(lab.machine, Rules(seconds=1.0), lab.evidence)
    payload = cast(Payload, SimpleNamespace(module=SimpleNamespace(kernel=KERNEL)))
    wait = Boots._wait

    def interrupted(self: Boots, sent: Any, seconds: float) -> Any:
        monkeypatch.setattr(Boots, "_wait", wait)
        raise KeyboardInterrupt

    monkeypatch.setattr(Boots, "_wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lab.ready(payload, tmp_path)
    lab.close()
    assert machine.left == orders
    assert machine.armed[1] == armed


def test_a_watchdog_that_was_armed_as_the_connection_broke_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Played(facts(OWN, "1"))
    machine.watchdog = "i6300esb"
    python = machine.python

    def breaks(*words: str) -> tuple[int, str]:
        python(*words)
        if words[1] != "0":
            raise InfraError("box: the ssh connection broke", transient=True)
        return 0, ""

    monkeypatch.setattr(machine, "python", breaks)
    real = cast(Machine, machine)
    with pytest.raises(InfraError, match="connection broke"):
        Boots(real, Rules(seconds=1.0), Evidence(real)).into(KERNEL, tmp_path)
    assert machine.armed == ("arm", "0", "i6300esb")


def test_one_that_is_anothers_keeps_its_power(tmp_path: Path) -> None:
    """Also where only the machine itself knows that there are two runs."""
    machine = Played(facts(OWN, "1"))
    lost = LeaseLost("box refuses our commands")
    machine.now, machine.trouble = None, lost
    found = boots_of(machine, Plug(machine))
    for act in (found.wake, lambda: found._arrived(Sent("1", OURS, OWN), tmp_path)):
        with pytest.raises(LeaseLost):
            act()
    assert machine.left == []
