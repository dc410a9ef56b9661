# SPDX-License-Identifier: GPL-2.0-only
"""One guest that was saved: restored as often as one likes, each time proved to be what was saved."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from harness.host import snapshot
from harness.host.machine import Boot
from harness.host.snapshot import StateDamaged
from harness.host.store import Store, key_of
from harness.host.vm import Machine
from harness.targets.emulated import EmulatedSession, restore_guest

MOST_BYTES = 8 << 30
"""What saved guests may take on disk: 90 MB each, on a debug kernel 500 MB."""


def kernel_key(machine: Machine, common: bytes) -> str:
    """What a booted kernel depends on that has no driver yet: ``machine``, but for its NPU, and the tar of agent and
    tests."""
    return key_of(recipe=snapshot.RECIPE, line=machine.saved_line(), common=hash_of(common))


def hash_of(tar: bytes) -> str:
    """What the content of a tar is called in a key."""
    return hashlib.sha256(tar).hexdigest()


class SavedGuest:
    """The entry ``key`` of guests/ in the store, whether it is there or not, for this machine."""

    def __init__(self, store: Store, key: str, machine: Machine) -> None:
        self.key = key
        self.machine = machine
        self.path = store.path("guests", key)
        self._store = store
        self._whole = False
        self._drawn: set[str] = set()

    def exists(self) -> bool:
        return self._store.has("guests", self.key)

    def make(self, fill: Callable[[Path], None]) -> None:
        """Save it, unless somebody has; ``fill`` is given the folder. Its errors are passed on."""
        self._store.get("guests", self.key, fill)
        self._store.trim("guests", MOST_BYTES)

    def discard(self) -> None:
        """Throw it away."""
        self._whole = False
        self._store.discard("guests", self.key)

    @contextmanager
    def open(self, folder: Path, live: list[Boot]) -> Iterator[EmulatedSession]:
        """The guest, restored and awake, in a process of its own that writes into ``folder`` and is listed in ``live``
        while it runs. StateDamaged: it is not what was saved, or does not run. InfraError: QEMU or the NPU."""
        whole = self._check()
        with suppress(FileNotFoundError):  # another run threw it away: that shows when it is read
            os.utime(self.path)  # what is used stays
        with ExitStack() as stack:
            try:
                session = stack.enter_context(restore_guest(self.machine, folder, self.path, live))
            finally:
                whole()  # a state that is damaged explains whatever happened
            self._whole = True
            self._fresh(session.thaw())
            yield session

    def _check(self) -> Callable[[], None]:
        """Begin to read the saved state through, once for each of us; what is returned waits for the end of that.
        Beside the guest's start, since on a debug kernel it takes as long."""
        if self._whole:
            return lambda: None
        beside = ThreadPoolExecutor(1)
        checked = beside.submit(snapshot.check, self.path)
        beside.shutdown(wait=False)
        return checked.result

    def _fresh(self, drawn: tuple[str, ...]) -> None:
        """Two guests that draw the same random numbers were not woken."""
        if self._drawn & set(drawn):
            raise StateDamaged("two restored guests drew the same random numbers")
        self._drawn |= set(drawn)
