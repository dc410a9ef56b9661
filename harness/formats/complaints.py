# SPDX-License-Identifier: GPL-2.0-only
"""Reads what static checkers print: gcc, clang, sparse, smatch, modpost, checkpatch, coccinelle, kernel-doc. Pure.

Shapes as gcc 12, clang 19, sparse 0.6.4, coccinelle 1.1.1 and the scripts of Linux 7.3 print them. That holds words of
a stranger's patch: it is quoted, never trusted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from harness.model.complaint import Complaint

MOST_TEXT = 400
_PREFIXES = ("/src/", "/build/", "./")
_COMPILER = re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+):(?:\d+:)? (?P<text>(?:warning|(?:fatal )?error): .+)")
_SMATCH = re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+) (?P<text>\w+\(\) (?:warn|error|info|warning): .+)")
_MODPOST = re.compile(r"WARNING: modpost: (?:(?P<file>[^\s:]+): )?(?P<text>.+)")
_CHECKPATCH = re.compile(r"(?P<file>\S*?):(?P<line>\d+): (?P<level>ERROR|WARNING|CHECK):(?P<text>[A-Z0-9_]+: .+)")
_OF_A_MAIL = re.compile(r"^\w*(?:SIGN_OFF|COMMIT_MESSAGE|NOT_UNIFIED_DIFF)\w*:")
_COCCINELLE = re.compile(r"(?P<file>[^\s:]+):(?P<line>\d+):\d+-\d+: (?P<text>.+)")
_KERNEL_DOC = re.compile(r"(?P<kind>Warning|Error|Info): (?P<file>[^\s:]+):(?P<line>\d+):? (?P<text>.+)")
_LINES = re.compile(r"\b([Ll]ines?) \d+(?:-\d+)?")


def compiler(printed: str) -> tuple[Complaint, ...]:
    """Warnings and errors of gcc, clang and sparse. A header's is one, however many files include it."""
    return _found(_COMPILER, printed)


def smatch(printed: str) -> tuple[Complaint, ...]:
    """What smatch prints on top of what a compiler would say."""
    return _found(_SMATCH, printed) + compiler(printed)


def modpost(printed: str) -> tuple[Complaint, ...]:
    return _found(_MODPOST, printed)


def checkpatch(printed: str) -> tuple[Complaint, ...]:
    """``checkpatch.pl --terse --showfile --show-types``. What is about a mail and no file of it has no file; what it
    finds missing at a mail's end it places in the last file."""
    found = _found(_CHECKPATCH, printed)
    return tuple(replace(c, file="", line=0) if not c.file or _OF_A_MAIL.search(c.text) else c for c in found)


def coccinelle(printed: str) -> tuple[Complaint, ...]:
    """Reports of semantic patches (MODE=report)."""
    return _found(_COCCINELLE, printed)


def kernel_doc(printed: str) -> tuple[Complaint, ...]:
    """``kernel-doc -none -Wall``; a line that begins with " * " goes on with the one before."""
    whole: list[str] = []
    for line in printed.splitlines():
        if line.startswith(" *") and whole:
            whole[-1] += f" {line.removeprefix(' *').strip()}"
        else:
            whole.append(line)
    return _found(_KERNEL_DOC, "\n".join(whole))


def _found(pattern: re.Pattern[str], printed: str) -> tuple[Complaint, ...]:
    """Each place once, in the order of the output."""
    seen = dict.fromkeys(_matches(pattern, printed.splitlines()))
    return tuple(Complaint(*one) for one in seen)


def _matches(pattern: re.Pattern[str], lines: Iterable[str]) -> Iterator[tuple[str, str, int, str]]:
    for line in lines:
        if match := pattern.fullmatch(line.rstrip()):
            found = match.groupdict()
            text = _LINES.sub(r"\1 N", found["text"])[:MOST_TEXT]
            yield _relative(found["file"] or ""), text, int(found.get("line") or 0), found.get("level") or ""


def _relative(file: str) -> str:
    for prefix in _PREFIXES:
        if file.startswith(prefix):
            return file.removeprefix(prefix)
    return "" if file in ("-", "mail") else file
