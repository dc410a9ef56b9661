# SPDX-License-Identifier: GPL-2.0-only
"""Sections and symbols of ELF files of this machine (64 bit, little endian). A stranger's build made them, so every
offset is checked."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_SYMTAB, _NOBITS = 2, 8
_EXECUTABLE = 0x4
_WEAK = 2
_NOTYPE, _FUNCTION = 0, 2


class NotElf(ValueError):
    """The bytes are no such file, or a damaged one."""


@dataclass(frozen=True)
class Symbol:
    """A label in code: ``value`` bytes into its section, ``size`` bytes long (0: nobody said)."""

    name: str
    section: str
    value: int
    size: int
    weak: bool


@dataclass(frozen=True)
class _Entry:
    """A line of the table of sections."""

    name: int
    type: int
    flags: int
    start: int
    size: int
    link: int


class Elf:
    """A file's tables. :class:`NotElf` when it is cut short or something else."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        try:
            ident, *_, offset, _, _, _, _, size, count, names = _HEADER.unpack_from(data)
            if ident[:6] != b"\x7fELF\x02\x01" or size != _SECTION.size:
                raise NotElf("not an ELF-64 file of this machine")
            rows = [_SECTION.unpack_from(data, offset + number * size) for number in range(count)]
            self._entries = [_Entry(row[0], row[1], row[2], row[4], row[5], row[6]) for row in rows]
            self._names = self._content(self._entries[names])
        except (struct.error, IndexError, OverflowError) as error:  # the last: an offset beyond all memory
            raise NotElf(f"a damaged ELF file: {error}") from error

    def section(self, name: str) -> bytes:
        """The content of the first section of this name; :class:`NotElf` without one."""
        for entry in self._entries:
            if _string(self._names, entry.name) == name.encode():
                return self._content(entry)
        raise NotElf(f"no section {name}")

    def code(self) -> dict[str, bytes]:
        """The sections with code, by name; without those that share a name."""
        found: dict[str, list[bytes]] = {}
        for entry in self._entries:
            if entry.flags & _EXECUTABLE:
                name = _string(self._names, entry.name).decode(errors="replace")
                found.setdefault(name, []).append(self._content(entry))
        return {name: contents[0] for name, contents in found.items() if len(contents) == 1}

    def labels(self) -> Iterator[Symbol]:
        """The named symbols in code: functions, and labels of assembler."""
        for table in self._entries:
            if table.type != _SYMTAB:
                continue
            try:
                names = self._content(self._entries[table.link])
                rows = list(_SYMBOL.iter_unpack(self._content(table)))
            except (struct.error, IndexError) as error:
                raise NotElf(f"a damaged ELF file: {error}") from error
            for name, info, _, section, value, size in rows:
                if info & 0xF not in (_NOTYPE, _FUNCTION) or not 0 < section < len(self._entries):
                    continue
                entry, text = self._entries[section], _string(names, name).decode(errors="replace")
                if text and entry.flags & _EXECUTABLE:
                    where = _string(self._names, entry.name).decode(errors="replace")
                    yield Symbol(text, where, value, size, info >> 4 == _WEAK)

    def _content(self, entry: _Entry) -> bytes:
        if entry.type == _NOBITS:
            return b""
        if entry.start + entry.size > len(self._data):
            raise NotElf("a damaged ELF file: a section reaches over its end")
        return self._data[entry.start : entry.start + entry.size]


def _string(table: bytes, at: int) -> bytes:
    return table[at : max(table.find(b"\0", at), at)]
