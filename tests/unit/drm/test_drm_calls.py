# SPDX-License-Identifier: GPL-2.0-only
"""Every way to the driver goes past the counter."""

from __future__ import annotations

import os

import pytest

from harness.drm import ioctl, memory, structs
from harness.drm.calls import counted


def test_what_a_block_calls_is_counted_by_name() -> None:
    memory.anonymous(4096).unmap()
    fd = os.open("/dev/null", os.O_RDWR)
    try:
        with counted() as calls:
            memory.anonymous(4096).unmap()
            for _ in range(2):
                with pytest.raises(OSError, match="GetInfo"):
                    ioctl.call(fd, ioctl.GET_INFO, structs.GetInfo())
        memory.anonymous(4096).unmap()
    finally:
        os.close(fd)
    assert calls == {"mmap": 1, "munmap": 1, "GetInfo": 2}


def test_a_block_that_fails_is_counted_too() -> None:
    with counted() as calls:
        with pytest.raises(OSError, match="munmap"), counted() as inner:
            memory.munmap(1, 4096)
    assert inner == calls == {"munmap": 1}
