# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's messages with their sequence numbers, from /dev/kmsg.

Source: Documentation/ABI/testing/dev-kmsg. A record is ``priority,sequence,microseconds,flags;text``,
continuation lines begin with a space; a reader that was overtaken gets EPIPE, and sees a gap in the numbers.
"""

from __future__ import annotations

import errno
import os
from dataclasses import asdict, dataclass
from typing import Any

_RECORD_BYTES = 8192


@dataclass(frozen=True)
class Record:
    """One message: sequence number, priority, seconds since boot, text.

    ``level`` is the whole priority: 0 (emergency) to 7 (debug) from the kernel, more from user space, whose
    facility stands above the lowest three bits.
    """

    seq: int
    level: int
    time: float
    text: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def parse(data: bytes) -> Record:
    """One read() of /dev/kmsg. Raises ValueError when it is none. Continuation lines are dropped."""
    head, found, rest = data.decode(errors="replace").partition(";")
    fields = head.split(",")
    if not found or len(fields) < 3:
        raise ValueError(f"not a kernel message: {data[:80]!r}")
    text = rest.split("\n", 1)[0]
    return Record(int(fields[1]), int(fields[0]), int(fields[2]) / 1e6, text)


class Reader:
    """Reads on from where the last call stopped."""

    def __init__(self, path: str = "/dev/kmsg") -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._next: int | None = None

    def read(self) -> tuple[list[Record], int]:
        """The records that came since the last call, and how many were lost before we could read them."""
        records: list[Record] = []
        lost = 0
        while True:
            try:
                data = os.read(self._fd, _RECORD_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.EPIPE:
                    continue
                raise
            if not data:
                break
            record = parse(data)
            if self._next is not None:
                lost += record.seq - self._next
            self._next = record.seq + 1
            records.append(record)
        return records, lost

    def close(self) -> None:
        os.close(self._fd)
