# SPDX-License-Identifier: GPL-2.0-only
"""Reads a git (or plain unified) diff far enough to name its files, blobs and hunks.

The format is that of git-diff(1), "Generating patch text with -p". Nothing here decides whether a diff
applies: git does that. This says what a diff touches, before git is let near a tree, and puts git's words
into files and hunks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_HUNK = re.compile(rb"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@")
_INDEX = re.compile(rb"index ([0-9a-f]{4,64})\.\.([0-9a-f]{4,64})(?: (.*))?$")
_MODE = re.compile(rb"(?:old mode|new mode|new file mode|deleted file mode) (.*)$")
_OCTAL = re.compile(rb"\s*[+-]?[0-7]+(?=\s|$)")
_RENAME = re.compile(rb"(?:copy from|copy to|rename from|rename to|rename old|rename new) (.+)$")
_OLD = (b"--- ", b"copy from ", b"rename from ", b"rename old ")
MAX_NAMES = 2 * 4096 + 1
"""Two paths of any length that Linux takes, and a space between them."""
_SLASHES = re.compile(r"//+")
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


@dataclass(frozen=True)
class Hunk:
    """``start`` is the first line in the old file, ``line`` the hunk header's line in the diff (both from 1);
    ``whole`` is false when the diff ends before the hunk does. ``added`` and ``removed`` count lines."""

    start: int
    line: int
    whole: bool
    added: int
    removed: int


@dataclass
class FileDiff:
    """One file of a diff. ``old`` is None for a new file, ``new`` for a deleted one; paths have lost
    their first component (``a/``, ``b/``). Blob ids are as written, often abbreviated, None without an
    ``index`` line; all zeros stand for "no file". ``modes`` have six octal digits, however they are written. ``line``
    is where the file begins in the diff, from 1. ``spelled`` are all paths of its head: which of them count when they
    contradict each other is git's business."""

    line: int
    old: str | None = None
    new: str | None = None
    old_blob: str | None = None
    new_blob: str | None = None
    modes: tuple[str, ...] = ()
    hunks: tuple[Hunk, ...] = ()
    spelled: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The path by which a person knows the file."""
        return self.new or self.old or "?"

    @property
    def paths(self) -> frozenset[str]:
        return self.spelled | {path for path in (self.old, self.new) if path is not None}


def read_diff(diff: bytes) -> list[FileDiff]:
    """The files of a diff, in its order. Text around them (a commit message, a signature) is passed over."""
    return _Reader(diff.split(b"\n")).files()


def paths_of(files: list[FileDiff]) -> tuple[str, ...]:
    """Every path that a diff touches, sorted: both names of a rename."""
    return tuple(sorted({path for file in files for path in file.paths}))


def place_of(files: list[FileDiff], line: int) -> str:
    """Which file and hunk a line of the diff (from 1) belongs to, in words; empty if to none."""
    file = next((f for f in reversed(files) if f.line <= line), None)
    if file is None:
        return ""
    number = sum(1 for hunk in file.hunks if hunk.line <= line)
    return f"{file.name}, hunk {number}" if number else file.name


def unquote(name: bytes) -> str:
    """A path as git writes it: plain, or in double quotes with C escapes when it holds unusual bytes."""
    if len(name) >= 2 and name.startswith(b'"') and name.endswith(b'"'):
        name = re.sub(rb"\\([0-7]{3}|.)", _unescape, name[1:-1], flags=re.DOTALL)
    return name.decode("utf-8", "surrogateescape")


def _unescape(match: re.Match[bytes]) -> bytes:
    code: bytes = match.group(1)
    if len(code) == 3:
        return bytes([int(code, 8) & 0xFF])
    return _ESCAPES.get(code, code)


def _strip(name: bytes) -> str | None:
    """The path without its first component, as ``git apply -p1`` takes it; None for /dev/null."""
    if name == b"/dev/null":
        return None
    text = unquote(name)
    return _squashed(text.split("/", 1)[1] if "/" in text else text)


def _squashed(path: str) -> str:
    """Several slashes are one, as git takes them."""
    return _SLASHES.sub("/", path)


def _halves(rest: bytes) -> tuple[bytes, bytes] | None:
    """The two names of a ``diff --git`` line. Unquoted names may hold spaces; then both are the same path, or
    other lines name them."""
    if rest.startswith(b'"'):
        match = re.match(rb'("(?:[^"\\]|\\.)*") (.+)$', rest)
        return (match.group(1), match.group(2)) if match else None
    if len(rest) > MAX_NAMES:
        return None
    for match in re.finditer(rb" ", rest):
        one, two = rest[: match.start()], rest[match.end() :]
        if _strip(one) == _strip(two):
            return one, two
    return None


def _modes(text: bytes) -> tuple[str, ...]:
    """The mode that git takes from the rest of a line: by strtoul(), so of any length, and with text behind it."""
    match = _OCTAL.match(text)
    return (f"{int(match.group(), 8) & 0o177777:06o}",) if match else ()


class _Reader:
    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        if lines and not lines[-1]:
            lines.pop()
        self.at = 0

    def files(self) -> list[FileDiff]:
        found: list[FileDiff] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.startswith(b"diff --git "):
                found.append(self._git_file())
            elif self._plain_header():
                found.append(self._plain_file())
            else:
                self.at += 1
        return found

    def _plain_header(self) -> bool:
        """``--- a``, ``+++ b`` and a hunk, without the line of git before them."""
        three = self.lines[self.at : self.at + 3]
        return (
            len(three) == 3
            and three[0].startswith(b"--- ")
            and three[1].startswith(b"+++ ")
            and _HUNK.match(three[2]) is not None
        )

    def _git_file(self) -> FileDiff:
        file = FileDiff(self.at + 1)
        halves = _halves(self.lines[self.at][len(b"diff --git ") :])
        if halves:
            file.old, file.new = _strip(halves[0]), _strip(halves[1])
        spelled, modes = {file.old, file.new}, dict.fromkeys(file.modes)
        self.at += 1
        while self.at < len(self.lines) and self._extended(file, modes, self.lines[self.at].rstrip(b"\r")):
            spelled |= {file.old, file.new}
            self.at += 1
        file.spelled, file.modes = frozenset(name for name in spelled if name is not None), tuple(modes)
        return self._hunks(file)

    def _extended(self, file: FileDiff, modes: dict[str, None], line: bytes) -> bool:
        """One extended header line, or one of the names, between which git takes others; False where they end. Its
        mode goes to ``modes``."""
        if match := _INDEX.match(line):
            file.old_blob, file.new_blob = match.group(1).decode(), match.group(2).decode()
            modes |= dict.fromkeys(_modes(match.group(3) or b""))
        elif match := _MODE.match(line):
            modes |= dict.fromkeys(_modes(match.group(1)))
            if line.startswith(b"new file"):
                file.old = None
            elif line.startswith(b"deleted"):
                file.new = None
        elif match := _RENAME.match(line):
            setattr(file, "old" if line.startswith(_OLD) else "new", _squashed(unquote(match.group(1))))
        elif line.startswith((b"--- ", b"+++ ")):
            setattr(file, "old" if line.startswith(_OLD) else "new", _strip(_name(line)))
        else:
            return line.startswith((b"similarity index", b"dissimilarity index"))
        return True

    def _plain_file(self) -> FileDiff:
        file = FileDiff(self.at + 1)
        file.old, file.new = (_strip(_name(line)) for line in self.lines[self.at : self.at + 2])
        self.at += 2
        return self._hunks(file)

    def _hunks(self, file: FileDiff) -> FileDiff:
        hunks = []
        while self.at < len(self.lines) and (match := _HUNK.match(self.lines[self.at])):
            hunks.append(self._hunk(match))
        file.hunks = tuple(hunks)
        return file

    def _hunk(self, header: re.Match[bytes]) -> Hunk:
        start, line = int(header.group(1)), self.at + 1
        old, new = (int(header.group(n) or b"1") for n in (2, 4))
        added = removed = 0
        self.at += 1
        while (old > 0 or new > 0) and self.at < len(self.lines):
            kind = self.lines[self.at][:1]
            if kind not in (b" ", b"+", b"-", b"\\", b"", b"\r"):
                break
            old -= kind in (b" ", b"-", b"", b"\r")
            new -= kind in (b" ", b"+", b"", b"\r")
            added += kind == b"+"
            removed += kind == b"-"
            self.at += 1
        if self.at < len(self.lines) and self.lines[self.at].startswith(b"\\"):
            self.at += 1
        whole = (old <= 0 and new <= 0) or self.at < len(self.lines)
        return Hunk(start, line, whole, added, removed)


def _name(line: bytes) -> bytes:
    """The path of a ``---`` or ``+++`` line: up to a tab, after which other tools write a date."""
    rest = line[4:].rstrip(b"\r")
    return rest if rest.startswith(b'"') else rest.split(b"\t", 1)[0]
