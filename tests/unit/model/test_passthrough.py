# SPDX-License-Identifier: GPL-2.0-only
"""Each thing that is in the way names itself and its cure; all are said at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.model.passthrough import AMD, VFIO, Function, Situation, lacks

ADDRESS = "0000:c5:00.1"
NPU = Function(ADDRESS, AMD, 0x17F0, 0x10, 0x1180, "amdxdna")
FIT = Situation(ADDRESS, NPU, "17", iommu=True, resets=("flr",), modules=frozenset({VFIO, "vfio_iommu_type1"}))
GUEST = 2 << 30


def test_nothing_is_in_the_way_of_a_good_one() -> None:
    assert lacks(FIT, GUEST) == []
    assert NPU.npu == "npu4"


@pytest.mark.parametrize(
    ("change", "what", "cure"),
    [
        ({"function": None}, "no PCI device 0000:c5:00.1", "lspci"),
        ({"function": replace(NPU, device=0x1234)}, "is no NPU", "1022:17f0"),
        ({"iommu": False, "group": ""}, "the IOMMU is off", "firmware"),
        ({"group": ""}, "is in no IOMMU group", "dmesg"),
        ({"members": (replace(NPU, address="0000:c5:00.0", driver="xhci_hcd"),)}, "0000:c5:00.0", "unbind it"),
        ({"users": ("process 7 (python3)",)}, "process 7 (python3) has the device open", "end it"),
        ({"resets": ()}, "no way to be reset", "reset_method"),
        ({"lockable": 64 << 20}, "may lock 64 MiB, the guest has 2048", "LimitMEMLOCK"),
        ({"modules": frozenset({VFIO})}, "no vfio_iommu_type1", "modprobe"),
        ({"may_write": False}, "may bind no driver", "root"),
    ],
)
def test_what_is_in_the_way_names_itself_and_its_cure(change: dict[str, object], what: str, cure: str) -> None:
    found = lacks(replace(FIT, **change), GUEST)  # type: ignore[arg-type]
    assert len(found) == 1, found
    assert what in found[0].what
    assert cure in found[0].cure


def test_bridges_and_what_nobody_drives_may_be_in_the_group() -> None:
    bridge = Function("0000:c4:01.0", AMD, 0x14EE, 0, 0x0604, "pcieport")
    idle = Function("0000:c5:00.0", AMD, 0x14EC, 0, 0x1300)
    lent = Function("0000:c5:00.2", AMD, 0x14EC, 0, 0x1300, VFIO)
    assert lacks(replace(FIT, members=(bridge, idle, lent)), GUEST) == []


def test_all_is_said_at_once() -> None:
    bad = replace(FIT, iommu=False, group="", users=("process 7 (x)",), resets=(), modules=frozenset(), may_write=False)
    assert len(lacks(bad, GUEST)) == 6


def test_a_test_may_lend_any_device() -> None:
    assert lacks(replace(FIT, function=replace(NPU, device=0x10D3)), GUEST, any_device=True) == []
