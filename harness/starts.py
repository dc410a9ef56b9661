# SPDX-License-Identifier: GPL-2.0-only
"""How the guests of a lane get to a loaded driver: booted or restored, and both proved to be what was built.

A start that does not work gives way to the one below it. What the kernel is to blame for shows in a cold boot, too.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from harness.errors import InfraError
from harness.host.snapshot import StateDamaged
from harness.log import step
from harness.model.kernel import Module, Profile
from harness.model.session import Lost, Session, SessionLost, Start

RESTORE_TRIES = 2
"""A saved state that does not run is made anew once; then guests start from further below."""
SLOWER = {Profile.PLAIN: 1.0, Profile.DEBUG: 5.0}
"""How much longer everything takes on a debug kernel: about 9 times to boot, 2 to 6 in a test."""
DEVICE = "/dev/accel/accel0"
SETTLE_SECONDS = 15.0
"""How long an idle driver may take to suspend its device when it is told to do so at once."""
BOOT_DRIVER = "boot-driver"
"""Folder of the guest that is saved with the driver loaded."""
ORDER = tuple(Start)
BELOW = {Start.DRIVER: Start.KERNEL, Start.KERNEL: Start.COLD}


class DriverSession(Session, Protocol):
    """A session that can still load the driver. ``build_id`` is that of the driver that is loaded, else empty."""

    build_id: str

    def load_driver(self, timeout: float) -> str: ...

    def settle(self, seconds: float) -> bool: ...


class Opener(Protocol):
    """Opens sessions on a target; what they write goes to the given folder."""

    fresh: bool
    """Whether each session is a guest of its own, with every detector armed."""

    def open(self, folder: Path, start: Start) -> AbstractContextManager[Any]: ...

    def has(self, start: Start) -> bool: ...

    def make_kernel(self, folder: Path) -> None: ...

    def save_driver(self, session: Any) -> None: ...

    def discard(self, start: Start) -> None: ...

    def end(self) -> None: ...


class Stage(Protocol):
    """Takes down how a stage of a lane ended."""

    def __call__(self, name: str, outcome: str, evidence: str = "", seconds: float = 0.0) -> None: ...


class NotUp(Exception):
    """A guest did not get to its suite."""

    def __init__(self, stage: str, lost: Lost) -> None:
        super().__init__(lost.evidence)
        self.stage = stage
        self.lost = lost


class NotRestored(Exception):
    """A guest that was saved does not run; the saved state is gone now."""

    def __init__(self, start: Start, error: StateDamaged) -> None:
        super().__init__(error.message)
        self.start = start
        self.error = error


class Starts:
    """The guests of one lane. ``best``: from what they start at best; what is saved on the way goes into ``folder``."""

    def __init__(
        self, module: Module, folder: Path, guests: Opener, best: Start, stage: Stage, note: Callable[[str], None]
    ) -> None:
        self.module = module
        self.folder = folder
        self.guests = guests
        self.stage = stage
        self.note = note
        self.factor = SLOWER[module.kernel.profile]
        self._best = best
        self._failed: dict[Start, int] = {}
        self._lock = threading.RLock()

    def give_way(self, start: Start, error: InfraError) -> None:
        """A start that failed is tried again from a state made anew, then from further below. Never the kernel's fault:
        what it is to blame for shows in a cold boot too."""
        with self._lock:
            self._failed[start] = self._failed.get(start, 0) + 1
            if isinstance(error, StateDamaged) and self._failed[start] < RESTORE_TRIES:
                self.note(f"{self.module.kernel.release}: {error.message}: made anew")
                return
            self._best = min(self._best, BELOW[start], key=ORDER.index)
            self.note(f"{self.module.kernel.release}: {error.message}: guests start {self._best.value} from now on")

    def prepare(self, wanted: Start) -> Start:
        """Make what is missing for this start; what cannot be made gives way. Raises NotUp."""
        with self._lock:
            while (start := min(wanted, self._best, key=ORDER.index)) is not Start.COLD:
                try:
                    self._make_kernel()
                    if start is Start.DRIVER:
                        self._make_driver()
                    break
                except NotRestored as problem:
                    self.give_way(problem.start, problem.error)
                except InfraError as error:
                    self.give_way(start, error)
            return start

    def _make_kernel(self) -> None:
        if self.guests.has(Start.KERNEL):
            return
        with step(f"saving a booted {self.module.kernel.release}"):
            started = time.monotonic()
            try:
                self.guests.make_kernel(self.folder / "boot-kernel")
            except SessionLost as gone:
                raise NotUp("boot", gone.lost) from None
            self.stage("boot", "PASS", self.module.kernel.release, time.monotonic() - started)

    def _make_driver(self) -> None:
        if self.guests.has(Start.DRIVER):
            return
        with step("saving a guest with the driver loaded"):
            with self.session(self.folder / BOOT_DRIVER, Start.KERNEL) as session:
                try:
                    idle = session.settle(SETTLE_SECONDS * self.factor)
                except SessionLost as gone:
                    raise NotUp("probe", gone.lost) from None
                if not idle:
                    raise InfraError("the driver does not suspend its idle device, and cannot be saved")
                self.guests.save_driver(session)

    @contextmanager
    def session(self, folder: Path, start: Start) -> Iterator[Any]:
        """A session with the driver loaded, both proved. Raises NotUp and NotRestored."""
        stage = "boot"
        started = time.monotonic()
        try:
            with self.guests.open(folder, start) as session:
                self._prove(start, "the kernel", session.release, self.module.kernel.release)
                self.stage("boot", "PASS", session.release, time.monotonic() - started)
                stage = "probe"
                if start is not Start.DRIVER:
                    self._probe(session)
                if self.module.build_id:
                    self._prove(start, "the driver", session.build_id, self.module.build_id)
                self.stage("probe", "PASS", f"build-id {session.build_id}")
                stage = ""
                yield session
        except SessionLost as gone:
            if not stage:
                raise
            raise NotUp(stage, gone.lost) from None
        except StateDamaged as damaged:
            raise NotRestored(start, damaged) from damaged
        except InfraError as error:
            if not stage:
                raise
            raise NotUp(stage, Lost(True, " ".join(error.lines()), "")) from error

    def _prove(self, start: Start, what: str, found: str, built: str) -> None:
        """What runs is what was built: uname -r carries the kernel's key, the build-id names the driver."""
        if found == built:
            return
        message = f"{what} in the guest is {found!r}, not {built!r}"
        if start is Start.COLD:
            raise InfraError(message, hint="delete the cache with 'xdna-harness clean' and run again")
        self.guests.discard(start)
        raise StateDamaged(message)

    def _probe(self, session: DriverSession) -> None:
        """Load the driver; it must make its device node."""
        session.load_driver(60.0 * self.factor)
        status, _ = session.run(["test", "-e", DEVICE])
        if status != 0:
            _, messages = session.run(["dmesg"])
            tail = "\n".join(messages.splitlines()[-30:])
            raise SessionLost(Lost(False, f"the driver did not make {DEVICE}\n{tail}", session.console()))
