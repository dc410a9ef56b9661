# SPDX-License-Identifier: GPL-2.0-only
"""Timers and readers of the one thread."""

from __future__ import annotations

import os

import pytest

from harness.vfio_user.loop import Loop


def test_timers_run_in_order_and_cancelled_ones_do_not() -> None:
    loop = Loop()
    ran: list[str] = []
    loop.call_later(0.02, loop.stop)
    loop.call_later(0.01, lambda: ran.append("second"))
    loop.call_later(0.0, lambda: ran.append("first"))
    loop.call_later(0.005, lambda: ran.append("cancelled")).cancel()
    loop.run()
    loop.close()
    assert ran == ["first", "second"]


def test_a_reader_runs_when_there_is_data() -> None:
    loop = Loop()
    reader, writer = os.pipe()
    seen: list[bytes] = []

    def read() -> None:
        seen.append(os.read(reader, 10))
        loop.remove_reader(reader)
        loop.stop()

    loop.add_reader(reader, read)
    os.write(writer, b"now")
    loop.run()
    loop.close()
    os.close(reader)
    os.close(writer)
    assert seen == [b"now"]


def test_an_exception_leaves_the_loop() -> None:
    loop = Loop()

    def fail() -> None:
        raise ZeroDivisionError

    loop.call_later(0.0, fail)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    loop.close()
