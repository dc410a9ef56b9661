# SPDX-License-Identifier: GPL-2.0-only
"""Frames of kernel stacks with file and line: read out of messages, written beside them, kept in a run's folder. Pure.

    <lane>/frames.json    [{"frame": "f+0x1f/0x80 [amdxdna]", "exact": false,
                            "places": [{"function": "f", "file": "drivers/accel/amdxdna/x.c", "line": 12}]}]

Several places are inlined functions, the innermost first.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping, Sequence

from harness.model.frame import Frame, Place

FILE = "frames.json"
Lines = Mapping[Frame, Sequence[Place]]

_STAMP = r"(?:\[ *\d+\.\d+\](?: ?\[ *[TC]\d+\])? ?)?"
_SYMBOL = r"([A-Za-z_][\w.$]*)\+0x([0-9a-f]{1,8})/0x([0-9a-f]{1,8})(?: \[([\w-]+)[^\]]*\])?"
_FRAME = re.compile(rf"{_STAMP}(?:(RIP: [0-9a-f]{{4}}:)|(?:kmemleak: )?\s*){_SYMBOL}\s*$")
"""Not those with a ``?``, which the unwinder does not believe."""
_ADDRESS = re.compile(r"0x[0-9a-f]{8,16}$")
_PLACE = re.compile(r"(.+):(\d+)(?: \(discriminator \d+\))?$")


def frame_of(line: str) -> Frame | None:
    """The frame that a line shows, if it is one: of a stack, or an instruction pointer's."""
    found = _FRAME.match(line)
    if found is None:
        return None
    exact, function, offset, size, module = found.groups()
    return Frame(function, int(offset, 16), int(size, 16), module or "", exact is not None)


def frames_in(text: str) -> list[Frame]:
    """The frames of all stacks in a text, in its order."""
    return [frame for line in text.split("\n") if (frame := frame_of(line))]


def annotated(text: str, lines: Lines) -> str:
    """The text with what is known of each frame behind it, as the kernel's decode_stacktrace.sh has it:
    ``f+0x1f/0x80 [amdxdna] (include/linux/x.h:7 drivers/accel/amdxdna/x.c:12)``."""
    return "\n".join(_annotated(line, lines) for line in text.split("\n")) if lines else text


def _annotated(line: str, lines: Lines) -> str:
    frame = frame_of(line)
    places = lines.get(frame, ()) if frame else ()
    return f"{line.rstrip()} ({' '.join(map(str, places))})" if places else line


def addr2line(printed: str, prefixes: Mapping[str, str]) -> dict[int, tuple[Place, ...]]:
    """What ``addr2line -a -f -i`` printed, by address. ``prefixes``: folders that files are in, and what stands for
    each instead; a file elsewhere is left out, and what it does not know."""
    found: dict[int, list[Place]] = {}
    here: list[Place] = []
    function = ""
    for line in printed.splitlines():
        if _ADDRESS.match(line):
            here, function = found.setdefault(int(line, 16), []), ""
        elif not function:
            function = line
        else:
            here += _places(function, line, prefixes)
            function = ""
    return {address: tuple(places) for address, places in found.items()}


def _places(function: str, line: str, prefixes: Mapping[str, str]) -> list[Place]:
    place = _PLACE.match(line)
    if place is None or place[2] == "0":
        return []
    path = posixpath.normpath(place[1])
    inside = next((new + path.removeprefix(old) for old, new in prefixes.items() if path.startswith(old)), "")
    return [Place(function, inside, int(place[2]))] if inside else []


def dump(lines: Lines) -> str:
    """frames.json."""
    rows = [
        {"frame": str(frame), "exact": frame.exact, "places": [vars(place) for place in places]}
        for frame, places in lines.items()
    ]
    return json.dumps(rows, indent=1) + "\n"


def load(text: str) -> dict[Frame, tuple[Place, ...]]:
    """What :func:`dump` wrote. ValueError or KeyError: it is something else."""
    found = {}
    for row in json.loads(text):
        frame = frame_of(("RIP: 0010:" if row["exact"] else "") + row["frame"])
        if frame is None:
            raise ValueError(f"not a frame: {row['frame']!r}")
        found[frame] = tuple(Place(str(p["function"]), str(p["file"]), int(p["line"])) for p in row["places"])
    return found
