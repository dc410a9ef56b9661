# SPDX-License-Identifier: GPL-2.0-only
"""Interrupts: eventfds of the client, by interrupt type and vector."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass

from harness.vfio_user import wire
from harness.vfio_user.wire import Refused

_ONE = (1).to_bytes(8, "little")


@dataclass(frozen=True)
class IrqRequest:
    """A SET_IRQS message: type ``index``, vectors ``start`` to ``start + count``, boolean ``data``, passed
    ``fds``.
    """

    flags: int
    index: int
    start: int
    count: int
    data: bytes
    fds: list[int]


class Irqs:
    """The interrupts of one device: ``counts`` vectors per type."""

    def __init__(self, counts: Sequence[int]) -> None:
        self._counts = counts
        self._fds: dict[tuple[int, int], int] = {}
        self._masked: set[tuple[int, int]] = set()
        self._pending: set[tuple[int, int]] = set()

    def trigger(self, index: int, vector: int) -> bool:
        """Raise an interrupt; False if the client has not asked for it (the guest has not enabled the
        vector).
        """
        key = (index, vector)
        if key in self._masked:
            self._pending.add(key)
            return True
        fd = self._fds.get(key)
        if fd is None:
            return False
        os.write(fd, _ONE)
        return True

    def clear(self) -> None:
        """Close all eventfds."""
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()
        self._masked.clear()
        self._pending.clear()

    def set(self, request: IrqRequest) -> None:
        """Do what a SET_IRQS message says. Takes the fds it uses out of ``request.fds``. Raises
        Refused(EINVAL).
        """
        self._check(request)
        vectors = [(request.index, request.start + n) for n in range(request.count)]
        if request.flags & wire.IRQ_DATA_BOOL:
            vectors = [key for key, wanted in zip(vectors, request.data, strict=False) if wanted]
        if request.flags & wire.IRQ_DATA_EVENTFD:
            if not request.flags & wire.IRQ_ACTION_TRIGGER:
                raise Refused(errno.ENOTSUP, "eventfds for masking are not supported")
            self._assign(vectors, request.fds)
        elif request.flags & wire.IRQ_ACTION_TRIGGER and request.count == 0:
            for key in [key for key in self._fds if key[0] == request.index]:
                os.close(self._fds.pop(key))
        elif request.flags & wire.IRQ_ACTION_TRIGGER:
            for key in vectors:
                self.trigger(*key)
        elif request.flags & wire.IRQ_ACTION_MASK:
            self._masked.update(vectors)
        else:
            self._unmask(vectors)

    def _check(self, request: IrqRequest) -> None:
        data = request.flags & (wire.IRQ_DATA_NONE | wire.IRQ_DATA_BOOL | wire.IRQ_DATA_EVENTFD)
        action = request.flags & (wire.IRQ_ACTION_MASK | wire.IRQ_ACTION_UNMASK | wire.IRQ_ACTION_TRIGGER)
        if data.bit_count() != 1 or action.bit_count() != 1 or request.flags != data | action:
            raise Refused(errno.EINVAL, f"SET_IRQS with flags {request.flags:#x}")
        if request.index >= len(self._counts):
            raise Refused(errno.EINVAL, f"SET_IRQS for interrupt type {request.index}")
        if request.start + request.count > self._counts[request.index]:
            raise Refused(
                errno.EINVAL,
                f"SET_IRQS for vectors {request.start} to {request.start + request.count} of type "
                f"{request.index}, which has {self._counts[request.index]}",
            )
        if data == wire.IRQ_DATA_BOOL and len(request.data) < request.count:
            raise Refused(errno.EINVAL, "SET_IRQS with fewer booleans than vectors")
        if data == wire.IRQ_DATA_EVENTFD and len(request.fds) not in (0, request.count):
            raise Refused(errno.EINVAL, f"SET_IRQS for {request.count} vectors with {len(request.fds)} eventfds")

    def _assign(self, vectors: list[tuple[int, int]], fds: list[int]) -> None:
        for key in vectors:
            old = self._fds.pop(key, None)
            if old is not None:
                os.close(old)
            if fds:
                self._fds[key] = fds.pop(0)

    def _unmask(self, vectors: list[tuple[int, int]]) -> None:
        self._masked.difference_update(vectors)
        for key in vectors:
            if key in self._pending:
                self._pending.discard(key)
                self.trigger(*key)
