# SPDX-License-Identifier: GPL-2.0-only
"""The difference between two drivers as a run keeps it (series.diff), and what was counted laid over it. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping

from harness.formats.gcov import Coverage
from harness.model.changed import ChangedFile, Line, Ran

FILE = "series.diff"
_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


def difference(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """A unified diff of two sets of files (text by path); empty when they are the same."""
    return "".join(f"{line}\n" for name in sorted({*old, *new}) for line in _file(name, old.get(name), new.get(name)))


def _file(name: str, old: str | None, new: str | None) -> Iterator[str]:
    before, after = ("/dev/null" if text is None else f"{side}/{name}" for side, text in (("a", old), ("b", new)))
    # Only "\n" ends a line here: a form feed within one must not shift the numbers behind it.
    one, two = ([] if not text else text.removesuffix("\n").split("\n") for text in (old, new))
    return difflib.unified_diff(one, two, before, after, lineterm="")


def read(text: str, counted: Coverage | None = None) -> tuple[ChangedFile, ...]:
    """What :func:`difference` wrote, each line with what is known of it. ``counted``: by file, as gcov counted the new
    driver; None when nobody did. Raises ValueError when it is no such diff."""
    files: list[tuple[str, list[tuple[Line, ...]]]] = []
    lines = iter(text.removesuffix("\n").split("\n") if text else [])
    for line in lines:
        if hunk := _HUNK.match(line):
            left = [int(hunk[group] or "1") for group in (1, 3)]
            files[-1][1].append(tuple(_hunk(lines, left, int(hunk[2]), files[-1][0], counted)))
            continue
        old, new = line.removeprefix("--- "), next(lines, "").removeprefix("+++ ")
        if not line.startswith("--- ") or not new:
            raise ValueError(f"neither a file nor a hunk of a diff: {line[:80]!r}")
        files.append(((old if new == "/dev/null" else new).partition("/")[2], []))
    return tuple(ChangedFile(name, tuple(hunks)) for name, hunks in files)


def _hunk(lines: Iterator[str], left: list[int], number: int, name: str, counted: Coverage | None) -> Iterator[Line]:
    """As many lines as its header says are ``left`` of the old and the new file: what they say is not looked at."""
    while left[0] > 0 or left[1] > 0:
        line = next(lines, "")
        mark = line[:1]
        if mark not in ("+", "-", " ") or not line:
            raise ValueError(f"a hunk of {name} is cut off: {line[:80]!r}")
        left[0] -= mark in "- "
        left[1] -= mark in "+ "
        if mark == "-":
            yield Line(mark, None, line[1:])
        else:
            yield Line(mark, number, line[1:], Ran.UNKNOWN if counted is None else _ran(counted, name, number))
            number += 1


def _ran(counted: Coverage, name: str, number: int) -> Ran:
    count = counted[name].lines.get(number) if name in counted else None
    return Ran.NOT_CODE if count is None else Ran.RAN if count else Ran.NEVER
