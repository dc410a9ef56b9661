# SPDX-License-Identifier: GPL-2.0-only
"""A guest of a kernel that comes up while a driver is still being built for it: make leaves one core idle."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from harness.errors import HarnessError
from harness.host.machine import Boot
from harness.log import detail
from harness.model.session import SessionLost
from harness.saved_guest import SavedGuest
from harness.targets.emulated import EmulatedSession

LOAD_SECONDS = 300.0
"""A debug kernel takes its time; who waits for the guest waits for no longer than this."""


class Standby:
    """Restores the guest at once, into ``folder``, and loads ``helpers``, the kernel's modules that its driver needs:
    whoever opens a guest there takes this one, once. A thread of its own holds it, since a guest ends with the thread
    that started it."""

    def __init__(self, saved: SavedGuest, folder: Path, helpers: Sequence[Path]) -> None:
        self.saved = saved
        self.folder = folder
        self._helpers = helpers
        self._live: list[Boot] = []
        self._over = threading.Event()
        self._coming: Future[EmulatedSession] = Future()
        self._holder = threading.Thread(target=self._hold, name="standby", daemon=True)
        self._holder.start()

    def _hold(self) -> None:
        try:
            with self.saved.open(self.folder, self._live) as session:
                session.load_helpers(self._helpers, LOAD_SECONDS)
                self._coming.set_result(session)
                self._over.wait()  # until somebody ends it, at the latest with the run
        except BaseException as error:
            if not self._coming.done():
                self._coming.set_exception(error)

    @contextmanager
    def guest(self) -> Iterator[EmulatedSession | None]:
        """The guest, which ends with the context. None when there is none (any more): the next that is restored shows
        why."""
        session = self._take()
        if session is not None:
            detail(f"{self.folder}: takes the guest that stood by")
        try:
            yield session
        finally:
            self.close()

    def _take(self) -> EmulatedSession | None:
        if self._over.is_set():
            return None
        try:
            session = self._coming.result()
        except (HarnessError, SessionLost):
            return None
        return session if session.alive() else None

    def close(self) -> None:
        """End the guest, and wait for that."""
        self.end()
        self._holder.join()

    def end(self) -> None:
        """End the guest, from any thread."""
        self._over.set()
        for boot in list(self._live):
            boot.kill()
