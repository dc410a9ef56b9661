# SPDX-License-Identifier: GPL-2.0-only
"""Request codes as a C compiler makes them, and ioctl(2) without libdrm's habits."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest

from harness.drm import ioctl, structs


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("CREATE_HWCTX", 0xC0386440),
        ("DESTROY_HWCTX", 0xC0086441),
        ("CONFIG_HWCTX", 0xC0186442),
        ("CREATE_BO", 0xC0206443),
        ("GET_BO_INFO", 0xC0306444),
        ("SYNC_BO", 0xC0186445),
        ("EXEC_CMD", 0xC0386446),
        ("GET_INFO", 0xC0106447),
        ("SET_STATE", 0xC0106448),
        ("WAIT_CMD", 0x40106449),
        ("GET_ARRAY", 0xC018644A),
        ("GEM_CLOSE", 0x40086409),
        ("PRIME_HANDLE_TO_FD", 0xC00C642D),
        ("SYNCOBJ_TIMELINE_WAIT", 0xC03064CA),
    ],
)
def test_request_codes_are_the_kernels(name: str, code: int) -> None:
    assert getattr(ioctl, name) == code


def test_error_carries_the_errno() -> None:
    fd = os.open("/dev/null", os.O_RDWR)
    try:
        with pytest.raises(OSError) as caught:
            ioctl.call(fd, ioctl.CREATE_BO, structs.CreateBo())
    finally:
        os.close(fd)
    assert caught.value.errno == errno.ENOTTY
    assert "CreateBo" in str(caught.value)


def test_eagain_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    class Libc:
        @staticmethod
        def ioctl(fd: int, request: int, argument: object) -> int:
            calls.append(request)
            return -1

    monkeypatch.setattr(ioctl, "_libc", Libc)
    get_errno: Callable[[], int] = lambda: errno.EAGAIN  # noqa: E731
    monkeypatch.setattr("ctypes.get_errno", get_errno)
    with pytest.raises(BlockingIOError):
        ioctl.call(3, ioctl.CREATE_BO, structs.CreateBo())
    assert calls == [ioctl.CREATE_BO], "tried more than once"
