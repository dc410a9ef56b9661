# SPDX-License-Identifier: GPL-2.0-only
"""What guests of this machine run on: QEMU, accelerator, image; found once, before the first boot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from harness.guests import Guests
from harness.host import scratch
from harness.host.accel import Accelerator, measure
from harness.host.data import data_folder
from harness.host.image import guest_image
from harness.host.initrd import ivrs_initrd
from harness.host.memory import free_megabytes
from harness.host.payload import Payload, common
from harness.host.pci import full_address
from harness.host.qemu import Qemu, find_qemu
from harness.host.store import Store, hash_tree, key_of
from harness.host.vm import MEMORY_MB, Machine, Sockets
from harness.job import Job
from harness.model.kernel import Kernel, Module
from harness.model.variant import Variant
from harness.saved_guest import SavedGuest, kernel_key
from harness.standby import Standby
from harness.starts import SLOWER
from harness.targets.passthrough import PassthroughGuests

SLOWER_TO_BOOT = 3.0
"""How much longer a kernel as shipped may take to boot: 20 s were seen, against 4 s of one that is built for this."""


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
        scratch.sweep()
        emulator = find_qemu(store)
        return cls(emulator, measure(emulator, store), guest_image(store), ivrs_initrd(store))

    def machine(self, kernel: Kernel, variant: Variant) -> Machine:
        """The machine that boots this kernel."""
        return Machine(
            qemu=self.qemu.argv,
            accel=self.accelerator.argv,
            image=kernel.image,
            initrd=kernel.initrd or self.initrd,
            root=self.root,
            variant=variant,
            sockets=Sockets(Path("/SOCKETS")),
            qemu_key=self.qemu.key,
        )

    def payload(self, module: Module, variant: Variant) -> Payload:
        """What travels to the guest."""
        return Payload(module, data_folder("harness"), data_folder("tests/target"), variant)

    def standby(self, kernel: Kernel, variant: Variant, folder: Path, store: Store) -> Standby | None:
        """A guest of a kernel that comes up in ``folder`` while its driver is made; None where no such guest was saved,
        or a further one has no room."""
        machine = self.machine(kernel, variant)
        saved = SavedGuest(
            store, kernel_key(machine, common(data_folder("harness"), data_folder("tests/target"))), machine
        )
        roomy = free_megabytes() > 2 * MEMORY_MB[variant.profile]
        return Standby(saved, folder, kernel.modules[:-1]) if roomy and saved.exists() else None

    def guests(
        self, module: Module, variant: Variant, hello_seconds: float, store: Store, standby: Standby | None = None
    ) -> Guests:
        """The guests of a driver; a plain kernel must say hello within ``hello_seconds``."""
        factor = SLOWER[module.kernel.profile]
        hello_seconds *= SLOWER_TO_BOOT if module.kernel.initrd else 1.0
        machine = self.machine(module.kernel, variant)
        payload = self.payload(module, variant)
        return Guests(store, machine, payload, npu_code(), hello_seconds * factor, factor, standby)

    def lending(
        self, module: Module, job: Job, run: str, check: Callable[[], None], note: Callable[[str], None]
    ) -> PassthroughGuests:
        """The guests of a driver on this host's NPU. ``note`` goes into the report."""
        machine = replace(self.machine(module.kernel, job.variant), lent=full_address(job.lent))
        seconds = job.boot_seconds * SLOWER[module.kernel.profile]
        return PassthroughGuests(machine, self.payload(module, job.variant), run, seconds, check, note)


def npu_code() -> str:
    """A hash of the emulated NPU."""
    return key_of(**{leaf: hash_tree(data_folder("harness") / leaf, "*.py") for leaf in ("npu", "vfio_user")})
