# SPDX-License-Identifier: GPL-2.0-only
"""Opens sessions on one machine, one at a time: in the kernel that a lane wants, which is booted where it does not run
yet. There is nothing to restore."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import HarnessError, InfraError, UsageError
from harness.formats.machine_facts import Facts, unfit, unusable
from harness.host.leases import LeaseLost
from harness.host.payload import Payload
from harness.model.result import KERNEL_LOG
from harness.model.session import Lost, Start
from harness.model.variant import AddressMode
from harness.targets.ssh.aftermath import Aftermath, Late, nobody, whose
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
        self.upkeep = Upkeep(machine, gives_back=boots is None)
        self.aftermath = Aftermath(machine, evidence)
        self.spoiled = ""
        """The boot in which a session was lost, or whose kernel complained as it came up: it is not asked again."""

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

        def tell(lost: Lost, died: bool) -> None:
            place = session.heard.last
            late({**place, "id": KERNEL_LOG} if session.unloading else whose(place, lost.console), lost, died)

        if session.loaded:
            self.upkeep.ours = "" if session.unloaded else session.facts.boot_id
        if session.late is not None:
            tell(session.late, True)
        if session.was_lost or session.heard.complained:
            self.spoiled = session.facts.boot_id
        if session.heard.quiet_since is not None and not session.was_lost:
            self.aftermath.begin(session.facts, session.heard.quiet_since, session.folder, tell)
        if self.boots is not None:
            self.boots.cycled = False
            self.boots.unread = "" if session.loaded else self.boots.unread

    def look(self) -> None:
        """What the kernel did behind the last test so far, for who decides now what is asked again. A machine that does
        not answer is the next session's trouble."""
        if self.aftermath.waits and not self.machine.ended:
            with suppress(HarnessError):
                facts = self._awake()
                if self._look(facts, last=False):
                    self.spoiled = facts.boot_id

    def close(self) -> None:
        """The run is over."""
        self.machine.ended = False
        if self.boots is not None and not self.boots.rules.leave:
            self._home(self.boots)
        self._last_look(self._awake)
        with suppress(HarnessError):
            self.upkeep.last()
        self.evidence.close()
        self.machine.end()

    def _last_look(self, ask: Callable[[], Facts]) -> None:
        """From here on it goes down since we say so."""
        if not self.aftermath.waits:
            return
        try:
            self._look(ask())
        except HarnessError as error:
            self.aftermath.forget()
            with suppress(HarnessError):
                self.machine.note(f"{error.message}: nobody knows what its kernel did behind the last test")

    def _awake(self) -> Facts:
        """What the machine says, which may have gone down by itself and be on its way. InfraError: it stays away."""
        if self.boots is not None:
            return self.boots.wake()
        try:
            return self.machine.ask()
        except LeaseLost:
            raise
        except InfraError:
            facts = self.machine.back()
        if facts is None:
            raise self.machine.trouble or InfraError(f"{self.machine.name} did not come back")
        return facts

    def _look(self, now: Facts, last: bool = True) -> bool:
        """Whether something happened behind the last test."""
        cycled = self.boots is not None and self.boots.cycled
        if self.boots is not None:
            self.boots.cycled = False
        return self.aftermath.look(now, cycled, last)

    def _home(self, boots: Boots) -> None:
        """Out of the kernel under test, also when no session was needed since an earlier run had all answers."""
        with suppress(HarnessError):
            boots.settle()
        if not boots.booted:
            with suppress(HarnessError):
                boots.adopt(self.machine.ask())
        try:
            if boots.booted:
                self._last_look(boots.wake)
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
            try:
                session.close()
            finally:
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
