# SPDX-License-Identifier: GPL-2.0-only
"""The guests of one driver on one variant: booted, or restored from one of two saved states.

    guests/<key>   KERNEL: booted up to a Python with pytest and the tests imported, no NPU. One per kernel,
                   QEMU, image, machine, agent and suite; the same for all address modes and NPUs, since the machine is.
    guests/<key>   DRIVER: a KERNEL restored with the NPU, driver loaded, its device suspended. One per module, NPU,
                   address mode.

A state that is damaged or does not run is thrown away; who asked makes it again, or starts from further below.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

from harness.host.machine import Boot
from harness.host.payload import Payload
from harness.host.snapshot import StateDamaged
from harness.host.store import Store, key_of
from harness.host.vm import Machine
from harness.model.session import Start
from harness.saved_guest import SavedGuest, hash_of, kernel_key
from harness.standby import Standby
from harness.targets.emulated import EmulatedSession, boot_guest

ADD_SECONDS = 60.0


class Guests:
    """Opens sessions, and makes what they start from. ``npu`` is a hash of the emulated NPU's code, ``factor`` how much
    longer this kernel takes. ``standby``: a guest that came up for us meanwhile."""

    def __init__(
        self,
        store: Store,
        machine: Machine,
        payload: Payload,
        npu: str,
        hello_seconds: float,
        factor: float,
        standby: Standby | None = None,
    ) -> None:
        self.store = store
        self.machine = machine
        self.payload = payload
        self.hello_seconds = hello_seconds
        self.factor = factor
        self.standby = standby
        kernel = kernel_key(machine, payload.common())
        driver = key_of(kernel=kernel, driver=hash_of(payload.driver()), npu=npu)
        self.saved = {
            start: SavedGuest(store, key, machine) for start, key in ((Start.KERNEL, kernel), (Start.DRIVER, driver))
        }
        if standby is not None and standby.saved.key == kernel:
            self.saved[Start.KERNEL] = standby.saved  # proved once, and no two draw the same random numbers
        self._live: list[Boot] = []

    fresh = True

    def has(self, start: Start) -> bool:
        """Whether a guest can start from there at once."""
        return start is Start.COLD or self.saved[start].exists()

    def open(self, folder: Path, start: Start) -> AbstractContextManager[EmulatedSession]:
        """A session in a guest of its own. SessionLost: the kernel does not come up. StateDamaged: the saved state is
        gone now. InfraError: QEMU or the NPU."""
        if start is Start.COLD:
            return boot_guest(self.machine, self.payload, folder, self.hello_seconds, self._live)
        return self._restored(folder, start)

    def end(self) -> None:
        """End every guest that runs, from any thread."""
        if self.standby is not None:
            self.standby.end()
        for boot in list(self._live):
            boot.kill()

    @contextmanager
    def _restored(self, folder: Path, start: Start) -> Iterator[EmulatedSession]:
        try:
            with self._awake(folder, start) as session:
                session.carry(self.payload)
                if start is Start.KERNEL:
                    session.add_driver(ADD_SECONDS * self.factor)
                yield session
        except StateDamaged:
            self.discard(start)
            raise

    @contextmanager
    def _awake(self, folder: Path, start: Start) -> Iterator[EmulatedSession]:
        """The guest that stands by for this folder, if there is one; else one that is restored now."""
        if start is Start.KERNEL and self.standby is not None and self.standby.folder == folder:
            with self.standby.guest() as session:
                if session is not None:
                    yield session
                    return
        with self.saved[start].open(folder, self._live) as session:
            yield session

    def make_kernel(self, folder: Path) -> None:
        """Boot the kernel without an NPU, and save it. Raises SessionLost when it does not come up, InfraError when it
        cannot be saved."""

        def make(entry: Path) -> None:
            machine = replace(self.machine, plugged=False)
            with boot_guest(machine, self.payload, folder, self.hello_seconds, self._live) as session:
                session.agent.command("warm", ADD_SECONDS * self.factor)
                session.save(entry)

        self.saved[Start.KERNEL].make(make)

    def save_driver(self, session: EmulatedSession) -> None:
        """Save a session whose driver is loaded and suspended, and end it. InfraError when it cannot be saved."""
        self.saved[Start.DRIVER].make(session.save)

    def discard(self, start: Start) -> None:
        """Throw a saved state away."""
        self.saved[start].discard()
