# SPDX-License-Identifier: GPL-2.0-only
"""What a series changes in the driver, line by line, and which of these lines a test ran."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Ran(StrEnum):
    """What is known of a line. NOT_CODE: the compiler made nothing of it. UNKNOWN: nobody counted."""

    RAN = "ran"
    NEVER = "never ran"
    NOT_CODE = "not code"
    UNKNOWN = "not counted"


@dataclass(frozen=True)
class Line:
    """One line of a diff. ``mark`` is "+", "-" or " "; ``number`` its place in the new file, None for one that goes."""

    mark: str
    number: int | None
    text: str
    ran: Ran = Ran.UNKNOWN


@dataclass(frozen=True)
class ChangedFile:
    """A file that the series changes; ``hunks`` are the lines that do, with some around them."""

    name: str
    hunks: tuple[tuple[Line, ...], ...]

    def count(self, ran: Ran) -> int:
        """How many added lines are that."""
        return sum(line.mark == "+" and line.ran is ran for hunk in self.hunks for line in hunk)
