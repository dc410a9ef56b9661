# SPDX-License-Identifier: GPL-2.0-only
"""What a lane's kernel runs on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.model.kernel import Profile


class AddressMode(StrEnum):
    """How the driver gives the NPU addresses (amdxdna_pci_drv.c, amdxdna_iommu.c, amdxdna_cbuf.c)."""

    SVA = "sva"
    FORCE_IOVA = "force-iova"
    CARVEOUT = "carveout"


@dataclass(frozen=True)
class Variant:
    """Target, NPU generation, address mode, kernel profile, and whether the guest is booted or restored."""

    target: str = "emulated"
    npu: str = "npu4"
    address_mode: AddressMode = AddressMode.SVA
    profile: Profile = Profile.PLAIN
    start: str = "restored"

    @property
    def name(self) -> str:
        """A folder name."""
        return "-".join((self.target, self.npu, self.address_mode, self.profile, self.start))
