# SPDX-License-Identifier: GPL-2.0-only
"""The initrd of a guest: no root file system, only the ACPI table that gives QEMU's IOMMU its PASIDs."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from harness.formats import cpio
from harness.formats.acpi import IVRS_PATH, ivrs_override
from harness.host.store import Store, key_of


def ivrs_archive() -> bytes:
    """kernel/firmware/acpi/ivrs.aml (CONFIG_ACPI_TABLE_UPGRADE reads it); other archives may follow it."""
    folders = [cpio.directory(str(p)) for p in reversed(PurePosixPath(IVRS_PATH).parents) if str(p) != "."]
    return cpio.archive([*folders, cpio.file(IVRS_PATH, ivrs_override())])


def ivrs_initrd(store: Store) -> Path:
    """That archive in a file, made once."""
    data = ivrs_archive()
    key = key_of(initrd=data.hex())
    return store.get("images", key, lambda folder: _write(folder / "acpi.cpio", data)) / "acpi.cpio"


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
