# SPDX-License-Identifier: GPL-2.0-only
"""Reads what ``gcov --json-format`` prints (gcc 9 and later), sums it over guests, and says what never ran: pure.

A line that stands in several functions or files of one guest, or in several guests, has the sum of its counts. Only
how often is summed: a guest that starts from a saved driver has counted its probe as every other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

FOLDER = "drivers/accel/amdxdna"


@dataclass
class FileCounts:
    """One source file: how often each line and each function ran; ``spans`` are a function's first and last line."""

    lines: dict[int, int] = field(default_factory=dict)
    functions: dict[str, int] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def run(self) -> int:
        """How many lines ran."""
        return sum(1 for count in self.lines.values() if count)

    @property
    def percent(self) -> float:
        return 100.0 * self.run / len(self.lines) if self.lines else 0.0

    def never(self) -> list[int]:
        """The lines that never ran."""
        return sorted(number for number, count in self.lines.items() if not count)

    def never_called(self) -> list[str]:
        """The functions that never ran, in the order of the file."""
        return sorted((n for n, count in self.functions.items() if not count), key=lambda name: self.spans[name])


Coverage = dict[str, FileCounts]
"""By the file's path in the kernel's tree."""
Added = Mapping[str, Sequence[int]]
"""Lines that a series adds, by file."""


def read(documents: Iterable[str]) -> Coverage:
    """The sum of gcov's documents. Files outside of the driver's folder are left out. ValueError: not gcov's JSON."""
    total: Coverage = {}
    for text in documents:
        for entry in json.loads(text)["files"]:
            name = _driver_file(str(entry["file"]))
            if name:
                _add(total.setdefault(name, FileCounts()), entry)
    return total


def _driver_file(path: str) -> str:
    """The path in the kernel's tree, or empty."""
    _, found, rest = path.partition(f"{FOLDER}/")
    return f"{FOLDER}/{rest}" if found else ""


def _add(counts: FileCounts, entry: Mapping[str, Any]) -> None:
    for line in entry["lines"]:
        number = int(line["line_number"])
        counts.lines[number] = counts.lines.get(number, 0) + int(line["count"])
    for function in entry["functions"]:
        name = str(function["name"])
        counts.functions[name] = counts.functions.get(name, 0) + int(function["execution_count"])
        counts.spans[name] = (int(function["start_line"]), int(function["end_line"]))


def ranges(numbers: Sequence[int]) -> str:
    """Sorted numbers, short: ``3-5, 9``."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def merged(runs: Sequence[Coverage]) -> Coverage:
    """The sum of several runs of one driver. ValueError: a file has other lines in another run."""
    total: Coverage = {}
    for run in runs:
        for name, counts in run.items():
            into = total.setdefault(name, FileCounts(dict.fromkeys(counts.lines, 0), {}, dict(counts.spans)))
            if into.lines.keys() != counts.lines.keys():
                raise ValueError(f"{name} is not the same in all runs")
            for number, count in counts.lines.items():
                into.lines[number] += count
            for function, count in counts.functions.items():
                into.functions[function] = into.functions.get(function, 0) + count
    return total


def gained(first: Coverage, total: Coverage) -> list[str]:
    """The lines that ran in later runs only, a row for each file."""
    rows = []
    for name, counts in sorted(total.items()):
        before = first[name].lines if name in first else {}
        more = sorted(n for n, count in counts.lines.items() if count and not before.get(n))
        if more:
            rows.append(f"only in later runs: {name.removeprefix(f'{FOLDER}/')}: {ranges(more)}")
    return rows


def lines_never_run(coverage: Coverage) -> list[str]:
    """A row for each file of which something ran."""
    found = {name.removeprefix(f"{FOLDER}/"): c.never() for name, c in sorted(coverage.items()) if c.run}
    return [f"never ran: {name}: {ranges(never)}" for name, never in found.items() if never]


def table(coverage: Coverage) -> list[str]:
    """For people: lines, run and per cent of each file, and below it the functions that never ran."""
    rows = [f"{'file':<32}{'lines':>7}{'run':>7}{'%':>8}"]
    for name, counts in sorted(coverage.items()):
        short = name.removeprefix(f"{FOLDER}/")
        rows.append(f"{short:<32}{len(counts.lines):>7}{counts.run:>7}{counts.percent:>8.1f}")
        if counts.run and (never := counts.never_called()):
            rows.append(f"    never ran: {', '.join(never)}")
    return rows


def added(old: str, new: str) -> list[int]:
    """The numbers of the lines of ``new`` that ``old`` does not have in that place, as the compiler counts them: a form
    feed ends no line."""
    blocks = SequenceMatcher(None, old.split("\n"), new.split("\n"), autojunk=False).get_opcodes()
    return [
        number + 1 for tag, _, _, first, end in blocks if tag in ("insert", "replace") for number in range(first, end)
    ]


def describe(coverage: Coverage, lost: Sequence[str], new: Added) -> list[str]:
    """For people: the table, what of the series' own lines never ran, and whose counts are missing."""
    rows = table(coverage)
    for name, numbers in sorted(new.items()):
        code, never = _own(coverage, name, numbers)
        if code:
            rest = f"; never: {ranges(never)}" if never else ""
            rows.append(f"added by the series: {name}: {len(code) - len(never)} of {len(code)} lines ran{rest}")
    if lost:
        rows.append(f"without what these counted, which took their guest along: {', '.join(lost)}")
    return rows


def own_lines(coverage: Coverage, new: Added) -> tuple[int, int]:
    """How many of the lines of code that a series adds were run, and how many there are."""
    found = [_own(coverage, name, numbers) for name, numbers in new.items()]
    lines = sum(len(code) for code, _ in found)
    return lines - sum(len(never) for _, never in found), lines


def _own(coverage: Coverage, name: str, numbers: Sequence[int]) -> tuple[list[int], list[int]]:
    """Of a file's lines those that are code, and of these the ones that never ran."""
    counted = coverage[name].lines if name in coverage else {}
    code = [number for number in numbers if number in counted]
    return code, [number for number in code if not counted[number]]


def dump(coverage: Coverage, lost: Sequence[str] = (), new: Added | None = None) -> str:
    """coverage.json: counts by file, the tests whose counts went with their guest, and the lines that the series
    adds."""
    files = {
        name: {"lines": c.lines, "functions": c.functions, "spans": c.spans} for name, c in sorted(coverage.items())
    }
    return json.dumps({"files": files, "lost": list(lost), "added": dict(new or {})}, indent=1)


def load(text: str) -> tuple[Coverage, list[str], Added]:
    """What :func:`dump` wrote."""
    data = json.loads(text)
    found = {
        name: FileCounts(
            {int(number): int(count) for number, count in entry["lines"].items()},
            {str(f): int(count) for f, count in entry["functions"].items()},
            {str(f): (int(span[0]), int(span[1])) for f, span in entry["spans"].items()},
        )
        for name, entry in data["files"].items()
    }
    return found, list(data["lost"]), dict(data["added"])
