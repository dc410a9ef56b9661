# SPDX-License-Identifier: GPL-2.0-only
"""Instructions of the emulated NPU, written by a test to learn what the device saw.

Layout: harness/npu/README.md. Addresses are the NPU's: of the heap, or of a SHARE BO (GET_BO_INFO xdna_addr).
A real NPU knows nothing of these.
"""

from __future__ import annotations

import struct

_MAGIC = 0x414E4458
_COPY, _FILL, _CRC32, _STORE, _HANG, _FAIL = 1, 2, 3, 4, 5, 6


class Program:
    """A list of instructions; every method adds one and returns the program."""

    def __init__(self) -> None:
        self._instructions: list[bytes] = []

    def copy(self, source: int, target: int, size: int) -> Program:
        """Copy ``size`` bytes."""
        return self._add(_COPY, size, source, target, 0)

    def fill(self, target: int, size: int, word: int) -> Program:
        """Fill ``size`` bytes with a 32-bit word."""
        return self._add(_FILL, size, 0, target, word)

    def crc32(self, source: int, target: int, size: int) -> Program:
        """Write zlib's CRC-32 of ``size`` bytes to ``target``, as a 32-bit word."""
        return self._add(_CRC32, size, source, target, 0)

    def store(self, target: int, value: int) -> Program:
        """Write a 64-bit word."""
        return self._add(_STORE, 8, 0, target, value)

    def hang(self) -> Program:
        """Never end."""
        return self._add(_HANG, 0, 0, 0, 0)

    def fail(self, status: int) -> Program:
        """End with this status."""
        return self._add(_FAIL, 0, 0, 0, status)

    def _add(self, op: int, size: int, source: int, target: int, value: int) -> Program:
        self._instructions.append(struct.pack("<IIQQQ", op, size, source, target, value))
        return self

    def __bytes__(self) -> bytes:
        return struct.pack("<II", _MAGIC, len(self._instructions)) + b"".join(self._instructions)
