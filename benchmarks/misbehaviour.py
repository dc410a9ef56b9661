# SPDX-License-Identifier: GPL-2.0-only
"""What a lab machine does to those who work with it, by name: how it is provoked, and what must be true afterwards.

Each plays on a lab host of QEMU (harness/host/lab_host.py) that nobody helps: one run of the command line, struck while
a test runs. tests/system/test_lab_host.py plays each, ``python -m benchmarks.recovery`` many times.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.host import proc
from harness.host.lab_file import LAB_FILE
from harness.host.lab_host import NAME, LabHost
from harness.host.leases import URL as LEASES
from harness.host.ssh import connect
from harness.host.ssh_config import CONFIG, reach

PROJECT = Path(__file__).resolve().parents[1]
KERNEL = "debian:7.3"
SELECTED = "e01 or e15_heap or l01"
VICTIM = "_e15_heap"
"""The test that is struck while it runs."""
OTHERS = ("_e01_", "_l01_")
"""The one before it, and those after it, in another file of the suite."""
STRUCK_SECONDS = 1800.0
"""How long a run may take to the victim: it may have a kernel to build."""
RUN_SECONDS = 2400.0
WELL_SECONDS = 600.0
SILENT = (HarnessError, OSError, EOFError)
"""Who provokes a machine must not be surprised by what it says, or that it says nothing."""
CUT_SECONDS = 40.0
ROOT_SECONDS = 60.0

HANG = """\
title = "a process called xdna-hang takes its processor along"

[[edit]]
file = "drivers/accel/amdxdna/amdxdna_gem.c"
function = "amdxdna_drm_sync_bo_ioctl"
replace = '(?m)^\\{$'
by = '''{
	if (!strcmp(current->comm, "xdna-hang")) {
		local_irq_disable();
		while (1)
			cpu_relax();
	}'''
"""
HANG_ALL = """\
import ctypes, fcntl, os, time
device = os.open("/dev/accel/accel0", os.O_RDWR)
for cpu in range(1, os.cpu_count()):
    if os.fork() == 0:
        break
else:
    cpu = 0
os.sched_setaffinity(0, {cpu})
time.sleep(1)
ctypes.CDLL(None).prctl(15, b"xdna-hang", 0, 0, 0)
fcntl.ioctl(device, 0xC0186445, bytes(24))
"""
"""One process on each processor."""
FILL = """\
import os, time
if os.fork():
    os._exit(0)
os.setsid()
file = os.open("/var/tmp", os.O_TMPFILE | os.O_RDWR)
place, size = 0, 1 << 30
while size >= 4096:
    try:
        os.posix_fallocate(file, place, size)
        place += size
    except OSError:
        size //= 2
while True:
    time.sleep(60)
"""
"""Its file has no name: its space is free again when the machine boots."""


LEFT = """\
uname -r
ls -d /tmp/xdna-* /boot/grub/custom.cfg 2>/dev/null
grub-editenv list | grep ^next_entry=.
test $(($(cat /proc/sys/kernel/tainted) & 128)) = 0 || echo oops
"""
"""What runs, and what should not be left."""


@dataclass
class Scene:
    """A lab host and one run on it. ``folder`` is the run's; ``words`` its command line's end."""

    host: LabHost
    folder: Path
    words: tuple[str, ...] = ()
    run: subprocess.Popen[bytes] | None = None
    known_good: str = ""
    answered: dict[str, str] = field(default_factory=dict)
    """Tests that had reported before the strike, and what."""

    @property
    def out(self) -> Path:
        return self.folder / "run"

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            CONFIG: str(self.host.ssh_config),
            LAB_FILE: str(self.folder / "lab.toml"),
            LEASES: str(self.folder / "leases.sqlite"),
        }

    def root(self, script: str, stdin: str = "") -> str:
        """What a script of sh prints there. HarnessError: nobody answers, or it cut us off."""
        connection = connect(reach(NAME, self.env))
        try:
            return connection.run(script, ROOT_SECONDS, stdin.encode())[1].strip()
        finally:
            connection.close()

    def python(self, script: str) -> None:
        """Run Python there as root; it may take the machine along."""
        with suppress(*SILENT):
            self.root("python3 - >/dev/null 2>&1", script)

    def start(self) -> None:
        """Start the run, or go on with it. It ends with us."""
        self.folder.mkdir(parents=True, exist_ok=True)
        power, console = self.host.power_command("cycle"), self.host.console_command()
        (self.folder / "lab.toml").write_text(
            f"[{NAME}.power]\nby = 'command'\ncycle = {json.dumps(power)}\n"
            f"[{NAME}.console]\nby = 'command'\ncommand = {json.dumps(console)}\n"
        )
        argv = [sys.executable, "-m", "harness.cli", "run", "--kernel", KERNEL, "--target", f"ssh:{NAME}"]
        argv += ["-k", SELECTED, *self.words, "--out", str(self.out)]
        self.run = proc.spawn(argv, log=self.folder / "run.log", env=self.env, cwd=PROJECT)

    def records(self) -> list[dict[str, Any]]:
        """The run's events so far; of a line that is being written, nothing."""
        events = []
        for path in self.out.glob("*/*/results.jsonl"):
            for line in path.read_text(errors="replace").splitlines():
                if line.endswith("}"):
                    events.append(json.loads(line))
        return events

    def wait_for_victim(self) -> None:
        """Until the victim runs. AssertionError: the run ended before."""
        assert self.run is not None
        deadline = time.monotonic() + STRUCK_SECONDS
        while True:
            events = self.records()
            if any(event.get("event") == "test-start" and VICTIM in event["id"] for event in events):
                self.answered = {e["id"]: e["outcome"] for e in events if e.get("event") == "test-end"}
                return
            assert self.run.poll() is None, f"the run ended before it was struck\n{self.log()}"
            assert time.monotonic() < deadline, f"no test within {STRUCK_SECONDS:.0f} s\n{self.log()}"
            time.sleep(0.05)

    def wait(self) -> int:
        """The run's exit status."""
        assert self.run is not None
        return self.run.wait(RUN_SECONDS)

    def log(self) -> str:
        return (self.folder / "run.log").read_text(errors="replace")[-6000:]

    def states(self) -> set[str]:
        """What the harness itself says of the machine."""
        argv = [sys.executable, "-m", "harness.cli", "hosts", "--json"]
        said = subprocess.run(argv, cwd=PROJECT, env=self.env, capture_output=True, check=True, timeout=ROOT_SECONDS)
        return {row["state"] for row in json.loads(said.stdout)}

    def is_well(self) -> bool:
        """It answers, runs its own kernel whole, would boot that again, and has nothing of ours on it."""
        try:
            said = self.root(LEFT)
        except SILENT:
            return False
        return said == self.known_good

    def wait_until_well(self) -> None:
        deadline = time.monotonic() + WELL_SECONDS
        while not self.is_well():
            assert time.monotonic() < deadline, f"not HEALTHY within {WELL_SECONDS:.0f} s\n{self.log()}"
            time.sleep(1)
        assert self.states() == {"HEALTHY"}, f"by the harness's own book it is {self.states()}\n{self.log()}"


Strike = Callable[[Scene], None]


def panic(scene: Scene) -> None:
    with suppress(*SILENT):
        scene.root("echo 1 > /proc/sys/kernel/sysrq; echo c > /proc/sysrq-trigger")


def hang(scene: Scene) -> None:
    scene.python(HANG_ALL)


def cut(scene: Scene) -> None:
    scene.host.link(False)
    time.sleep(CUT_SECONDS)
    scene.host.link(True)


def fill(scene: Scene) -> None:
    scene.python(FILL)
    deadline = time.monotonic() + ROOT_SECONDS
    while int(scene.root("df --output=avail / | tail -n 1")) > 0:
        assert time.monotonic() < deadline, "the disk does not get full"


def end_sshd(scene: Scene) -> None:
    with suppress(*SILENT):
        scene.root("systemctl mask --runtime --now ssh.socket ssh.service; pkill -9 sshd")


def jump(scene: Scene) -> None:
    there = int(scene.root("date -s '+3 days' >/dev/null; date +%s"))
    assert there > time.time() + 2 * 86400, "the clock did not jump"


def kill(scene: Scene) -> None:
    """And go on with the run, as a person or a timer would."""
    assert scene.run is not None
    scene.run.send_signal(signal.SIGKILL)
    scene.run.wait(60)
    scene.start()


@dataclass(frozen=True)
class Misbehaviour:
    """``strike`` is done while the victim runs; without one the kernel never gets that far, by ``words``. ``victim``:
    what may be said of it at first, by outcome; of all else, and when it is asked again, only PASS is true.
    ``statuses`` of the command line."""

    name: str
    about: str
    strike: Strike | None = None
    words: tuple[str, ...] = ()
    victim: frozenset[str] = frozenset({"PASS"})
    statuses: frozenset[int] = frozenset({0})
    edit: str = ""

    def play(self, host: LabHost, folder: Path) -> Played:
        """Once. AssertionError says what was not as it must be."""
        scene = Scene(host, folder, self.words)
        scene.known_good = _up(scene)
        if self.edit:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "edit.toml").write_text(self.edit)
            scene.words = (*self.words, "--edit", str(folder / "edit.toml"))
        begun = time.monotonic()
        scene.start()
        if self.strike is not None:
            scene.wait_for_victim()
            begun = time.monotonic()
            self.strike(scene)
        status = scene.wait()
        ended = time.monotonic()
        scene.wait_until_well()
        self._judge(scene, status)
        return Played(self.name, ended - begun, time.monotonic() - begun)

    def _judge(self, scene: Scene, status: int) -> None:
        """No result lost, none invented."""
        assert status in self.statuses, f"exit status {status}\n{scene.log()}"
        report = json.loads((scene.out / "report.json").read_text())
        results = [r for r in report["lanes"]["head"]["results"] if "::" in r["id"]]
        found = {r["id"]: r["outcome"] for r in results if r["attempt"] == 1}
        if self.strike is None:
            assert not found, f"tests answered on a kernel that never ran: {found}"
            return
        victims = {test: outcome for test, outcome in found.items() if VICTIM in test}
        others = {test: outcome for test, outcome in found.items() if VICTIM not in test}
        assert victims, "the victim's result is lost"
        assert set(victims.values()) <= self.victim, f"said of the victim: {victims}\n{scene.log()}"
        assert all(any(part in test for test in others) for part in OTHERS), f"results are lost: {found}"
        assert set(others.values()) == {"PASS"}, f"invented: {others}\n{scene.log()}"
        again = {r["id"]: r["outcome"] for r in results if r["attempt"] > 1 and r["outcome"] != "PASS"}
        assert not again, f"nobody struck again: {again}\n{scene.log()}"
        kept = {test: found.get(test) for test in scene.answered}
        assert kept == {test: outcome.upper() for test, outcome in scene.answered.items()}, "what was known before"


@dataclass(frozen=True)
class Played:
    """One recovery, in seconds since the strike: until the run had all its answers and was over, until the machine was
    HEALTHY."""

    name: str
    answers: float
    healthy: float


def _up(scene: Scene) -> str:
    """Wait for the machine: the kernel that it runs, its own."""
    deadline = time.monotonic() + WELL_SECONDS
    while True:
        try:
            return scene.root("uname -r")
        except SILENT:
            assert time.monotonic() < deadline, "the lab host does not come up"
            time.sleep(1)


SOON = ("--boot-seconds", "120")
"""Of a kernel that never comes nobody waits for as long as of one of metal."""
LOST = frozenset({"LOST"})
UNKNOWN = 3
MISBEHAVIOURS = (
    Misbehaviour("panic", "the kernel panics in a test", panic, victim=LOST, statuses=frozenset({UNKNOWN})),
    Misbehaviour(
        "hang",
        "all processors hang with interrupts off",
        hang,
        ("--boot-parameters", "nmi_watchdog=0 nosoftlockup softlockup_panic=0 hardlockup_panic=0"),
        victim=LOST,
        statuses=frozenset({UNKNOWN}),
        edit=HANG,
    ),
    Misbehaviour(
        "no-boot",
        "the kernel finds no init and panics",
        words=("--boot", "grub", *SOON, "--boot-parameters", "init=/nowhere"),
        statuses=frozenset({UNKNOWN, 1}),
    ),
    Misbehaviour(
        "kexec",
        "a kexec that never returns: the kernel stops before it has a console, without a reset",
        words=("--boot", "kexec", *SOON, "--boot-parameters", "init=/nowhere panic=0"),
        statuses=frozenset({UNKNOWN, 1}),
    ),
    Misbehaviour("cut", "the network is cut for 40 s", cut),
    Misbehaviour("disk-full", "the disk is full to the last byte", fill),
    Misbehaviour(
        "sshd",
        "sshd is gone for good",
        end_sshd,
        SOON,
    ),
    Misbehaviour("clock", "the clock jumps by three days", jump),
    Misbehaviour("killed", "kill -9 of the harness, and the same command again", kill),
)
