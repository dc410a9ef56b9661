# SPDX-License-Identifier: GPL-2.0-only
"""What counts as a leak, sensor by sensor."""

from __future__ import annotations

import pytest

from harness.model.leak import SENSORS, leaks

CHUNK = 64 << 20
BEFORE = {
    "meminfo.Shmem": 5 << 20,
    "pages.pinned": 0,
    "interrupts.xdna_mailbox": 1,
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
        ("interrupts.xdna_mailbox", 1, "LEAK:mailbox"),
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
    asleep = {**BEFORE, "interrupts.xdna_mailbox": 0}
    assert leaks(asleep, BEFORE) == [], "the device woke up"


def test_a_counter_that_is_not_there_shows_nothing() -> None:
    assert leaks({}, BEFORE) == leaks(BEFORE, {}) == []
    assert len({sensor.name for sensor in SENSORS}) == len(SENSORS)
