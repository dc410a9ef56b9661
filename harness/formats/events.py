# SPDX-License-Identifier: GPL-2.0-only
"""The run's own records: one JSON line per event, the only primary truth.

Events of a lane (``<lane>/<variant>/results.jsonl``), in the order in which they happened; those of a guest have
``at``, seconds of the host's clock since the boot began:

    stage        id, outcome, evidence, seconds, console            apply, build, boot, probe
    boot         boot, attempt, group, start                        a guest is started for a group of tests ("": all);
                 naming: its tests (those in tests) have answered, and only run again to see which of them lose memory
    suite-start  boot, attempt, tests, kmsg                         the guest's own list of test ids; gcov: see test-end
    test-start   boot, attempt, id, kmsg, outside (counters)        the test is LOST from here on until it reports
    test-end     boot, attempt, id, outcome, phase, text, duration, kmsg, counters, outside, measures;
                 outside: npu.contexts, and the largest heap of one context meanwhile: npu.heap (bytes), npu.chunks;
                 disarmed: detectors that were off when it began, silenced: those it switched off;
                 spoiled: it failed, and its guest is of no use to others;
                 series: what sensors said by name: unit, every (s), values;
                 gcov: .gcda files by name (deflated, base64), if the driver counts and each test is asked for it
                 calls: [name, 0 or -errno], and mailbox: lines of the driver's trace points, or deaf: why there are
                 none, if the run is traced
    lost         boot, attempt, id, outcome (LOST|ERROR), evidence, console   written by the host
                 in which the kernel died, or behind which; boot/kernel-log: before a guest's first
                 test, in a boot that is not named
    fault        boot, attempt, what                                the emulation, not the kernel, went wrong
    stopped                                                         we ended the lane before it had all its answers
    unlooked     attempt, group, tests, why                         kmemleak could not look at these tests
    suite-end    boot, attempt, status, text, kmsg; unreferenced, since: what kmemleak found, and from which jiffies on;
                 id: whose the messages are, if that is known
    driver       kernel, module, digest                             whose answers these are
    taken-up                                                        another process goes on with the lane
    reused       run                                                what follows was answered in an earlier run

Guests run side by side: their events are told apart by ``boot``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.formats.splat import find_splats

Event = Mapping[str, Any]


def read_events(text: str) -> list[dict[str, Any]]:
    """Parse a record file; a last line that was cut off by a kill is dropped, any other bad line is an error."""
    lines = text.splitlines()
    events = []
    for number, line in enumerate(lines):
        try:
            events.append(json.loads(line))
        except ValueError:
            if number != len(lines) - 1:
                raise ValueError(f"line {number + 1} is not JSON: {line[:80]!r}") from None
    return events


def load_events(path: Path) -> list[dict[str, Any]]:
    """The events of a record file, none if there is no file. Raises ValueError, naming the file and line."""
    try:
        return read_events(path.read_text(errors="replace")) if path.exists() else []
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def by_boot(events: Iterable[Event]) -> list[Event]:
    """The events with those of each guest together, guests in the order in which they began."""
    first: dict[object, int] = {}
    placed = []
    for number, event in enumerate(events):
        place = first.setdefault(event["boot"], number) if "boot" in event else number
        placed.append((place, number, event))
    return [event for _, _, event in sorted(placed, key=lambda entry: entry[:2])]


def reported(events: Iterable[Event], attempt: int) -> set[str]:
    """The tests that need not be asked again in this attempt: they reported, or the host called them lost, and nobody
    doubted that since. One during which the kernel complained is not asked until it no longer does."""
    done: set[str] = set()
    naming: set[object] = set()  # who runs there has reported
    for event in events:
        if event.get("event") == "boot" and event.get("naming"):
            naming.add(event["boot"])
        if event.get("attempt") != attempt or event.get("boot") in naming:
            continue
        kind, test = event.get("event"), str(event.get("id", ""))
        if kind == "fault":
            done.discard(test)
        elif kind in ("test-end", "lost") and (event.get("outcome") != "ERROR" or _complained(event)):
            done.add(test)
    return done


def _complained(event: Event) -> bool:
    return bool(find_splats(str(event.get("console", ""))))
