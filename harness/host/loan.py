# SPDX-License-Identifier: GPL-2.0-only
"""Lend a PCI device of this host to vfio-pci, and give it back to its driver, whatever becomes of us in between.

A journal in the state folder says what was so before, and stands from before the first change to after the last one:
who finds one whose writer is gone gives the device back ('xdna-harness doctor --repair'). Every step is decided by what
the device's files say, so it can be done again from anywhere.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import InfraError
from harness.host import proc
from harness.host.holder import is_gone, this_process
from harness.host.pci import Pci
from harness.host.state import state_folder
from harness.log import say, warn
from harness.model.lease import Holder
from harness.model.passthrough import VFIO, Function

BIND_SECONDS = 30.0
"""How long a driver may take to bind or to let go: amdxdna waits 5 s for firmware, twice."""
MODPROBE_SECONDS = 60.0
REPAIR = "'xdna-harness doctor --repair'"


@dataclass(frozen=True)
class Loan:
    """What was so before. ``driver``: empty without one, ``override``: what driver_override held."""

    address: str
    driver: str
    override: str
    holder: Holder

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, text: str) -> Loan:
        """Raises ValueError, KeyError and TypeError when it is none."""
        data = json.loads(text)
        return cls(data["address"], data["driver"], data["override"], Holder(**data["holder"]))


class Loans:
    """The loans of this user's state folder."""

    def __init__(self, pci: Pci | None = None, folder: Path | None = None) -> None:
        self.pci = pci or Pci()
        self.folder = folder or state_folder() / "passthrough"

    @contextmanager
    def lent(
        self, address: str, run: str, check: Callable[[], None] = lambda: None, tell: Callable[[str], None] = warn
    ) -> Iterator[None]:
        """The device is vfio-pci's meanwhile. ``check`` raises when it is not ours to touch. InfraError: it does not
        bind. That it does not go back is told, and changes nothing of what happened meanwhile."""
        check()
        self.lend(address, run)
        try:
            yield
        finally:
            try:
                self.give_back(self._read(address))
            except InfraError as error:
                tell(f"{address} was not given back ({error.message}): once this has ended, {REPAIR}")

    def lend(self, address: str, run: str) -> None:
        """Write the journal, then bind to vfio-pci. What an earlier process left is put right first. InfraError."""
        if self.path(address).exists():
            old = self._read(address)
            if not (_left(old) or _ours(old)):
                raise InfraError(f"{address} is lent to {old.holder}", hint="wait for its end, or end it")
            say(f"{address} was left with vfio-pci by {old.holder}: giving it back first")
            self.give_back(old)
        before = (self.pci.folder(address) / "driver_override").read_text().strip()
        loan = Loan(address, self.pci.driver(address), "" if before == "(null)" else before, this_process(run))
        self._write(loan)
        with suppress(InfraError):  # it may be built in; what is missing shows when it does not bind
            words = ["modprobe", "-d", str(self.pci.root), VFIO]
            proc.run(words, what=f"modprobe {VFIO}", timeout=MODPROBE_SECONDS, check=False)
        try:
            self._rebind(address, VFIO, VFIO)
        except BaseException:
            with suppress(InfraError):  # the journal stays
                self.give_back(loan)
            raise

    def give_back(self, loan: Loan) -> None:
        """Bind it to the driver of before, or to none; the journal goes last. InfraError: it does not bind."""
        if self.pci.function(loan.address) is not None:
            self._rebind(loan.address, loan.driver, loan.override)
        self.path(loan.address).unlink(missing_ok=True)

    def _rebind(self, address: str, driver: str, override: str) -> None:
        """Make ``driver`` have it, and leave ``override`` in driver_override."""
        folder = self.pci.folder(address)
        there = self.pci.driver(address)
        if there != driver:
            _put(folder / "driver_override", driver or override or "\n")
            if there:
                _put(folder / "driver" / "unbind", address)
                self._wait(address, "", f"{there} does not let go of {address}")
            if driver:
                with suppress(InfraError):  # what it came to shows in the link
                    _put(self.pci.root / "sys/bus/pci/drivers_probe", address)
                self._wait(address, driver, f"{driver} does not take {address}")
        _put(folder / "driver_override", override or "\n")

    def _wait(self, address: str, driver: str, what: str) -> None:
        deadline = time.monotonic() + BIND_SECONDS
        while (now := self.pci.driver(address)) != driver:
            if time.monotonic() > deadline:
                hint = f"see dmesg; 'modprobe {driver}' if it is not loaded; then {REPAIR}"
                raise InfraError(f"{what} within {BIND_SECONDS:.0f} s ({now or 'no driver'} has it)", hint=hint)
            time.sleep(0.05)

    def left(self) -> list[Loan]:
        """The loans whose process is gone: nobody else will give these back."""
        loans = [self._read(path.stem) for path in sorted(self.folder.glob("*.json"))]
        return [loan for loan in loans if _left(loan)]

    def strays(self) -> list[Function]:
        """The NPUs that vfio-pci has and none of these loans knows: another user's, or lent by hand."""
        return [npu for npu in self.pci.npus() if npu.driver == VFIO and not self.path(npu.address).exists()]

    def path(self, address: str) -> Path:
        return self.folder / f"{address}.json"

    def _read(self, address: str) -> Loan:
        try:
            return Loan.read(self.path(address).read_text())
        except (OSError, ValueError, KeyError, TypeError) as error:
            hint = "bind the device by hand (driver_override, drivers_probe), then delete the file"
            raise InfraError(f"cannot read {self.path(address)}: {error}", hint=hint) from error

    def _write(self, loan: Loan) -> None:
        """Whole and on the disk, or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.path(loan.address).with_suffix(".part")
        with part.open("w") as stream:
            stream.write(loan.text())
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(self.path(loan.address))
        folder = os.open(self.folder, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)


def _left(loan: Loan) -> bool:
    """Its process is gone. A loan does not outlive the kernel, whoever made it."""
    same_boot = loan.holder.place.split()[:1] == this_process("").place.split()[:1]
    return is_gone(loan.holder) or not same_boot


def _ours(loan: Loan) -> bool:
    """This process made it, and could not give it back: one has a device once."""
    return this_process(loan.holder.run) == loan.holder


def _put(path: Path, text: str) -> None:
    """By a process of its own, since the kernel may keep the writer waiting: vfio-pci lets go of a device only when
    nobody has it open."""
    what = f"writing {text.strip()!r} to {path}"
    proc.run(["tee", str(path)], what=what, timeout=BIND_SECONDS, stdin=text.encode())
