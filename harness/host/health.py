# SPDX-License-Identifier: GPL-2.0-only
"""What became of each machine: a table beside that of the leases, to which is only added."""

from __future__ import annotations

import time

from harness.host.database import Database
from harness.model.health import Health, HostState

TABLE = (
    "health (machine TEXT NOT NULL, number BIGINT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL,"
    " at DOUBLE PRECISION NOT NULL, run TEXT NOT NULL, PRIMARY KEY (machine, number))"
)


class HealthRecord:
    """The states of machines. Who writes holds the machine's lease, or is a person."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def now(self, machine: str) -> Health | None:
        """None: nobody has looked at it yet."""
        return next(iter(self.past(machine)), None)

    def past(self, machine: str) -> list[Health]:
        """All states of a machine, the last one first."""
        statement = "SELECT state, reason, at, run FROM health WHERE machine = ? ORDER BY number DESC"
        return [Health(HostState(s), str(r), float(a), str(w)) for s, r, a, w in self.database.rows(statement, machine)]

    def machines(self) -> list[str]:
        """Those that have a state."""
        return [str(row[0]) for row in self.database.rows("SELECT DISTINCT machine FROM health ORDER BY machine")]

    def set(self, machine: str, state: HostState, reason: str, run: str) -> None:
        """Add a state; the same for the same reason is not news."""
        now = self.now(machine)
        if now is not None and (now.state, now.reason) == (state, reason):
            return
        self.database.change(
            "INSERT INTO health (machine, number, state, reason, at, run)"
            " SELECT ?, coalesce(max(number), 0) + 1, ?, ?, ?, ? FROM health WHERE machine = ?",
            *(machine, state.value, reason, time.time(), run, machine),
        )
