# SPDX-License-Identifier: GPL-2.0-only
"""The register BARs: 32-bit registers at known offsets. All else is a fault of the emulation, not a zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from harness.npu.generations import Register


class Registers:
    """Values by (BAR, offset). ``on_unknown`` hears of every access to what was never defined, once per
    place.
    """

    def __init__(self, on_unknown: Callable[[str], None]) -> None:
        self._values: dict[tuple[int, int], int] = {}
        self._written: dict[tuple[int, int], Callable[[int], None]] = {}
        self._on_unknown = on_unknown
        self._reported: set[str] = set()

    def define(self, register: Register, on_write: Callable[[int], None] | None = None) -> None:
        """Make a register known. ``on_write`` is called with the new value after software has stored it."""
        self._values.setdefault(register, 0)
        if on_write is not None:
            self._written[register] = on_write

    def get(self, register: Register) -> int:
        return self._values[register]

    def set(self, register: Register, value: int) -> None:
        """Store without setting anything off: the device's own write."""
        self._values[register] = value & 0xFFFFFFFF

    def zero(self) -> None:
        """All registers to 0."""
        self._values.update(dict.fromkeys(self._values, 0))

    def read(self, bar: int, offset: int, count: int) -> bytes:
        """What software reads; zeros where there is no register."""
        value = self._values.get((bar, offset))
        if value is None or count != 4:
            self._unknown("read", bar, offset, count)
            return bytes(count)
        return value.to_bytes(4, "little")

    def write(self, bar: int, offset: int, data: bytes) -> None:
        """Software's write."""
        key = (bar, offset)
        if key not in self._values or len(data) != 4:
            self._unknown("written", bar, offset, len(data))
            return
        value = int.from_bytes(data, "little")
        self._values[key] = value
        call = self._written.get(key)
        if call is not None:
            call(value)

    def _unknown(self, how: str, bar: int, offset: int, count: int) -> None:
        what = f"unknown register {how}: BAR {bar} offset {offset:#x}, {count} bytes"
        if what not in self._reported:
            self._reported.add(what)
            self._on_unknown(what)


class Storage:
    """Plain memory behind a BAR that the device does not interpret (the MSI-X table, which QEMU keeps
    itself).
    """

    def __init__(self, sizes: Mapping[int, int]) -> None:
        self._bars = {bar: bytearray(size) for bar, size in sizes.items()}

    def read(self, bar: int, offset: int, count: int) -> bytes:
        return bytes(self._bars[bar][offset : offset + count])

    def write(self, bar: int, offset: int, data: bytes) -> None:
        self._bars[bar][offset : offset + len(data)] = data
