# SPDX-License-Identifier: GPL-2.0-only
"""What every night came to: an SQLite file that a kill at any moment leaves whole.

    nights    one row a night; ``ended`` is empty until what it came to is told
    runs      one row for each job of a night, from its plan on: planned, running, done, trouble, left (out of time)
    results   what each test of a run came to; written in the same transaction that makes the run "done"

A run that is "running" when nobody runs was cut off: its folder holds what it had answered, and it goes on there.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfraError, UsageError
from harness.host.store import size_of
from harness.model.night import BAD, Answer, Entry, Kept, NightRun, Past
from harness.model.trend import Point

VERSION = 1
"""PRAGMA user_version; count up with the tables, and say in _open how the old ones become the new."""
TABLES = """
CREATE TABLE nights (id INTEGER PRIMARY KEY, started REAL NOT NULL, ended REAL, seconds REAL NOT NULL);
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, night INTEGER NOT NULL REFERENCES nights, entry TEXT NOT NULL, title TEXT NOT NULL,
    job TEXT NOT NULL, inputs TEXT NOT NULL, why TEXT NOT NULL, folder TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'running', 'done', 'trouble', 'left')),
    tries INTEGER NOT NULL DEFAULT 0, started REAL, seconds REAL, verdict TEXT NOT NULL DEFAULT '',
    kernel TEXT NOT NULL DEFAULT '', said TEXT NOT NULL DEFAULT '', UNIQUE (night, entry));
CREATE INDEX runs_of_entry ON runs (entry, id);
CREATE TABLE results (
    run INTEGER NOT NULL REFERENCES runs, test TEXT NOT NULL, answer TEXT NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (run, test)) WITHOUT ROWID;
CREATE INDEX results_of_test ON results (test, run);
"""
WAIT_SECONDS = 30.0


@dataclass(frozen=True)
class Night:
    """``started`` and ``ended`` in seconds of the epoch, ``seconds``: its budget."""

    id: int
    started: float
    ended: float | None
    seconds: float


class Nights:
    """The history in ``folder``; run folders stand beside it. UsageError: a newer version of us has made it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "history.sqlite"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
            self._open()
        except sqlite3.Error as error:
            hint = "is it whole? move it away, and a new one is begun"
            raise InfraError(f"cannot use the history {self.path}: {error}", hint=hint) from error

    def _open(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        found = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if found > VERSION:
            raise UsageError(
                f"{self.path} has version {found}, this xdna-harness knows {VERSION}", hint="use a newer one"
            )
        if not found:
            self._db.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {VERSION}; COMMIT;")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _all_or_nothing(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:
                yield self._db
        except sqlite3.Error as error:
            hint = "free some disk space, or end who else uses it"
            raise InfraError(f"cannot write the history {self.path}: {error}", hint=hint) from error

    def begin(self, now: float, seconds: float, plan: Sequence[tuple[Entry, str]]) -> Night:
        """A night with its plan: entries in their order, each with its job's TOML."""
        with self._all_or_nothing() as db:
            night = int(
                db.execute("INSERT INTO nights (started, seconds) VALUES (?, ?)", (now, seconds)).lastrowid or 0
            )
            db.executemany(
                "INSERT INTO runs (night, entry, title, job, inputs, why, folder) VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (night, e.key, e.title, job, e.inputs, e.why, f"night-{night:04}/{place:02}-{e.key}")
                    for place, (e, job) in enumerate(plan, 1)
                ],
            )
        return Night(night, now, None, seconds)

    def under_way(self) -> list[Night]:
        """The nights that were begun and have not ended, oldest first: the last one, and before it those that were cut
        off too long ago to go on, which nobody was told of."""
        rows = self._db.execute("SELECT id, started, ended, seconds FROM nights WHERE ended IS NULL ORDER BY id")
        return [Night(*row) for row in rows]

    def end(self, now: float) -> None:
        """End all that are under way at once. What is still planned was left out."""
        with self._all_or_nothing() as db:
            nights = "(SELECT id FROM nights WHERE ended IS NULL)"
            db.execute(f"UPDATE runs SET state = 'left' WHERE state = 'planned' AND night IN {nights}")
            db.execute("UPDATE nights SET ended = ? WHERE ended IS NULL", (now,))

    def runs(self, night: int) -> list[NightRun]:
        """The runs of a night in their order."""
        names = ", ".join(NightRun.__dataclass_fields__)
        return [
            NightRun(*row)
            for row in self._db.execute(f"SELECT {names} FROM runs WHERE night = ? ORDER BY id", (night,))
        ]

    def start(self, run: int, now: float) -> None:
        with self._all_or_nothing() as db:
            db.execute("UPDATE runs SET state = 'running', tries = tries + 1, started = ? WHERE id = ?", (now, run))

    def done(
        self, run: int, verdict: str, kernel: str, seconds: float, answers: Mapping[str, tuple[Answer, float]]
    ) -> None:
        """A run has ended, with all that its tests came to."""
        with self._all_or_nothing() as db:
            db.executemany(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)",
                [(run, test, said, took) for test, (said, took) in answers.items()],
            )
            values = (verdict, kernel, seconds, run)
            db.execute("UPDATE runs SET state = 'done', verdict = ?, kernel = ?, seconds = ? WHERE id = ?", values)

    def trouble(self, run: int, said: str, seconds: float, again: bool) -> None:
        """A run that has no answer; ``again``: it is asked once more in the same night."""
        with self._all_or_nothing() as db:
            state = "planned" if again else "trouble"
            db.execute("UPDATE runs SET state = ?, said = ?, seconds = ? WHERE id = ?", (state, said, seconds, run))

    def past(self, entry: str) -> Past:
        """What is known of a job from the last time that it ran to its end."""
        row = self._db.execute(
            "SELECT id, started, seconds, inputs FROM runs WHERE entry = ? AND state = 'done' ORDER BY id DESC",
            (entry,),
        ).fetchone()
        if row is None:
            return Past()
        failing = any(said in BAD for said in self.answers(row[0]).values())
        return Past(asked=row[1], seconds=row[2], inputs=row[3], failing=failing)

    def answers(self, run: int) -> dict[str, Answer]:
        """What the tests of a run came to."""
        rows = self._db.execute("SELECT test, answer FROM results WHERE run = ? ORDER BY test", (run,))
        return {test: Answer(said) for test, said in rows}

    def before(self, run: NightRun) -> dict[str, Answer] | None:
        """The same of the last time that each test of this job could be asked before; None: the job never was."""
        earlier = "FROM runs WHERE entry = ? AND state = 'done' AND id < ?"
        about = (run.entry, run.id)
        if self._db.execute(f"SELECT 1 {earlier} LIMIT 1", about).fetchone() is None:
            return None
        rows = self._db.execute(  # of the columns beside max() SQLite takes those of the row that has it
            f"SELECT test, answer, max(run) FROM results WHERE run IN (SELECT id {earlier}) AND answer != ?"
            " GROUP BY test",
            (*about, Answer.ERROR),
        )
        return {test: Answer(said) for test, said, _ in rows}

    def points(self, nights: int) -> list[Point]:
        """Every answer of the last so many nights, oldest first."""
        found = self._db.execute(
            "SELECT night, coalesce(runs.started, 0) AS started, title, inputs, kernel, folder, test, answer,"
            " results.seconds AS seconds"
            " FROM results JOIN runs ON runs.id = run"
            " WHERE night > (SELECT coalesce(max(id), 0) FROM nights) - ? ORDER BY night, runs.id, test",
            (nights,),
        )
        names = [column[0] for column in found.description]
        rows = (dict(zip(names, row, strict=True)) for row in found)
        return [Point(**{**row, "answer": Answer(row["answer"])}) for row in rows]

    def kept(self) -> list[Kept]:
        """The nights that still have run folders. Of each job the last night in which it failed is needed."""
        bad = ", ".join(f"'{said}'" for said in BAD)
        needed = {
            int(row[0])
            for row in self._db.execute(
                f"SELECT max(night) FROM runs JOIN results ON run = runs.id WHERE answer IN ({bad}) GROUP BY entry"
            )
        }
        folders = [(int(path.name.removeprefix("night-")), path) for path in self.folder.glob("night-[0-9]*")]
        return [Kept(night, size_of(path), night in needed) for night, path in sorted(folders)]

    def drop_folders(self, night: int) -> None:
        """Delete a night's run folders; what it came to stays."""
        shutil.rmtree(self.folder / f"night-{night:04}", ignore_errors=True)
