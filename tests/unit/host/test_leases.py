# SPDX-License-Identifier: GPL-2.0-only
"""Two holders are never both valid: any order of holders, pauses, lost databases and clocks, on a real database; then
real processes that are killed and stopped."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harness.errors import InfraError
from harness.host import database
from harness.host import holder as holders
from harness.host import leases as module
from harness.host.database import Database
from harness.host.fence import guarded
from harness.host.holder import is_gone, this_process
from harness.host.leases import TABLE, Lease, LeaseLost, Leases, boot_seconds
from harness.model.lease import DRIFT, Holder, Watch

ROOT = Path(__file__).parents[3]
MACHINE = "testhost"
SECONDS = 60.0
NAMES = ("anna", "ben", "carl")


def valid(lease: Lease | None) -> bool:
    if lease is None:
        return False
    try:
        lease.check()
    except LeaseLost:
        return False
    return True


class Actor:
    """A holder with a clock of its own, that starts anywhere and is not quite of the same speed."""

    def __init__(self, name: str, world: World, offset: float, speed: float) -> None:
        self.me = Holder(name, 1, name, "a run")
        self.clock: Callable[[], float] = lambda: offset + speed * world.now
        self.leases = Leases(world.database, self.clock, gone=lambda _: False, seconds=SECONDS)
        self.lease: Lease | None = None
        self.watch: Watch | None = None


class World(RuleBasedStateMachine):
    """What time, people and servers can do to a lease."""

    @initialize(
        offsets=st.lists(st.floats(0, 1e6), min_size=3, max_size=3),
        speeds=st.lists(st.floats(1 - DRIFT / 2, 1 + DRIFT / 2.5), min_size=3, max_size=3),
    )
    def begin(self, offsets: list[float], speeds: list[float]) -> None:
        self.now = 0.0
        self.folder = Path(os.environ["LEASE_FOLDER"])
        self.path = self.folder / "leases.sqlite"
        self.path.unlink(missing_ok=True)
        self.aside = self.folder / "aside"
        self.aside.unlink(missing_ok=True)
        self.database = Database(str(self.path), (TABLE,))
        self.tokens: list[int] = []
        self.actors = [Actor(n, self, o, s) for n, o, s in zip(NAMES, offsets, speeds, strict=True)]

    @rule(
        seconds=st.sampled_from([0.0, 5.0, 19.0, 35.0, 55.0, 58.0, 60.0, 64.0, 200.0]),
        awake=st.lists(st.integers(0, 2), unique=True),
        database=st.sampled_from([True, True, True, False]),
    )
    def time_passes(self, seconds: float, awake: list[int], database: bool) -> None:
        """Then those who are awake do what they do, in this order; the others are stopped."""
        self.now += seconds
        if not database:
            self.path.rename(self.aside)
        for who in awake:
            self.act(self.actors[who])
        if not database:
            self.aside.rename(self.path)

    def act(self, actor: Actor) -> None:
        if valid(actor.lease):
            assert actor.lease is not None
            with suppress(LeaseLost):
                actor.lease.renew()
            return
        with suppress(InfraError):
            actor.lease, _, actor.watch = actor.leases.look(MACHINE, actor.me, actor.watch)
            if actor.lease is not None:
                assert actor.lease.token > max(self.tokens, default=0)
                self.tokens.append(actor.lease.token)

    @rule(who=st.integers(0, 2))
    def release(self, who: int) -> None:
        lease = self.actors[who].lease
        if lease is not None:
            lease.release()

    @invariant()
    def one_at_most(self) -> None:
        if hasattr(self, "actors"):
            assert sum(valid(actor.lease) for actor in self.actors) <= 1


@pytest.fixture(autouse=True)
def _folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In memory where that is possible: thousands of small transactions, each of which SQLite would sync."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        monkeypatch.setenv("LEASE_FOLDER", folder)
        yield


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@pytest.fixture
def leases(tmp_path: Path) -> Leases:
    return Leases(Database(str(tmp_path / "leases.sqlite"), (TABLE,)), seconds=1.5)


def me(name: str) -> Holder:
    return Holder(name, 1, name, "a run")


def test_who_waits_is_told_who_has_it(leases: Leases) -> None:
    leases.acquire(MACHINE, me("anna"), 0)
    with pytest.raises(InfraError, match=r"testhost is held by anna@anna, process 1, a run since \d{4}-") as caught:
        leases.acquire(MACHINE, me("ben"), 0)
    assert "wait for its end" in caught.value.hint


def test_a_released_one_is_free_at_once(leases: Leases) -> None:
    leases.acquire(MACHINE, me("anna"), 0).release()
    assert leases.acquire(MACHINE, me("ben"), 0).abandoned is None


def test_the_next_holder_knows_that_one_died(leases: Leases) -> None:
    leases.acquire(MACHINE, me("anna"), 0)
    leases.gone = lambda _: True
    lease = leases.acquire(MACHINE, me("ben"), 0)
    assert lease.abandoned is not None
    assert lease.abandoned.holder.who == "anna"


def test_a_held_one_is_renewed_by_itself(leases: Leases) -> None:
    with leases.hold(MACHINE, "a run", 0) as lease:
        time.sleep(2.5)
        lease.check()
        assert leases.all()[0].beat >= 2
    assert not leases.all()[0].held


def test_a_lost_one_says_so_once_and_closes(leases: Leases) -> None:
    closed: list[str] = []
    with leases.hold(MACHINE, "a run", 0) as lease:
        lease.on_lost = closed.append
        leases.database.path.unlink()
        time.sleep(2.6)
        with pytest.raises(LeaseLost, match=r"not renewed for 2 s: cannot use the database"):
            lease.check()
    assert len(closed) == 1
    assert closed[0].startswith("the lease of testhost is lost")


def test_an_overtaken_one_names_the_successor(leases: Leases) -> None:
    now = [0.0]
    first = Leases(leases.database, lambda: now[0], seconds=1.5).acquire(MACHINE, me("anna"), 0)
    leases.database.change("UPDATE leases SET token = token + 1, host = 'elsewhere'")
    with pytest.raises(LeaseLost, match="is held by anna@elsewhere"):
        first.renew()


def test_who_saw_an_older_row_takes_nothing(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who wait take at the same moment."""
    leases.acquire(MACHINE, me("anna"), 0).release()
    taken: list[Lease] = []
    change = leases.database.change

    def late(statement: str, *values: object) -> int:
        monkeypatch.undo()
        taken.append(leases.acquire(MACHINE, me("carl"), 0))
        return change(statement, *values)

    monkeypatch.setattr(leases.database, "change", late)
    with pytest.raises(InfraError, match="held by carl"):
        leases.acquire(MACHINE, me("ben"), 0)
    assert taken[0].holder.who == "carl"


def test_guard_runs_a_script_until_a_later_token_came(leases: Leases, tmp_path: Path) -> None:
    def run(token: int, script: str = "echo did; exit 5") -> tuple[int, str]:
        words = ["sh", "-c", guarded(script, token, "anna", str(tmp_path / "var" / "fence"))]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20)
        return done.returncode, done.stdout.strip()

    assert run(7) == (5, "did")
    assert run(7) == (5, "did")
    assert run(9) == (5, "did")
    status, said = run(7)
    assert status == 76
    assert said == "xdna-fence: a later holder has this machine: anna"
    assert run(9) == (5, "did")
    (tmp_path / "var" / "fence" / "fence.new").mkdir()  # cannot be written, as on a full disk
    assert run(11) == (5, "did")


HOLD = """
import sys, time
from harness.host import database
from harness.host import holder as holders
from harness.host import leases as module
from harness.host.database import Database
from harness.host.holder import is_gone, this_process
from harness.host.leases import TABLE, Lease, LeaseLost, Leases
leases = Leases(Database(sys.argv[1], (TABLE,)), seconds=2.0)
with leases.hold("testhost", "run " + sys.argv[2], 60) as lease:
    print("has", lease.token, flush=True)
    while True:
        try:
            lease.check()
        except LeaseLost as lost:
            print("lost", lost.message, flush=True)
            break
        with open(sys.argv[3], "a") as touched:
            print(sys.argv[2], time.clock_gettime(time.CLOCK_BOOTTIME), file=touched, flush=True)
        time.sleep(0.02)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start a process that touches the machine (a line in a file) as long as its lease lets it."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-c", HOLD, str(tmp_path / "leases.sqlite"), name, str(tmp_path / "touched")]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_killed_holder_of_this_machine_is_replaced_at_once(holder: Callable[[str], subprocess.Popen[str]]) -> None:
    first = holder("first")
    assert line(first).startswith("has ")
    first.kill()
    first.wait()
    killed = boot_seconds()
    assert line(holder("second")).startswith("has ")
    assert boot_seconds() - killed < 2.0, "a process that is gone need not be waited for"


def test_a_stopped_holder_is_replaced_and_touches_nothing_when_it_goes_on(
    holder: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    first = holder("first")
    assert line(first).startswith("has ")
    os.kill(first.pid, signal.SIGSTOP)
    stopped = boot_seconds()
    second = holder("second")
    assert line(second).startswith("has ")
    assert boot_seconds() - stopped > 2.0, "one that may still live is waited for"
    os.kill(first.pid, signal.SIGCONT)
    said = line(first)
    assert "the lease of testhost is lost" in said
    assert "run second" in said or "stood still" in said
    time.sleep(0.2)
    touched = [row.split() for row in (tmp_path / "touched").read_text().splitlines()]
    others = [float(at) for who, at in touched if who == "second"]
    assert others
    # one act may have been under way when the process was stopped: that is what the fence on the machine is for
    assert sum(who == "first" and float(at) > others[0] for who, at in touched) <= 1


def test_it_is_told_in_time_and_given_back_though_the_database_stands_still(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that is on its way may take longer than the lease lasts."""
    monkeypatch.setattr(module, "RELEASE_SECONDS", 0.1)
    told: list[float] = []
    go_on = threading.Event()

    def still(statement: str, *values: object) -> int:
        go_on.wait(30.0)
        raise InfraError("the server stood still")

    began = boot_seconds()
    with leases.hold(MACHINE, "a run", 0) as lease:
        lease.on_lost = lambda why: told.append(boot_seconds())
        monkeypatch.setattr(leases.database, "change", still)
        time.sleep(2.5)
        assert len(told) == 1
        assert told[0] - began < 2.3, "before anybody else may have it"
    assert boot_seconds() - began < 10.0
    go_on.set()


def test_what_the_machine_itself_refuses_is_lost_at_once(leases: Leases) -> None:
    told: list[str] = []
    with leases.hold(MACHINE, "a run", 0) as lease:
        lease.on_lost = told.append
        lease.lose("testhost refuses our commands")
        with pytest.raises(LeaseLost, match="refuses our commands"):
            lease.check()
        time.sleep(0.3)
        assert len(told) == 1


def test_a_process_that_proc_hides_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc with hidepid: another user's process has no folder there."""
    other = subprocess.Popen(["sleep", "60"])
    mine = this_process("a run")
    theirs = replace(mine, pid=other.pid, started=holders._started(other.pid) or 0)
    assert not is_gone(theirs)
    with monkeypatch.context() as hidden:
        hidden.setattr(holders, "_started", lambda pid: None)
        assert not is_gone(theirs)
    assert is_gone(replace(theirs, started=theirs.started + 1)), "another process has its number"
    other.kill()
    deadline = time.monotonic() + 10
    while not is_gone(theirs) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_gone(theirs), "only its parent has not taken note"
    other.wait()
    assert is_gone(theirs)


def test_a_new_table_is_for_all_to_whom_its_folder_is(tmp_path: Path) -> None:
    for mode, expected in ((0o2775, 0o664), (0o755, 0o644), (0o700, 0o600)):
        folder = tmp_path / f"{mode:o}"
        folder.mkdir()
        folder.chmod(mode)
        before = os.umask(0o022)
        try:
            Database(str(folder / "leases.sqlite"), (TABLE,))
        finally:
            os.umask(before)
        assert stat.S_IMODE((folder / "leases.sqlite").stat().st_mode) == expected


def test_a_server_that_stands_still_is_waited_for_no_longer_than_that() -> None:
    """It has taken the statement, and TCP is content: the wait would have no end."""
    ours, its = socket.socketpair()
    with ours, its:
        began = time.monotonic()
        with database._cut_after(0.2, ours.fileno()):
            assert ours.recv(1) == b""
        assert 0.1 < time.monotonic() - began < 5.0
