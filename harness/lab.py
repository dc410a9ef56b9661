# SPDX-License-Identifier: GPL-2.0-only
"""What guests of this machine run on: QEMU, accelerator, image; found once, before the first boot."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from harness.host.accel import Accelerator, measure
from harness.host.data import data_folder
from harness.host.image import guest_image
from harness.host.initrd import ivrs_initrd
from harness.host.payload import pack
from harness.host.qemu import Qemu, find_qemu
from harness.host.store import Store
from harness.host.vm import Machine, Sockets
from harness.lane import SLOWER, DriverSession
from harness.model.kernel import Kernel
from harness.model.variant import Variant
from harness.targets.emulated import Guest, open_session


@dataclass(frozen=True)
class Lab:
    """Everything but the kernel."""

    qemu: Qemu
    accelerator: Accelerator
    root: Path
    initrd: Path

    @classmethod
    def prepare(cls, store: Store) -> Lab:
        """Fetch and make what is not there yet, and measure the accelerators."""
        emulator = find_qemu(store)
        return cls(emulator, measure(emulator, store), guest_image(store), ivrs_initrd(store))

    def machine(self, kernel: Kernel, variant: Variant) -> Machine:
        """The machine that boots this kernel."""
        return Machine(
            qemu=self.qemu.argv,
            accel=self.accelerator.argv,
            image=kernel.image,
            initrd=self.initrd,
            root=self.root,
            variant=variant,
            sockets=Sockets(Path("/SOCKETS")),
        )

    def opener(self, kernel: Kernel, variant: Variant, hello_seconds: float) -> Opener:
        """What opens sessions on that machine; a plain kernel must say hello within ``hello_seconds``."""
        seconds = hello_seconds * SLOWER[kernel.profile]
        guest = Guest(data_folder("harness"), data_folder("tests/target"), seconds)
        return Opener(self.machine(kernel, variant), kernel, guest)


@dataclass(frozen=True)
class Opener:
    """Opens a session in a fresh guest at each call."""

    machine: Machine
    kernel: Kernel
    guest: Guest

    def __call__(self, folder: Path) -> AbstractContextManager[DriverSession]:
        return open_session(self.machine, self.kernel, self.guest, folder)

    def payload(self) -> bytes:
        """What travels to the guest."""
        return pack(self.kernel, self.guest.package, self.guest.suite, self.machine.variant)
