# SPDX-License-Identifier: GPL-2.0-only
"""What counts as a leak, sensor by sensor."""

from __future__ import annotations

import pytest

from harness.model.leak import SENSORS, leaks

CHUNK = 64 << 20
BEFORE = {
    "meminfo.Shmem": 5 << 20,
    "memory.used": 90 << 20,
    "pages.pinned": 0,
    "process.pinned": 0,
    "slab.mm_struct": 40,
    "slab.shmem_inode_cache": 300,
    "slab.drm_sched_fence": 0,
    "channels.contexts": 1,
    "npu.contexts": 1,
    "module.refcnt": 0,
    "device.runtime_usage": 0,
}


def test_nothing_more_than_before_is_no_leak() -> None:
    assert leaks(BEFORE, BEFORE) == []
    assert leaks(BEFORE, {name: max(0, count - 1) for name, count in BEFORE.items()}) == []


@pytest.mark.parametrize(
    ("counter", "more", "sensor"),
    [
        ("meminfo.Shmem", CHUNK, "LEAK:shmem"),
        ("pages.pinned", 1, "LEAK:pinned"),
        ("process.pinned", 4096, "LEAK:locked"),
        ("memory.used", CHUNK, "LEAK:memory"),
        ("slab.mm_struct", 1, "LEAK:mm"),
        ("slab.shmem_inode_cache", 1, "LEAK:shmem-file"),
        ("slab.drm_sched_fence", 1, "LEAK:fence"),
        ("channels.contexts", 1, "LEAK:mailbox"),
        ("npu.contexts", 1, "LEAK:firmware-context"),
        ("module.refcnt", 1, "LEAK:module"),
        ("device.runtime_usage", 1, "LEAK:runtime-pm"),
    ],
)
def test_each_sensor_sees_its_own(counter: str, more: int, sensor: str) -> None:
    found = leaks(BEFORE, {**BEFORE, counter: BEFORE[counter] + more})
    assert [finding.fingerprint for finding in found] == [sensor]
    assert f"{BEFORE[counter]} before the test, {BEFORE[counter] + more} after it" in found[0].text


def test_what_is_no_leak() -> None:
    page_cache = {**BEFORE, "meminfo.Shmem": BEFORE["meminfo.Shmem"] + (8 << 20)}
    assert leaks(BEFORE, page_cache) == []


def test_a_chunk_is_a_file_too_and_is_named_once() -> None:
    lost = {"meminfo.Shmem": BEFORE["meminfo.Shmem"] + CHUNK, "slab.shmem_inode_cache": 301}
    assert [finding.fingerprint for finding in leaks(BEFORE, {**BEFORE, **lost})] == ["LEAK:shmem"]


def test_a_counter_that_is_not_there_shows_nothing() -> None:
    assert leaks({}, BEFORE) == leaks(BEFORE, {}) == []
    assert len({sensor.name for sensor in SENSORS}) == len(SENSORS)
