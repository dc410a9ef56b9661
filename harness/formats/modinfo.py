# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel module says of itself, read from the .ko (ELF-64, little endian; kernel:
include/linux/moduleparam.h).

A module is made by a stranger's patch, so every offset is checked.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from harness.formats.elf import Elf, NotElf

_NOTE = struct.Struct("<III")
_VERSION_SIZE = 64
_SYMVERS = re.compile(r"^0x([0-9a-f]{1,16})\t([^\t\n]+)", re.MULTILINE)


class NotAModule(ValueError):
    """The bytes are not a kernel module."""


def section(elf: bytes, name: str) -> bytes:
    """The content of the first section of this name. :class:`NotAModule` when there is none or it is cut
    short."""
    try:
        return Elf(elf).section(name)
    except NotElf as error:
        raise NotAModule(str(error)) from error


def modinfo(elf: bytes) -> Mapping[str, str]:
    """The module's ``name=value`` pairs; of repeated names the first."""
    pairs: dict[str, str] = {}
    for line in section(elf, ".modinfo").split(b"\0"):
        name, equals, value = line.decode(errors="replace").partition("=")
        if equals:
            pairs.setdefault(name, value)
    return pairs


def files_of(order: str) -> dict[str, str]:
    """The modules that a modules.order lists: each one's file by its name in the kernel. :class:`NotAModule`: it lists
    what is no file."""
    try:
        paths = [PurePosixPath(line).with_suffix(".ko") for line in order.split()]
    except ValueError as error:
        raise NotAModule(f"modules.order names no file: {error}") from error
    return {path.stem.replace("-", "_"): str(path) for path in paths}


def load_order(wanted: str, depends: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The modules that ``wanted`` needs, each after what it depends on, ``wanted`` last.

    ``depends`` maps each module that exists to what it needs; names with ``_``. :class:`NotAModule` when
    something is missing or needs itself.
    """
    order: dict[str, None] = {}
    open_: list[str] = []

    def add(name: str) -> None:
        if name in order:
            return
        if name in open_:
            raise NotAModule(f"modules need each other: {' -> '.join([*open_, name])}")
        if name not in depends:
            raise NotAModule(f"module {name} was not built" + (f", {open_[-1]} needs it" if open_ else ""))
        open_.append(name)
        for other in depends[name]:
            add(other)
        order[open_.pop()] = None

    try:
        add(wanted)
    except RecursionError as error:
        raise NotAModule("a thousand modules need one another") from error
    return tuple(order)


def depends_of(elf: bytes) -> tuple[str, ...]:
    """The modules this one needs, names with ``_``."""
    return tuple(name.replace("-", "_") for name in modinfo(elf).get("depends", "").split(",") if name)


def build_id(elf: bytes) -> str:
    """The GNU build-id in hexadecimal (note type 3 of .note.gnu.build-id)."""
    note = section(elf, ".note.gnu.build-id")
    try:
        name_size, size, _ = _NOTE.unpack_from(note)
    except struct.error as error:
        raise NotAModule(f"a damaged build-id: {error}") from error
    start = _NOTE.size + (name_size + 3 & ~3)
    found = note[start : start + size]
    if not found or len(found) != size:
        raise NotAModule("a damaged build-id: cut short")
    return found.hex()


def versions(elf: bytes) -> Mapping[str, int]:
    """The CRC of each symbol the module wants (kernel: struct modversion_info; CONFIG_BASIC_MODVERSIONS); empty without
    symbol versions."""
    try:
        data = section(elf, "__versions")
    except NotAModule:
        return {}
    entries = (data[at : at + _VERSION_SIZE] for at in range(0, len(data) - _VERSION_SIZE + 1, _VERSION_SIZE))
    return {
        entry[8:].partition(b"\0")[0].decode(errors="replace"): int.from_bytes(entry[:8], "little") for entry in entries
    }


def wrong_versions(elf: bytes, symvers: str) -> list[str]:
    """The symbols whose version is not the one in a Module.symvers (``0xCRC\tname\t...``), or that are not there."""
    known = {name: int(crc, 16) for crc, name in _SYMVERS.findall(symvers)}
    return sorted(name for name, crc in versions(elf).items() if known.get(name) != crc)
