# SPDX-License-Identifier: GPL-2.0-only
"""What make wrote: the first error, warnings, and whether it was the machine that failed.

Shapes as gcc 12, binutils 2.40, GNU make 4.3 and the kernel's modpost, objtool and kconfig (7.3) write them.
The log of a stranger's patch is hostile text: nothing here trusts it further than to quote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SOURCE_PREFIXES = ("/src/", "./")
MAX_LINE = 2048
"""Of a longer line the beginning is read: patterns may take the square of what they are shown."""


@dataclass(frozen=True)
class BuildError:
    """``tool`` is gcc, as, ld, modpost, objtool, kconfig or make; ``file`` is relative to the tree, empty if
    none is named; ``line`` is 0 then, too."""

    tool: str
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.line else f"{self.file}: " if self.file else ""
        return f"{place}{self.text}"


@dataclass(frozen=True)
class BuildWarning:
    """A warning without line numbers, so that the same one can be found in another build."""

    file: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}: {self.text}" if self.file else self.text


_ERRORS = (
    ("gcc", re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+):(?:\d+:)? (?:fatal )?error: (?P<text>.+)")),
    ("as", re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+): Error: (?P<text>.+)")),
    ("kconfig", re.compile(r"(?P<file>(?>[^\s:]*Kconfig)[^\s:/]*):(?P<line>\d+):(?:warning: )?\s*(?P<text>.+)")),
    ("make", re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+): \*\*\* (?P<text>.+?)(?:  Stop\.)?")),
    (
        "ld",
        re.compile(r"(?:\S*ld: )?(?:(?P<file>[^\s:(]+):)?(?:\(\S+\):)? (?P<text>undefined reference to .+)"),
    ),
    ("ld", re.compile(r"\S*ld: (?:(?P<file>[^\s:]+): )?(?P<text>(?!.*in function).+)")),
    ("modpost", re.compile(r"ERROR: modpost: (?:(?P<file>[^\s:]+): )?(?P<text>.+)")),
    ("objtool", re.compile(r"(?P<file>[^\s:]+): error: objtool: (?P<text>.+)")),
    ("make", re.compile(r"make(?:\[\d+\])?: \*\*\* (?P<text>No rule to make target .+?)(?:  Stop\.)?")),
)
_GCC_OWN = re.compile(r"(?:gcc|cc1|as|collect2)\S*: (?:fatal )?error: (?P<text>.+)")
_FAILED_TARGET = re.compile(r"make(?:\[\d+\])?: \*\*\* (?P<text>\[.+\] (?:Error|Segmentation|Aborted).*)")
_MACHINE = (
    (re.compile(r"No space left on device"), "the disk is full"),
    (re.compile(r"Disk quota exceeded"), "the disk quota is used up"),
    (re.compile(r"File size limit exceeded|File too large"), "a file grew over the sandbox's limit"),
    (
        re.compile(r"virtual memory exhausted|out of memory|memory exhausted|Cannot allocate memory"),
        "no memory",
    ),
    (re.compile(r"^(?>.*?fork: ).*Resource temporarily unavailable|: Cannot fork\b"), "too many processes"),
    (re.compile(r"(?:signal terminated program|Killed|Terminated)\b"), "a process was killed"),
)
_SKEW = re.compile(r"^make(?:\[\d+\])?: (?:Warning: File |warning:  Clock skew detected)", re.MULTILINE)
_UNCLEAN = re.compile(r"\*\*\* The source tree is not clean")
_GCC_WARNING = re.compile(r"(?P<file>[^\s:]+):\d+:(?:\d+:)? warning: (?P<text>.+)")
_TOOL_WARNING = re.compile(r"WARNING: modpost: (?:(?P<file>[^\s:]+): )?(?P<text>.+)")
_OBJTOOL_WARNING = re.compile(r"(?P<file>[^\s:]+): warning: objtool: (?P<text>.+)")
_OFFSET = re.compile(r"\+0x[0-9a-f]+|\b0x[0-9a-f]+\b")
_STEP = re.compile(r"^  [A-Z]+ +(?:\[M\] +)?(?P<what>\S+)", re.MULTILINE)


def first_error(log: str) -> BuildError | None:
    """The first thing that went wrong, which is what its author wants to see; None if the log has no
    error."""
    fallback = None
    for line in _lines(log):
        for tool, pattern in _ERRORS:
            if match := pattern.fullmatch(line):
                found = match.groupdict()
                return BuildError(tool, _relative(found.get("file")), int(found.get("line") or 0), found["text"])
        if match := _GCC_OWN.fullmatch(line):
            return BuildError("gcc", "", 0, match["text"])
        if fallback is None and (match := _FAILED_TARGET.fullmatch(line)):
            fallback = BuildError("make", "", 0, match["text"])
    return fallback


def machine_failure(log: str) -> str | None:
    """What the machine lacked, if the build failed for that: then nobody's patch is to blame.

    Lines that point into the source do not count: an ``#error`` may say anything.
    """
    for line in _lines(log):
        if _ERRORS[0][1].fullmatch(line) and not line.startswith("/tmp/"):
            continue
        if line.startswith("  "):
            continue  # make's progress and gcc's quotations of the source
        for pattern, what in _MACHINE:
            if pattern.search(line):
                return what
    return None


def clock_is_skewed(log: str) -> bool:
    """Whether make saw files that are from the future: what it left alone may be older than what it is made from."""
    return _SKEW.search(log) is not None


def source_is_unclean(log: str) -> bool:
    """Whether make refused because somebody built inside the source folder."""
    return _UNCLEAN.search(log) is not None


def warnings(log: str) -> tuple[BuildWarning, ...]:
    """The distinct warnings, in the order in which they came up."""
    found: dict[BuildWarning, None] = {}
    for line in _lines(log):
        for pattern in (_OBJTOOL_WARNING, _GCC_WARNING, _TOOL_WARNING):
            if match := pattern.fullmatch(line):
                text = _OFFSET.sub("", match["text"]) if pattern is _OBJTOOL_WARNING else match["text"]
                found[BuildWarning(_relative(match["file"]), text)] = None
                break
    return tuple(found)


def warnings_by_step(log: str) -> Mapping[str, tuple[str, ...]]:
    """What make made, with the warnings of each step as ``file: text``, sorted; empty for a step without. Only for a
    log in which the output of each step is together (``make -Otarget``)."""
    begins = list(_STEP.finditer(log))
    ends = [*[begin.start() for begin in begins][1:], len(log)]
    found: dict[str, set[str]] = {}
    for begin, end in zip(begins, ends, strict=False):  # one end too many without any step
        seen = found.setdefault(begin["what"], set())
        seen |= {str(warning) for warning in warnings(log[begin.start() : end])}
    return {name: tuple(sorted(seen)) for name, seen in found.items()}


def steps(log: str) -> tuple[int, str]:
    """How many files make has made so far, and the last one."""
    made = _STEP.findall(log)
    return len(made), made[-1] if made else ""


def _lines(log: str) -> Iterator[str]:
    return (line[:MAX_LINE].rstrip("\r") for line in log.split("\n"))


def _relative(file: str | None) -> str:
    for prefix in SOURCE_PREFIXES:
        if file and file.startswith(prefix):
            return file.removeprefix(prefix)
    return file or ""
