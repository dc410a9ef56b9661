# SPDX-License-Identifier: GPL-2.0-only
"""A machine behind ssh as its keeper sees it: does it answer, and how it is made to boot anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from harness.errors import HarnessError, InfraError
from harness.formats.machine_facts import PROBE, Facts, read
from harness.host.leases import Lease, LeaseLost
from harness.host.ssh import BadHostKey, Connection, connect
from harness.host.ssh_config import Reach
from harness.model.health import Act

PROBE_SECONDS = 90.0
RETRY_SECONDS = 2.0
REBOOT = """\
if [ "$(id -u)" = 0 ]; then s=; else s="sudo -n"; fi
(sleep 1; $s systemctl reboot --force --force || $s reboot -f) >/dev/null 2>&1 </dev/null &
"""
"""--force twice asks no service: one of them may be what hangs."""


def asked(connection: Connection, name: str) -> Facts:
    """What a machine says now. InfraError: it does not say what it runs, and nothing follows from that, least of all
    another boot."""
    facts = read(connection.run(PROBE, PROBE_SECONDS)[1])
    if not facts.release or not facts.boot_id:
        raise InfraError(
            f"{name} does not say what it runs",
            hint="it must be a Linux machine with a POSIX shell",
            transient=True,
        )
    return facts


class Remote:
    """``power``: switches it off and on; None where nobody can. ``back_seconds``: how long it may take from a reset to
    an answer, firmware and all. ``home``: it is well in its own kernel only. Every act is preceded by a look at the
    lease."""

    def __init__(
        self,
        reach: Reach,
        lease: Lease,
        power: Callable[[], None] | None,
        back_seconds: float,
    ) -> None:
        self.reach = reach
        self.lease = lease
        self.power = power
        self.back_seconds = back_seconds
        self.home = False
        self.can = frozenset({Act.REBOOT, Act.POWER_CYCLE} if power else {Act.REBOOT})
        self._before = ""
        self._waits = False

    def do(self, act: Act) -> str:
        """Do it: what went wrong, in words. UsageError: host key or login; LeaseLost."""
        try:
            {Act.PROBE: self._probe, Act.REBOOT: self._reboot, Act.POWER_CYCLE: self._power_cycle}[act]()
        except LeaseLost:
            raise
        except InfraError as error:
            self.lease.check()
            return error.message
        return ""

    def _probe(self) -> None:
        """One that does not answer may be on its way: by its watchdog, or by us, who then want to see another boot, and
        know that a machine which comes up may let nobody in at first."""
        deadline = time.monotonic() + self.back_seconds
        while True:
            try:
                facts = self._facts()
                if not self._waits or facts.boot_id != self._before:
                    break
                last = f"{self.reach.name} did not boot anew"
            except HarnessError as error:
                if isinstance(error, BadHostKey) or not (isinstance(error, InfraError) or self._waits):
                    raise
                self.lease.check()  # another's machine is not waited for
                last = error.message
            if time.monotonic() >= deadline:
                raise InfraError(f"{last}, for {self.back_seconds:.0f} s")
            time.sleep(RETRY_SECONDS)
        self._waits = False
        if facts.oopsed:
            raise InfraError(f"the kernel of {self.reach.name} died in part (an oops or BUG)")
        if self.home and facts.away:
            raise InfraError(f"{self.reach.name} is in a kernel under test, {facts.release}, not its own {facts.own}")

    def _facts(self) -> Facts:
        connection = connect(self.reach, self.lease)
        try:
            return asked(connection, self.reach.name)
        finally:
            connection.close()

    def _reboot(self) -> None:
        connection = connect(self.reach, self.lease)
        try:
            self._before = asked(connection, self.reach.name).boot_id
            connection.run(REBOOT, PROBE_SECONDS)
        finally:
            connection.close()
        self._waits = True

    def _power_cycle(self) -> None:
        assert self.power is not None
        with suppress(InfraError):
            self._before = self._facts().boot_id
        self.lease.check()  # also when the machine itself has refused us
        self.power()
        self._waits = True
