# SPDX-License-Identifier: GPL-2.0-only
"""A guest's memory comes back as it was, and a file that is not what was written is noticed."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path

import pytest

from harness.errors import InfraError
from harness.host.guest_memory import GuestMemory, prove
from harness.host.snapshot import StateDamaged, check, load_memory

MIB = 1 << 20
SIZE = 64 * MIB


@pytest.fixture
def memory() -> GuestMemory:
    filled = GuestMemory(SIZE)
    os.pwrite(filled.fd, b"first", 0)
    os.pwrite(filled.fd, os.urandom(9000), 10 * MIB + 100)
    os.pwrite(filled.fd, b"last", SIZE - 4)
    return filled


def content(memory: GuestMemory) -> bytes:
    return os.pread(memory.fd, SIZE, 0)


def test_what_was_touched_is_saved_and_the_rest_stays_a_hole(memory: GuestMemory, tmp_path: Path) -> None:
    proof = memory.save(tmp_path / "memory")
    assert proof.size == SIZE
    assert proof.data < MIB
    assert (tmp_path / "memory").stat().st_blocks * 512 < MIB
    restored = GuestMemory(SIZE)
    restored.load(tmp_path / "memory")
    assert content(restored) == content(memory)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: os.truncate(path, SIZE - 4096),
        lambda path: os.truncate(path, 11 * MIB),
        lambda path: os.pwrite(os.open(path, os.O_WRONLY), b"X", 10 * MIB + 200),
        lambda path: os.pwrite(os.open(path, os.O_WRONLY), b"X", 30 * MIB),
    ],
    ids=["a page short", "cut", "a byte changed", "a byte in a hole"],
)
def test_a_file_that_was_changed_is_noticed(memory: GuestMemory, tmp_path: Path, damage: object) -> None:
    path = tmp_path / "memory"
    proof = memory.save(path)
    assert prove(path) == proof
    assert callable(damage)
    damage(path)
    assert prove(path) != proof


def test_a_full_disk_is_our_error(memory: GuestMemory, tmp_path: Path) -> None:
    """A limit on file size stands in for a full disk: the same error path, no root needed."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE - 2, before[1]))
    try:
        with pytest.raises(InfraError, match="cannot save"):
            memory.save(tmp_path / "memory")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("text", ["", "{}", '{"proofs": {"memory": 3}}', "[1]"])
def test_a_state_without_its_papers_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(StateDamaged):
        check(tmp_path)
    with pytest.raises(StateDamaged):
        load_memory(GuestMemory(4096), tmp_path)


def test_pages_of_zeros_are_not_saved(tmp_path: Path) -> None:
    memory = GuestMemory(SIZE)
    for place in range(0, 8 * MIB, 8192):
        os.pwrite(memory.fd, b"x" * 4096 + bytes(4096), place)
    assert memory.save(tmp_path / "memory").data == 4 * MIB
    restored = GuestMemory(SIZE)
    restored.load(tmp_path / "memory")
    assert content(restored) == content(memory)
