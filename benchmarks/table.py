# SPDX-License-Identifier: GPL-2.0-only
"""What was measured, beside what it is compared with: a table for people, JSON for the rest. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Row:
    """``seconds`` of something of ours; ``beside`` is what it is compared with, and takes ``other`` seconds. Where
    there are targets, ``most`` is the highest number of seconds, ``most_of`` the highest share of ``other``."""

    what: str
    seconds: float
    beside: str = ""
    other: float = 0.0
    most: float | None = None
    most_of: float | None = None

    @property
    def ratio(self) -> float | None:
        return self.seconds / self.other if self.other else None

    @property
    def met(self) -> bool | None:
        """Whether every target is met; None without any."""
        held = []
        if self.most is not None:
            held.append(self.seconds <= self.most)
        if self.most_of is not None and self.ratio is not None:
            held.append(self.ratio <= self.most_of)
        return all(held) if held else None

    def as_json(self) -> dict[str, object]:
        return {
            "what": self.what,
            "seconds": round(self.seconds, 3),
            "beside": self.beside,
            "other_seconds": round(self.other, 3),
            "ratio": self.ratio and round(self.ratio, 3),
            "most_seconds": self.most,
            "most_ratio": self.most_of,
            "met": self.met,
        }


def middle(seconds: Sequence[float]) -> float:
    """The median: one slow moment of the machine must not decide."""
    return float(median(seconds))


def render(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = ["| what | seconds | beside | seconds | ratio | target |", "|---|---:|---|---:|---:|---|"]
    for row in rows:
        other = f"{row.other:.2f}" if row.other else ""
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        lines.append(f"| {row.what} | {row.seconds:.2f} | {row.beside} | {other} | {ratio} | {_target(row)} |")
    return "\n".join(lines) + "\n"


def _target(row: Row) -> str:
    words = [f"{row.most:g} s"] if row.most is not None else []
    words += [f"ratio {row.most_of:g}"] if row.most_of is not None else []
    return f"{' and '.join(words)}: {'met' if row.met else 'MISSED'}" if words else ""
