# SPDX-License-Identifier: GPL-2.0-only
"""Who has which machine: the table of leases, and a lease that is renewed while it is held.

    with leases.hold("testhost", "runs/x", wait=600) as lease:
        lease.check()              before every act on the machine: LeaseLost once it is not ours any more
        lease.guard(script)        a sh script that the machine itself refuses once another holder was there

The rules are harness/model/lease.py; a change of holder is one UPDATE that takes effect only on the row that was seen.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import InfraError
from harness.host.database import Database
from harness.host.fence import guarded
from harness.host.holder import is_gone, this_process
from harness.host.state import state_folder
from harness.log import say, warn
from harness.model.lease import RENEWALS, SECONDS, Held, Holder, Watch, next_token

URL = "XDNA_HARNESS_LEASES"
SHARED = Path("/var/lib/xdna-harness/leases.sqlite")
"""Used when its folder is there and can be written: one table for all users of this machine."""
LOOK_SECONDS = 1.0
RELEASE_SECONDS = 10.0
"""How long a statement that is on its way is waited for: twice what it may take."""

TABLE = (
    "leases (machine TEXT PRIMARY KEY, token BIGINT NOT NULL, beat BIGINT NOT NULL, seconds DOUBLE PRECISION NOT NULL,"
    " held INTEGER NOT NULL, host TEXT NOT NULL, pid BIGINT NOT NULL, who TEXT NOT NULL, run TEXT NOT NULL,"
    " place TEXT NOT NULL, started BIGINT NOT NULL, acquired DOUBLE PRECISION NOT NULL,"
    " heartbeat DOUBLE PRECISION NOT NULL)"
)
_COLUMNS = "machine, token, beat, seconds, held, host, pid, who, run, place, started, acquired, heartbeat"


class LeaseLost(InfraError):
    """The machine is not ours any more, or nobody can tell. Whoever sees this does not touch it again."""


def boot_seconds() -> float:
    """Seconds since boot; goes on while the machine sleeps, and no clock setting changes it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def default_url() -> str:
    """Where the table is: what XDNA_HARNESS_LEASES says, this machine's, or this user's."""
    named = os.environ.get(URL, "")
    shared = os.access(SHARED.parent, os.W_OK)
    return named or str(SHARED if shared else state_folder() / "leases.sqlite")


class Lease:
    """A machine that is ours until :meth:`check` says otherwise; then it never becomes ours again."""

    def __init__(
        self, database: Database, held: Held, renewed: float, clock: Callable[[], float], before: Held | None = None
    ) -> None:
        """``renewed``: the clock just before the row was written. ``before``: who had it until then."""
        self.machine = held.machine
        self.token = held.token
        self.holder = held.holder
        self.seconds = held.seconds
        self.abandoned = before if before is not None and before.held else None
        """The holder before us, when it ended without giving the machine back: in which state, nobody knows."""
        self.on_lost: Callable[[str], None] = lambda why: None
        """Called once, from a thread of its own, when the lease is lost: close what leads to the machine."""
        self._database = database
        self._clock = clock
        self._until = renewed + held.seconds
        self._lost = ""
        self._trouble = ""
        self._ended = threading.Event()
        self._news = threading.Event()
        """Set when it is lost, or given back."""
        self._threads: list[threading.Thread] = []

    def check(self) -> None:
        """Raise LeaseLost unless the machine is ours now."""
        if not self._lost and self._clock() >= self._until:
            why = self._trouble or "this process, or this machine, stood still"
            self._lost = f"it was not renewed for {self.seconds:.0f} s: {why}"
        if self._lost:
            raise LeaseLost(
                f"the lease of {self.machine} is lost: {self._lost}",
                hint="the machine is not touched any more; the same command goes on once it is free",
                transient=True,
            )

    def guard(self, script: str) -> str:
        """The sh script behind a check on the machine itself. Raises LeaseLost."""
        self.check()
        return guarded(script, self.token, str(self.holder))

    def lose(self, why: str) -> None:
        """Somebody who must know says that the machine is another's."""
        self._lost = self._lost or why
        self._news.set()

    def renew(self) -> None:
        """Renew once. Raises LeaseLost; a database that does not answer is waited for until the lease is over."""
        self.check()
        before = self._clock()
        try:
            statement = "UPDATE leases SET beat = beat + 1, heartbeat = ? WHERE machine = ? AND token = ? AND held = 1"
            changed = self._database.change(statement, time.time(), self.machine, self.token)
        except InfraError as error:
            self._trouble = error.message
            return
        if changed:
            self._until, self._trouble = before + self.seconds, ""
        else:
            self.lose(self._successor())
        self.check()

    def _successor(self) -> str:
        with suppress(InfraError):
            now = find(self._database, self.machine)
            return str(now) if now else "the table does not know it any more"
        return "another holder came"

    def keep(self) -> None:
        """Renew from a thread until :meth:`release`. Another one only looks at the clock: a database may keep whoever
        asks it waiting for longer than the lease lasts."""
        self._threads = [
            threading.Thread(target=target, name=f"lease of {self.machine}", daemon=True)
            for target in (self._renew_on, self._watch)
        ]
        for thread in self._threads:
            thread.start()

    def _renew_on(self) -> None:
        with suppress(LeaseLost):
            while not self._ended.wait(self.seconds / RENEWALS):
                self.renew()

    def _watch(self) -> None:
        while not self._ended.is_set():
            try:
                self.check()
            except LeaseLost as lost:
                warn(lost.message)
                self.on_lost(lost.message)
                return
            self._news.wait(max(0.0, self._until - self._clock()))

    def release(self) -> None:
        """Give it back; one that is lost already is nobody's business any more."""
        self._ended.set()
        self._news.set()
        for thread in self._threads:
            thread.join(RELEASE_SECONDS)
        try:
            self.check()
            self._lost = "it was given back"
            statement = "UPDATE leases SET held = 0, heartbeat = ? WHERE machine = ? AND token = ?"
            self._database.change(statement, time.time(), self.machine, self.token)
        except LeaseLost:
            return
        except InfraError as error:
            warn(f"{self.machine} could not be given back, and is free in {self.seconds:.0f} s: {error.message}")


class Leases:
    """The table. ``clock`` counts seconds and is never set; ``gone`` tells of a holder that certainly ended."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = boot_seconds,
        gone: Callable[[Holder], bool] = is_gone,
        seconds: float = SECONDS,
    ) -> None:
        self.database = database
        self.clock = clock
        self.gone = gone
        self.seconds = seconds

    @classmethod
    def open(cls, url: str = "") -> Leases:
        """The table at ``url``, made if it is not there. Raises InfraError and UsageError."""
        return cls(Database(url or default_url(), (TABLE,)))

    @contextmanager
    def hold(self, machine: str, run: str, wait: float) -> Iterator[Lease]:
        """Have a machine to ourselves, waiting for it for ``wait`` seconds at most. InfraError names who has it."""
        lease = self.acquire(machine, this_process(run), wait)
        lease.keep()
        try:
            yield lease
        finally:
            lease.release()

    def acquire(self, machine: str, me: Holder, wait: float) -> Lease:
        """The lease of a machine, not renewed by itself yet. InfraError: somebody had it all the time."""
        deadline = self.clock() + wait
        watch: Watch | None = None
        told = 0
        while True:
            lease, held, watch = self.look(machine, me, watch)
            if lease is not None:
                return lease
            if self.clock() >= deadline:
                raise InfraError(str(held), hint=f"waited {wait:.0f} s; wait for its end, or end it", transient=True)
            if held is not None and held.token != told:
                told = held.token
                say(f"{held}: waiting, {deadline - self.clock():.0f} s at most")
            time.sleep(min(LOOK_SECONDS, max(0.0, deadline - self.clock())))

    def look(self, machine: str, me: Holder, before: Watch | None) -> tuple[Lease | None, Held | None, Watch | None]:
        """One try: the lease, or who has the machine and since when that was seen."""
        held = find(self.database, machine)
        now = self.clock()
        if held is None:
            return self._insert(machine, me, now), None, None
        watch = Watch.of(held, now, before)
        if not watch.may_take(held, now) and not self.gone(held.holder):
            return None, held, watch
        lease = self._take(held, me, now)
        return lease, held if lease else find(self.database, machine), watch

    def _insert(self, machine: str, me: Holder, now: float) -> Lease | None:
        row = self._row(machine, me, next_token(0, time.time()))
        marks = ", ".join("?" * len(_values(row)))
        statement = f"INSERT INTO leases ({_COLUMNS}) VALUES ({marks}) ON CONFLICT (machine) DO NOTHING"
        changed = self.database.change(statement, *_values(row))
        return Lease(self.database, row, now, self.clock) if changed else None

    def _take(self, held: Held, me: Holder, now: float) -> Lease | None:
        """Take what was seen; nothing happens when it has been renewed, or taken, since."""
        row = self._row(held.machine, me, next_token(held.token, time.time()))
        names = ", ".join(f"{name} = ?" for name in _COLUMNS.split(", "))
        statement = f"UPDATE leases SET {names} WHERE machine = ? AND token = ? AND beat = ?"
        changed = self.database.change(statement, *_values(row), held.machine, held.token, held.beat)
        return Lease(self.database, row, now, self.clock, held) if changed else None

    def _row(self, machine: str, me: Holder, token: int) -> Held:
        now = time.time()
        return Held(machine, token, 0, self.seconds, True, me, now, now)

    def all(self) -> list[Held]:
        """Every machine that was ever held."""
        return [_held(row) for row in self.database.rows(f"SELECT {_COLUMNS} FROM leases ORDER BY machine")]


def find(database: Database, machine: str) -> Held | None:
    """A machine's row."""
    rows = database.rows(f"SELECT {_COLUMNS} FROM leases WHERE machine = ?", machine)
    return _held(rows[0]) if rows else None


def _held(row: tuple[object, ...]) -> Held:
    machine, token, beat, seconds, held, host, pid, who, run, place, started, acquired, heartbeat = map(str, row)
    holder = Holder(host, int(pid), who, run, place, int(started))
    return Held(machine, int(token), int(beat), float(seconds), held == "1", holder, float(acquired), float(heartbeat))


def _values(row: Held) -> tuple[object, ...]:
    h = row.holder
    about = (h.host, h.pid, h.who, h.run, h.place, h.started)
    return (row.machine, row.token, row.beat, row.seconds, int(row.held), *about, row.acquired, row.heartbeat)
