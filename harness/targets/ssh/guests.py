# SPDX-License-Identifier: GPL-2.0-only
"""Opens sessions on one machine, one at a time: in the kernel that a lane wants, which is booted where it does not run
yet. There is nothing to restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from harness.errors import HarnessError, InfraError, UsageError
from harness.formats.machine_facts import Facts, unfit, unusable
from harness.host.payload import Payload
from harness.model.session import Start
from harness.model.variant import AddressMode
from harness.targets.ssh.aftermath import Aftermath, Late, nobody
from harness.targets.ssh.boots import Boots
from harness.targets.ssh.evidence import Evidence
from harness.targets.ssh.kernels import watchdog_modules
from harness.targets.ssh.machine import DUMP_SECONDS, WATCHDOG_SECONDS, Machine
from harness.targets.ssh.session import SshSession
from harness.targets.ssh.upkeep import Upkeep


class SshLab:
    """One machine and what a run does with it. ``boots`` None: it runs the right kernel already, and nothing is
    installed or booted. Inside, it is ours; at the end it is in its own kernel again, and clean."""

    def __init__(self, machine: Machine, evidence: Evidence, boots: Boots | None) -> None:
        self.machine = machine
        self.evidence = evidence
        self.boots = boots
        self.upkeep = Upkeep(machine)
        self.aftermath = Aftermath(machine, evidence)
        self.spoiled = ""
        """The boot in which a session was lost, or whose kernel complained as it came up: it is not asked again."""

    @property
    def leaves(self) -> bool:
        """Whether the machine stays as the last session had it."""
        return self.boots is not None and self.boots.rules.leave

    def ready(self, payload: Payload, folder: Path) -> Facts:
        """The machine in the payload's kernel. UsageError: host key or login; InfraError: the machine is not there, or
        not fit; SessionLost: the kernel does not come up."""
        wanted = payload.module.kernel
        facts = self.machine.ask() if self.boots is None else self.boots.wake()
        if wrong := unusable(facts):
            raise InfraError(f"{self.machine.name} {wrong[0]}", hint=wrong[1])
        self.upkeep.first()
        if self._look(facts):
            self.spoiled = facts.boot_id
        worn = facts.worn or facts.boot_id == self.spoiled
        if self.boots is not None and (facts.release != wanted.release or worn):
            facts = self.boots.into(wanted, folder)
        else:
            if self.boots is not None and facts.boot_id != self.boots.booted:
                self.boots.adopt(facts)
            self.evidence.mark_files()
        if wrong := unfit(facts, wanted.release):
            raise InfraError(f"{self.machine.name} {wrong[0]}", hint=wrong[1])
        return facts

    def guard(self, session: SshSession, payload: Payload) -> None:
        """Have the watchdog fed in a boot of ours: also where it could not be armed for that, or was before."""
        self.machine.hang_seconds = DUMP_SECONDS if session.has_crash_kernel() else WATCHDOG_SECONDS
        if self.boots is not None and self.boots.watchdog and self.boots.booted == session.facts.boot_id:
            session.guard(watchdog_modules(payload.module.kernel, self.boots.watchdog))

    def unread(self, facts: Facts) -> bool:
        """Whether this boot was made for us, and nobody has told yet what its kernel said since."""
        return self.boots is not None and self.boots.unread == facts.boot_id

    def left(self, session: SshSession, late: Late = nobody) -> None:
        """What the next session must know of this one, which has ended; what its kernel did then, ``late`` is told."""
        if session.late is not None:
            late(session.heard.last, session.late, True)
        if session.was_lost or session.heard.complained:
            self.spoiled = session.facts.boot_id
        if session.heard.quiet_since is not None and not session.was_lost:
            tell = partial(late, session.heard.last)
            self.aftermath.begin(session.facts, session.heard.quiet_since, session.folder, tell)
        if self.boots is not None:
            self.boots.cycled = False
            self.boots.unread = "" if session.loaded else self.boots.unread

    def look(self) -> None:
        """What the kernel did behind the last test so far, for who decides now what is asked again. A machine that does
        not answer is the next session's trouble."""
        if self.aftermath.waits and not self.machine.ended:
            with suppress(HarnessError):
                facts = self.machine.ask() if self.boots is None else self.boots.wake()
                if self._look(facts):
                    self.spoiled = facts.boot_id

    def close(self) -> None:
        """The run is over."""
        if self.boots is not None and not self.leaves:
            self._home(self.boots)
        with suppress(HarnessError):
            if self.aftermath.waits:
                self._look(self.machine.ask())
        with suppress(HarnessError):
            self.upkeep.last()
        self.evidence.close()
        self.machine.end()

    def _look(self, now: Facts) -> bool:
        """Whether something happened behind the last test."""
        cycled = self.boots is not None and self.boots.cycled
        if self.boots is not None:
            self.boots.cycled = False
        return self.aftermath.look(now, cycled)

    def _home(self, boots: Boots) -> None:
        """Out of the kernel under test, also when no session was needed since an earlier run had all answers."""
        self.machine.ended = False
        if not boots.booted:
            with suppress(HarnessError):
                boots.adopt(self.machine.ask())
        try:
            if boots.booted:
                with suppress(HarnessError):
                    self._look(boots.wake())
                boots.home()
        except HarnessError as error:
            with suppress(HarnessError):  # our disk may be full
                self.machine.note(f"{self.machine.name} was left in a kernel under test: {error.message}")


class SshGuests:
    """The sessions of one driver on ``lab``."""

    def __init__(self, lab: SshLab, payload: Payload) -> None:
        if payload.variant.address_mode is AddressMode.CARVEOUT:
            raise UsageError(
                "carveout needs memory that the kernel was booted without", hint="on --target ssh use sva or force-iova"
            )
        self.lab = lab
        self.payload = payload
        self.late: Late = nobody
        self._live: list[SshSession] = []

    fresh = False

    def has(self, start: Start) -> bool:
        return start is Start.COLD

    @contextmanager
    def open(self, folder: Path, start: Start) -> Iterator[SshSession]:
        """A session whose agent waits. Errors as of :meth:`SshLab.ready`."""
        folder.mkdir(parents=True, exist_ok=True)
        facts = self.lab.ready(self.payload, folder)
        lab = self.lab
        session = SshSession(lab.machine, facts, self.payload, lab.evidence, folder, lab.unread(facts))
        self._live.append(session)
        try:
            session.hello()
            lab.guard(session, self.payload)
            yield session
        finally:
            self._live.remove(session)
            session.close(keep_driver=lab.leaves)
            lab.left(session, self.late)

    def end(self) -> None:
        """End the session that runs, or its boot, from any thread."""
        for session in list(self._live):
            session.end()
        self.lab.machine.end()

    def make_kernel(self, folder: Path) -> None:
        raise InfraError(f"{self.lab.machine.name} cannot be saved")

    def save_driver(self, session: object) -> None:
        raise InfraError(f"{self.lab.machine.name} cannot be saved")

    def discard(self, start: Start) -> None:
        """There is nothing to throw away."""
