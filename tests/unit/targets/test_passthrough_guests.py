# SPDX-License-Identifier: GPL-2.0-only
"""What is in the way of a guest with this host's NPU, and who must act."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.errors import InfraError, UsageError
from harness.host.payload import Payload
from harness.host.pci import Pci
from harness.host.vm import Machine
from harness.model.kernel import Kernel, Module, Profile
from harness.model.passthrough import AMD, VFIO, Function, Situation
from harness.model.session import Start
from harness.model.variant import AddressMode, Variant
from harness.targets import passthrough
from harness.targets.passthrough import PassthroughGuests, refuse

ADDRESS = "0000:c5:00.1"
KERNEL = Kernel("k", "7.3.4-xdna-k", Profile.PLAIN, Path("i"), (), Path("b"), Path("l"))
MODULES = frozenset({VFIO, "vfio_iommu_type1"})


class Host:
    """A host that can lend an NPU of this device and revision, unless somebody has it open."""

    def __init__(self, device: int = 0x17F0, revision: int = 0x10, users: tuple[str, ...] = ()) -> None:
        function = Function(ADDRESS, AMD, device, revision, 0x1180, "amdxdna")
        self.now = Situation(ADDRESS, function, "17", iommu=True, users=users, resets=("flr",), modules=MODULES)

    def situation(self, address: str) -> Situation:
        return self.now


def refused(host: Host, npu: str = "npu4") -> str:
    try:
        refuse(ADDRESS, Variant("passthrough", npu), cast(Pci, host))
    except UsageError as error:
        return "\n".join(error.lines())
    return ""


def test_the_right_generation_is_lent() -> None:
    assert refused(Host()) == ""
    assert refused(Host(0x1502, 0), "npu1") == ""


def test_another_generation_is_not_asked_for_this_one() -> None:
    """Its tests would blame the driver."""
    assert refused(Host(0x1502, 0)) == f"{ADDRESS} is an npu1, not an npu4\nsay so with --npu npu1"
    assert refused(Host(), "npu6") == f"{ADDRESS} is an npu4, not an npu6\nsay so with --npu npu4"


def test_between_two_guests_it_is_the_labs_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor that opens the device must not end the run without a report."""
    monkeypatch.setattr(passthrough, "npu_firmware", dict)
    variant = Variant("passthrough", "npu4", AddressMode.CARVEOUT)
    machine = SimpleNamespace(lent=ADDRESS, variant=variant)
    payload = Payload(Module("m", KERNEL, (), "", "", Path()), Path(), Path(), variant)
    guests = PassthroughGuests(cast(Machine, machine), payload, "a run", 1.0, lambda: None)
    guests._loans.pci = cast(Pci, Host(users=("process 7 (nvtop)",)))
    with pytest.raises(InfraError, match=r"process 7 \(nvtop\) has the device open"):
        with guests.open(Path(), Start.COLD):
            pass


@pytest.mark.parametrize(("host", "what"), [(Host(0x1234), "is no NPU"), (Host(users=("process 7 (x)",)), "end it")])
def test_what_else_is_in_the_way_is_said(host: Host, what: str) -> None:
    assert what in refused(host)
