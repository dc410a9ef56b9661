# SPDX-License-Identifier: GPL-2.0-only
"""The guests of one driver on one variant: booted, or restored from one of two saved states.

    guests/<key>   KERNEL: booted up to a Python with pytest and the tests imported, no NPU. One per kernel,
                   QEMU, image, machine, agent and suite; the same for all address modes and NPUs, since the machine is.
    guests/<key>   DRIVER: a KERNEL restored with the NPU, driver loaded, its device suspended. One per module, NPU,
                   address mode.

A state that is damaged or does not run is thrown away; who asked makes it again, or starts from further below.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from harness.host import snapshot
from harness.host.machine import Boot
from harness.host.payload import Payload
from harness.host.snapshot import StateDamaged
from harness.host.store import Store, key_of
from harness.host.vm import Machine
from harness.model.session import Start
from harness.targets.emulated import EmulatedSession, boot_guest, restore_guest

ADD_SECONDS = 60.0
MOST_BYTES = 8 << 30
"""What saved guests may take on disk: 90 MB each, on a debug kernel 500 MB."""


class Guests:
    """Opens sessions, and makes what they start from. ``npu`` is a hash of the emulated NPU's code, ``factor`` how much
    longer this kernel takes."""

    def __init__(
        self, store: Store, machine: Machine, payload: Payload, npu: str, hello_seconds: float, factor: float
    ) -> None:
        self.store = store
        self.machine = machine
        self.payload = payload
        self.hello_seconds = hello_seconds
        self.factor = factor
        kernel = key_of(recipe=snapshot.RECIPE, line=machine.saved_line(), common=_hash(payload.common()))
        driver = key_of(kernel=kernel, driver=_hash(payload.driver()), npu=npu)
        self._keys = {Start.KERNEL: kernel, Start.DRIVER: driver}
        self._live: list[Boot] = []
        self._whole: set[Start] = set()
        self._drawn: set[str] = set()

    fresh = True

    def has(self, start: Start) -> bool:
        """Whether a guest can start from there at once."""
        return start is Start.COLD or self.store.has("guests", self._keys[start])

    def open(self, folder: Path, start: Start) -> AbstractContextManager[EmulatedSession]:
        """A session in a guest of its own. SessionLost: the kernel does not come up. StateDamaged: the saved state is
        gone now. InfraError: QEMU or the NPU."""
        if start is Start.COLD:
            return boot_guest(self.machine, self.payload, folder, self.hello_seconds, self._live)
        return self._restored(folder, start)

    def end(self) -> None:
        """End every guest that runs, from any thread."""
        for boot in list(self._live):
            boot.kill()

    @contextmanager
    def _restored(self, folder: Path, start: Start) -> Iterator[EmulatedSession]:
        state = self.store.path("guests", self._keys[start])
        try:
            whole = self._check(state, start)
            with suppress(FileNotFoundError):  # another run threw it away: that shows when it is read
                os.utime(state)  # what is used stays
            with ExitStack() as stack:
                try:
                    guest = restore_guest(self.machine, self.payload, folder, state, self._live)
                    session = stack.enter_context(guest)
                finally:
                    whole()  # a state that is damaged explains whatever happened
                self._whole.add(start)
                self._fresh(session.thaw())
                if start is Start.KERNEL:
                    session.add_driver(ADD_SECONDS * self.factor)
                yield session
        except StateDamaged:
            self.discard(start)
            raise

    def _check(self, state: Path, start: Start) -> Callable[[], None]:
        """Begin to read the saved state through, once for each of us; what is returned waits for the end of that.
        Beside the guest's start, since on a debug kernel it takes as long."""
        if start in self._whole:
            return lambda: None
        beside = ThreadPoolExecutor(1)
        checked = beside.submit(snapshot.check, state)
        beside.shutdown(wait=False)
        return checked.result

    def _fresh(self, drawn: tuple[str, ...]) -> None:
        """Two guests that draw the same random numbers were not woken."""
        if self._drawn & set(drawn):
            raise StateDamaged("two restored guests drew the same random numbers")
        self._drawn |= set(drawn)

    def make_kernel(self, folder: Path) -> None:
        """Boot the kernel without an NPU, and save it. Raises SessionLost when it does not come up, InfraError when it
        cannot be saved."""

        def make(entry: Path) -> None:
            machine = replace(self.machine, plugged=False)
            with boot_guest(machine, self.payload, folder, self.hello_seconds, self._live) as session:
                session.agent.command("warm", ADD_SECONDS * self.factor)
                session.save(entry)

        self.store.get("guests", self._keys[Start.KERNEL], make)
        self.store.trim("guests", MOST_BYTES)

    def save_driver(self, session: EmulatedSession) -> None:
        """Save a session whose driver is loaded and suspended, and end it. InfraError when it cannot be saved."""
        self.store.get("guests", self._keys[Start.DRIVER], session.save)
        self.store.trim("guests", MOST_BYTES)

    def discard(self, start: Start) -> None:
        """Throw a saved state away."""
        self._whole.discard(start)
        self.store.discard("guests", self._keys[start])


def _hash(tar: bytes) -> str:
    return key_of(tar=tar.hex())
