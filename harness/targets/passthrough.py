# SPDX-License-Identifier: GPL-2.0-only
"""This host's own NPU, given to a QEMU guest by vfio-pci. Driver in, Session out.

The guest is the emulated target's without an NPU process; the host's IOMMU translates, and the driver works from its
carveout. Nothing is restored: the device's state is in no saved guest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.errors import InfraError, UsageError
from harness.host.agent import Event
from harness.host.firmware import npu_firmware
from harness.host.loan import Loans
from harness.host.machine import Boot
from harness.host.payload import Payload
from harness.host.pci import Pci
from harness.host.vm import MEMORY_MB, Machine
from harness.log import warn
from harness.model.passthrough import lacks
from harness.model.session import Start
from harness.model.variant import Variant
from harness.targets.emulated import EmulatedSession


class PassthroughSession(EmulatedSession):
    """A guest with a real NPU, which answers nobody but its driver."""

    def announce_device_table(self) -> None:
        """The device asks the IOMMU itself."""

    def answer(self, question: Event) -> dict[str, Any]:
        return {"error": f"a real NPU does not answer {question.get('what')!r}"}

    def outside(self, event: Event) -> Mapping[str, int]:
        return {}

    def faults(self, event: Event) -> list[Mapping[str, Any]]:
        return []

    def capabilities(self) -> frozenset[str]:
        return frozenset({"root"})


class PassthroughGuests:
    """Opens sessions, one at a time, while the device is vfio-pci's. ``check`` raises when the device is not ours.
    ``note`` goes into the report."""

    fresh = True

    def __init__(
        self,
        machine: Machine,
        payload: Payload,
        run: str,
        hello_seconds: float,
        check: Callable[[], None],
        note: Callable[[str], None] = warn,
    ) -> None:
        self.machine = machine
        self.payload = replace(payload, firmware=npu_firmware())
        self.run = run
        self.hello_seconds = hello_seconds
        self._check = check
        self._note = note
        self._loans = Loans()
        self._live: list[Boot] = []

    def has(self, start: Start) -> bool:
        return start is Start.COLD

    @contextmanager
    def open(self, folder: Path, start: Start) -> Iterator[PassthroughSession]:
        """A guest whose agent waits. SessionLost: its kernel does not come up. InfraError: all that is in the way of
        lending the device now, in the middle of a run; or it does not bind."""
        address = self.machine.lent
        try:
            refuse(address, self.machine.variant, self._loans.pci)
        except UsageError as error:
            raise InfraError(error.message, hint=error.hint) from error
        with self._loans.lent(address, self.run, self._check, self._note):
            boot = Boot(self.machine, folder)
            self._live.append(boot)
            try:
                with boot:
                    session = PassthroughSession(boot)
                    session.carry(self.payload)
                    session.hello(self.hello_seconds, self.payload.whole())
                    yield session
            finally:
                self._live.remove(boot)

    def end(self) -> None:
        """End the guest that runs, from any thread."""
        for boot in list(self._live):
            boot.kill()

    def make_kernel(self, folder: Path) -> None:
        raise InfraError("a guest with a real NPU cannot be saved")

    def save_driver(self, session: object) -> None:
        raise InfraError("a guest with a real NPU cannot be saved")

    def discard(self, start: Start) -> None:
        """There is nothing to throw away."""


def refuse(address: str, variant: Variant, pci: Pci | None = None) -> None:
    """UsageError: it is of another generation than the suite will ask, which would then blame the driver; or all that
    is in the way of lending it to a guest with this kernel, one a line."""
    now = (pci or Pci()).situation(address)
    if now.function is not None and now.function.npu not in ("", variant.npu):
        npu = now.function.npu
        raise UsageError(f"{address} is an {npu}, not an {variant.npu}", hint=f"say so with --npu {npu}")
    found = lacks(now, MEMORY_MB[variant.profile] << 20)
    if found:
        more = "".join(f"\n- {lack}" for lack in found)
        raise UsageError(f"{address} cannot be given to a guest:{more}", hint="mend that, and run it again")
