# SPDX-License-Identifier: GPL-2.0-only
"""Reads kernel messages: records of /dev/kmsg, or the text of a serial console. Both are hostile.

/dev/kmsg (Documentation/ABI/testing/dev-kmsg, Linux 7.3): the priority is facility * 8 + level. The
kernel's own facility is 0, and what user space writes there gets another one whatever it asks for, so a
record can be believed. A console cannot: user space writes to it too. Lines without the kernel's time stamp
are dropped; a program that forges the stamp cannot be told from the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from harness.log import printable

MAX_LINE = 2000
MAX_LINES = 200_000

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_STAMP = re.compile(r"(?:<\d{1,3}>)?\[ *\d{1,10}\.\d{6}\](?: ?\[ *[TC]\d+\])? ?")


def kernel_lines(source: Iterable[Mapping[str, object]] | str) -> list[str]:
    """The kernel's own lines, without time stamps and escape codes, control characters made visible, and
    cut to a sane length and number.

    A record is ``{"seq": n, "level": n, "time": s, "text": str}``; ``level`` may be the whole priority, or
    ``facility`` may stand beside it. A record that is not the kernel's, or has no text, is dropped.
    """
    lines = _console(source) if isinstance(source, str) else _records(source)
    return [printable(_ESCAPE.sub("", line[:MAX_LINE])).rstrip() for line in lines[:MAX_LINES]]


def _records(records: Iterable[Mapping[str, object]]) -> list[str]:
    lines: list[str] = []
    for record in records:
        text, level, facility = record.get("text"), record.get("level", 0), record.get("facility", 0)
        if not isinstance(text, str) or not isinstance(level, int) or level > 7 or facility != 0:
            continue
        # One record may hold several lines; /dev/kmsg writes the line end inside a record as \x0a.
        lines.extend(text.replace("\\x0a", "\n").split("\n"))
    return lines


def _console(text: str) -> list[str]:
    lines: list[str] = []
    for raw in text.replace("\r", "\n").split("\n"):
        line = _ESCAPE.sub("", raw)
        if stamp := _STAMP.search(line):
            lines.append(line[stamp.end() :])
    return lines
