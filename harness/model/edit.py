# SPDX-License-Identifier: GPL-2.0-only
"""A change of the source by pattern: what a project can keep without keeping a line of the kernel's code."""

from __future__ import annotations

import re
from dataclasses import dataclass


class DoesNotFit(ValueError):
    """The code has not, or not once, what an edit replaces; the message says what is missing."""


@dataclass(frozen=True)
class Edit:
    """In ``function`` of ``file`` (relative to the tree) what the pattern ``replace`` finds becomes ``by``, which may
    use groups as :func:`re.sub` does. It must be found exactly once."""

    file: str
    function: str
    replace: str
    by: str

    def applied(self, text: str) -> str:
        """The file's text after the edit. Raises :class:`DoesNotFit`."""
        start, end = body_of(self.function, text)
        new, count = re.subn(self.replace, self.by, text[start:end])
        if count != 1:
            raise DoesNotFit(f"{self.file}: {self.function}() has {self.replace!r} {count} times, not once")
        return text[:start] + new + text[end:]

    def lines(self, text: str) -> tuple[range, range]:
        """The lines (from 1) of the function and, of these, what is replaced. Raises :class:`DoesNotFit`."""
        start, end = body_of(self.function, text)
        found = re.search(self.replace, text[start:end])
        if found is None:
            raise DoesNotFit(f"{self.file}: {self.function}() has no {self.replace!r}")
        return _lines(text, start, end), _lines(text, start + found.start(), start + found.end())


@dataclass(frozen=True)
class Edits:
    """Edits that belong together: all fit, or none is made. ``optional``: a tree they do not fit stays as it is."""

    name: str
    title: str
    edits: tuple[Edit, ...]
    optional: bool = False


def _lines(text: str, start: int, end: int) -> range:
    return range(text.count("\n", 0, start) + 1, text.count("\n", 0, max(start, end - 1)) + 2)


def body_of(function: str, text: str) -> tuple[int, int]:
    """Where a function stands in C source in the kernel's style: from its type to the brace in the first column."""
    for found in re.finditer(rf"^(?:[A-Za-z_][\w\s*]*[\s*])?{re.escape(function)}\(", text, re.MULTILINE):
        brace, semicolon = text.find("\n{", found.end()), text.find(";", found.end())
        end = text.find("\n}", found.end())
        if 0 <= brace < end and not 0 <= semicolon < brace:
            return found.start(), end + 2
    raise DoesNotFit(f"there is no function {function}()")
