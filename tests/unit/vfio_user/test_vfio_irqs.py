# SPDX-License-Identifier: GPL-2.0-only
"""Interrupts: what SET_IRQS may say, and where a signal ends up."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from harness.vfio_user import wire
from harness.vfio_user.device import Irq
from harness.vfio_user.irqs import IrqRequest, Irqs
from harness.vfio_user.wire import Refused

ASSIGN = wire.IRQ_DATA_EVENTFD | wire.IRQ_ACTION_TRIGGER


def eventfd() -> int:
    return os.eventfd(0, os.EFD_NONBLOCK)


def signalled(fd: int) -> int:
    try:
        return os.eventfd_read(fd)
    except BlockingIOError:
        return 0


@pytest.fixture
def irqs() -> Iterator[Irqs]:
    irqs = Irqs((0, 0, 4, 0, 0))
    yield irqs
    irqs.clear()


def assign(irqs: Irqs, start: int, *fds: int) -> None:
    irqs.set(IrqRequest(ASSIGN, Irq.MSIX, start, len(fds), b"", [os.dup(fd) for fd in fds]))


def say(irqs: Irqs, flags: int, start: int, count: int, data: bytes = b"") -> None:
    irqs.set(IrqRequest(flags, Irq.MSIX, start, count, data, []))


def test_a_vector_signals_its_eventfd_and_no_other(irqs: Irqs) -> None:
    fds = [eventfd() for _ in range(3)]
    assign(irqs, 1, *fds)
    assert irqs.trigger(Irq.MSIX, 2)
    assert [signalled(fd) for fd in fds] == [0, 1, 0]
    assert not irqs.trigger(Irq.MSIX, 0)


def test_no_eventfds_take_vectors_away(irqs: Irqs) -> None:
    fd = eventfd()
    assign(irqs, 0, fd)
    irqs.set(IrqRequest(ASSIGN, Irq.MSIX, 0, 1, b"", []))
    assert not irqs.trigger(Irq.MSIX, 0)


def test_count_zero_without_data_takes_all_away(irqs: Irqs) -> None:
    assign(irqs, 0, eventfd(), eventfd())
    say(irqs, wire.IRQ_DATA_NONE | wire.IRQ_ACTION_TRIGGER, 0, 0)
    assert not irqs.trigger(Irq.MSIX, 0)
    assert not irqs.trigger(Irq.MSIX, 1)


def test_a_masked_vector_fires_when_it_is_unmasked(irqs: Irqs) -> None:
    fd = eventfd()
    assign(irqs, 0, fd)
    say(irqs, wire.IRQ_DATA_NONE | wire.IRQ_ACTION_MASK, 0, 1)
    assert irqs.trigger(Irq.MSIX, 0)
    assert signalled(fd) == 0
    say(irqs, wire.IRQ_DATA_NONE | wire.IRQ_ACTION_UNMASK, 0, 1)
    assert signalled(fd) == 1


def test_the_client_triggers_what_it_says_in_booleans(irqs: Irqs) -> None:
    fds = [eventfd() for _ in range(3)]
    assign(irqs, 0, *fds)
    say(irqs, wire.IRQ_DATA_BOOL | wire.IRQ_ACTION_TRIGGER, 0, 3, b"\1\0\1")
    assert [signalled(fd) for fd in fds] == [1, 0, 1]


@pytest.mark.parametrize(
    "request_",
    [
        IrqRequest(0, Irq.MSIX, 0, 1, b"", []),
        IrqRequest(wire.IRQ_DATA_NONE, Irq.MSIX, 0, 1, b"", []),
        IrqRequest(ASSIGN | wire.IRQ_DATA_BOOL, Irq.MSIX, 0, 1, b"", []),
        IrqRequest(ASSIGN | 1 << 9, Irq.MSIX, 0, 1, b"", []),
        IrqRequest(ASSIGN, Irq.MSIX, 3, 2, b"", []),
        IrqRequest(ASSIGN, Irq.INTX, 0, 1, b"", []),
        IrqRequest(ASSIGN, 9, 0, 1, b"", []),
        IrqRequest(ASSIGN, Irq.MSIX, 0, 2, b"", [-1]),
        IrqRequest(wire.IRQ_DATA_BOOL | wire.IRQ_ACTION_TRIGGER, Irq.MSIX, 0, 2, b"\1", []),
        IrqRequest(wire.IRQ_DATA_EVENTFD | wire.IRQ_ACTION_MASK, Irq.MSIX, 0, 1, b"", []),
    ],
)
def test_what_cannot_be_meant_is_refused(irqs: Irqs, request_: IrqRequest) -> None:
    with pytest.raises(Refused):
        irqs.set(request_)
