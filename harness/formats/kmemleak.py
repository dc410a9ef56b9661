# SPDX-License-Identifier: GPL-2.0-only
"""Findings of /sys/kernel/debug/kmemleak (mm/kmemleak.c of Linux 7.3, print_unreferenced()). Pure.

unreferenced object 0xffff888105a3c000 (size 1024):
  comm "python3", pid 312, jiffies 4294701234
  hex dump (first 32 bytes):
    ...
  backtrace (crc 8fdb9d11):
    __kmalloc_cache_noprof+0x25e/0x380
    aie2_hwctx_init+0x4c/0x8f0 [amdxdna]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from harness.formats import stack
from harness.formats.lines import frames_in
from harness.log import printable
from harness.model.finding import Finding, Kind

MAX_OBJECTS = 10_000
_OBJECT = re.compile(r"unreferenced object(?: \([\w-]+\)| [\w-]+)? 0x[0-9a-f]+ \(size (\d+)\):$")
_JIFFIES = re.compile(r"^  comm .*, pid -?\d+, jiffies (\d+)", re.MULTILINE)


def unreferenced(text: str, since: int = 0, until: int | None = None) -> list[Finding]:
    """What is lost, in the order of the text; what was allocated in the same place is one finding with a count. Objects
    from before ``since``, in jiffies, are somebody else's, and those from ``until`` on.

    The fingerprint begins with the first function of a module: which of the kernel's helpers it called to get the
    memory does not matter. Without one on the stack, all of it counts, and without a stack the size.
    """
    found: dict[str, Finding] = {}
    for lines in _objects(text):
        size = _OBJECT.match(lines[0])
        born = _JIFFIES.search("\n".join(lines))
        when = int(born[1]) if born else since
        if size is None or when < since or (until is not None and when >= until):
            continue
        finding = _finding(lines, int(size[1]))
        known = found.get(finding.fingerprint)
        found[finding.fingerprint] = replace(known, count=known.count + 1) if known else finding
    return list(found.values())


def _objects(text: str) -> Iterator[list[str]]:
    """The lines of each object. A last one that was cut off is one, too: that it is lost was said."""
    lines: list[str] = []
    count = 0
    for line in text.split("\n"):
        if _OBJECT.match(line):
            if lines:
                yield lines
            lines, count = [], count + 1
            if count > MAX_OBJECTS:
                return
        elif not lines:
            continue
        if line.strip():
            lines.append(printable(line.rstrip()))
    if lines:
        yield lines


def _finding(lines: list[str], size: int) -> Finding:
    names = stack.frames_of(lines, Kind.KMEMLEAK)
    modules = {stack.plain(frame.function) for frame in frames_in("\n".join(lines)) if frame.module}
    own = next((number for number, name in enumerate(names) if name in modules), 0)
    names = names[own:]
    where = f", allocated in {names[0]}" if names else ""
    title = f"kmemleak: unreferenced object (size {size}){where}"
    mark = stack.fingerprint(Kind.KMEMLEAK, names, f"size_{size}") if names else f"{Kind.KMEMLEAK}:size_{size}"
    return Finding(Kind.KMEMLEAK, title, mark, "\n".join(lines), names)
