# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel left behind when it died: pstore's records (Documentation/admin-guide/ramoops.rst, pstore in
Documentation/ABI/testing/pstore), where systemd-pstore puts them, and kdump's dmesg."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FOLDERS = ("/sys/fs/pstore", "/var/lib/systemd/pstore", "/var/crash")
PATTERNS = (
    "/sys/fs/pstore/* /var/lib/systemd/pstore/* /var/lib/systemd/pstore/*/* /var/lib/systemd/pstore/*/*/* "
    "/var/crash/*/dmesg* /var/crash/*/vmcore-dmesg.txt"
)
"""For sh; kdump's memory itself is too large to be fetched."""
KDUMP = "/var/crash/"
_DUMP = re.compile(r"/var/crash/(?!\.)[^/]+(?=/)")
_HEADER = re.compile(r"^(?P<why>[A-Za-z][\w -]*)#(?P<count>\d+) Part(?P<part>\d+)\n")
_TIME = re.compile(r"^\[ *(\d+\.\d+)\]", re.M)
_LEVEL = re.compile(r"^<\d+>(?=\[)", re.M)


@dataclass(frozen=True)
class Part:
    """One record: why it was written, how often that happened, and which part of the messages it has, 1 the last."""

    why: str
    count: int
    number: int
    text: str


def read_part(text: str) -> Part:
    """A dmesg record. One without a header is part 1."""
    header = _HEADER.match(text)
    if header is None:
        return Part("", 0, 1, _LEVEL.sub("", text))
    body = _LEVEL.sub("", text[header.end() :])
    return Part(header["why"], int(header["count"]), int(header["part"]), body)


def crash_text(files: Mapping[str, bytes]) -> str:
    """The last messages, as the console would have shown them: kdump's log, which is whole, else pstore's parts from
    the oldest to the last words; what systemd-pstore made of these is not needed. Empty: nothing was left."""
    texts = {name: data.decode(errors="replace").replace("\0", "") for name, data in files.items()}
    whole = [text for name, text in sorted(texts.items()) if name.startswith(KDUMP)]
    if whole:
        return _LEVEL.sub("", whole[-1])
    parts = [read_part(text) for name, text in texts.items() if name.rpartition("/")[2].startswith("dmesg-")]
    ordered = sorted(parts, key=lambda part: (part.count, -part.number))
    return "".join(part.text if part.text.endswith("\n") else f"{part.text}\n" for part in ordered)


def dumps(names: Iterable[str]) -> list[str]:
    """The folders of kdump's that such files are in, in the order of their names, which have the time."""
    return sorted({found[0] for name in names if (found := _DUMP.match(name))})


def since(text: str, uptime: float) -> str:
    """What was said from so many seconds after the boot on."""
    for found in _TIME.finditer(text):
        if float(found[1]) >= uptime:
            return text[found.start() :]
    return ""
