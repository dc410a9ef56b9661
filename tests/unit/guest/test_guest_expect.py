# SPDX-License-Identifier: GPL-2.0-only
"""The suite's own assertions: each must be able to fail, in one line."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from harness.drm.command import State
from harness.guest.child import in_child
from harness.guest.expect import eventually, name_of, refused, works
from harness.guest.program import Program


def fail(number: int) -> None:
    raise OSError(number, os.strerror(number))


def test_works() -> None:
    with works("this"):
        pass
    with pytest.raises(AssertionError, match=r"^second chunk: expected success, got EBUSY$"):
        with works("second chunk"):
            fail(errno.EBUSY)


def test_refused() -> None:
    with refused(errno.EAGAIN, "this"):
        fail(errno.EAGAIN)
    with pytest.raises(AssertionError, match=r"^DEV BO: expected EAGAIN, got EINVAL$"):
        with refused(errno.EAGAIN, "DEV BO"):
            fail(errno.EINVAL)
    with pytest.raises(AssertionError, match=r"^DEV BO: expected EAGAIN, got success$"):
        with refused(errno.EAGAIN, "DEV BO"):
            pass


def test_other_errors_pass_through() -> None:
    with pytest.raises(KeyError):
        with works("this"):
            raise KeyError
    with pytest.raises(KeyError):
        with refused(errno.EAGAIN, "this"):
            raise KeyError


def test_eventually() -> None:
    answers = iter([False, False, True])
    eventually(lambda: next(answers), "it happens")
    with pytest.raises(AssertionError, match=r"it happens: not within 0\.02 s"):
        eventually(lambda: False, "it happens", timeout=0.02)


def test_names() -> None:
    assert [name_of(number) for number in (0, 11, None, 99999)] == ["success", "EAGAIN", "errno None", "errno 99999"]


def test_child_passes() -> None:
    in_child(lambda: None)


def test_child_fails_with_its_own_words() -> None:
    def body() -> None:
        with works("in the child"):
            fail(errno.ENOMEM)

    with pytest.raises(AssertionError, match=r"^in the child: expected success, got ENOMEM\n"):
        in_child(body)


def test_child_that_is_killed() -> None:
    with pytest.raises(AssertionError, match="killed by SIGKILL"):
        in_child(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_program_layout() -> None:
    code = bytes(Program().store(0x1000, 7).hang())
    assert len(code) == 8 + 2 * 32
    assert code[:8] == bytes.fromhex("58444e4102000000")
    assert State(8).name == "TIMEOUT"
