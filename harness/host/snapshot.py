# SPDX-License-Identifier: GPL-2.0-only
"""A guest's saved state: its memory, QEMU's devices, and the proof that both are whole.

    <entry>/memory       the guest's RAM, sparse
    <entry>/devices      QEMU's migration stream without it (x-ignore-shared)
    <entry>/state.json   sizes and checksums, written last; what the maker wants to remember

QEMU itself notices devices or a memory size that do not fit, but neither another kernel nor a page that changed on
disk: the first is what keys and the guest's own words are for, the second what the checksums are for.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from harness.errors import InfraError
from harness.host.guest_memory import GuestMemory, Proof, prove
from harness.host.qmp import Monitor

RECIPE = 2
"""Part of every key of a saved state: count up when the sequence of saving or restoring changes."""
MIGRATE_SECONDS = 120.0
RESERVE_BYTES = 1 << 30
"""What must be free before a guest is saved: the largest seen was 400 MB."""
_POLL_SECONDS = 0.005


class StateDamaged(InfraError):
    """The saved state is not what was saved, or does not run: it has to be made again."""


def save(monitor: Monitor, memory: GuestMemory, folder: Path, facts: Mapping[str, object]) -> None:
    """Stop the guest and write its state into ``folder``. It does not run on by itself. InfraError: disk, QEMU."""
    free = shutil.disk_usage(folder).free
    if free < RESERVE_BYTES:
        raise InfraError(
            f"only {free >> 20} MiB are free in {folder.parent}: the guest is not saved",
            hint="free some disk space: 'xdna-harness clean' empties the cache",
        )
    monitor.command("stop")
    _without_memory(monitor)
    monitor.command("migrate-set-parameters", **{"max-bandwidth": 0})
    monitor.command("migrate", uri=f"file:{folder / 'devices'}")
    _wait(monitor, "saving the guest")
    proofs = {"memory": asdict(memory.save(folder / "memory")), "devices": asdict(prove(folder / "devices"))}
    (folder / "state.json").write_text(json.dumps({"proofs": proofs, "facts": dict(facts)}))


def load_memory(memory: GuestMemory, folder: Path) -> None:
    """Fill the memory of a guest that is to be restored, before QEMU starts. StateDamaged: it cannot be read."""
    try:
        memory.load(folder / "memory")
    except OSError as error:
        raise StateDamaged(f"the saved guest {folder.name} cannot be read: {error}") from error


def check(folder: Path) -> None:
    """Whether the state is what was saved. StateDamaged when it was cut short or changed."""
    try:
        kept = json.loads((folder / "state.json").read_text())["proofs"]
        expected = {name: Proof(**kept[name]) for name in ("memory", "devices")}
        found = {name: prove(folder / name) for name in expected}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateDamaged(f"the saved guest {folder.name} cannot be read: {error}") from error
    for name, proof in expected.items():
        if found[name] != proof:
            raise StateDamaged(f"the saved guest {folder.name} is damaged: its {name} is not what was written")


def load(monitor: Monitor, folder: Path) -> None:
    """Give the devices to a QEMU that waits for them, and let the guest run. StateDamaged when it does not take
    them."""
    try:
        _without_memory(monitor)
        monitor.command("migrate-incoming", uri=f"file:{folder / 'devices'}")
        _wait(monitor, "restoring the guest")
        monitor.command("cont")
    except InfraError as error:
        raise StateDamaged(f"the saved guest {folder.name} could not be restored: {error.message}") from error


def _without_memory(monitor: Monitor) -> None:
    """The RAM is a file of ours, which QEMU then leaves alone."""
    monitor.command("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])


def _wait(monitor: Monitor, what: str) -> None:
    deadline = time.monotonic() + MIGRATE_SECONDS
    while time.monotonic() < deadline:
        answer = monitor.command("query-migrate")
        status = answer.get("status") if isinstance(answer, dict) else None
        if status == "completed":
            return
        if status in ("failed", "cancelled"):
            assert isinstance(answer, dict)
            raise InfraError(f"{what} failed: {answer.get('error-desc', 'QEMU does not say why')}")
        time.sleep(_POLL_SECONDS)
    raise InfraError(f"{what} was not done within {MIGRATE_SECONDS:.0f} s")
