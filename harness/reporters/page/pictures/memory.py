# SPDX-License-Identifier: GPL-2.0-only
"""Heap and memory over a run: test after test, as wide as it took, the heap that it had and what it left behind."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from harness.model.memory import Held
from harness.reporters.page.pictures.svg import element, picture, title

MIB = 1 << 20
CHUNK = 64 * MIB
WIDTH, HEIGHT = 1000.0, 96.0
LEFT_HEIGHT = 28.0
LEAST_SECONDS = 0.1
"""What a test is at least drawn as: one that takes no time has a heap, too."""


def widths(tests: Sequence[Held]) -> list[tuple[float, float]]:
    """Where each test begins, and how wide it is."""
    seconds = [max(test.seconds, LEAST_SECONDS) for test in tests]
    whole, at, found = sum(seconds) or 1.0, 0.0, []
    for one in seconds:
        found.append((at * WIDTH / whole, one * WIDTH / whole))
        at += one
    return found


def heap(lane: str, tests: Sequence[Held], top: int) -> Markup:
    """Bars as high as the largest heap of one context in firmware; ``top`` bytes fill the picture."""
    bars = [
        element(
            "rect",
            title(f"{test.test}: {test.heap // MIB} MiB in {test.chunks} chunk(s), {test.seconds:.1f} s"),
            class_="heap",
            x=x,
            y=HEIGHT * (1 - test.heap / top),
            width=wide,
            height=HEIGHT * test.heap / top,
        )
        for test, (x, wide) in zip(tests, widths(tests), strict=True)
        if test.heap
    ]
    lines = [element("path", class_="rule", d=f"M0 {HEIGHT * n / 4}H{WIDTH}") for n in (1, 2, 3)]
    most = max(tests, key=lambda test: test.heap or 0)
    size = (most.heap or 0) // MIB
    label = f"{lane}: the heap of {len(tests)} tests, one after the other; at most {size} MiB, in {most.test}"
    return picture(label, WIDTH, HEIGHT, *lines, *bars, stretch=True)


def left(lane: str, tests: Sequence[Held], what: str) -> tuple[int, Markup]:
    """What is there after each test and was not before it, ``shmem`` or ``used``: up is more. Where all is well this is
    a line. With it the bytes that fill the picture, either way."""
    values = [int(getattr(test, what) or 0) for test in tests]
    top = max(CHUNK, *(abs(value) for value in values))
    middle = LEFT_HEIGHT / 2
    bars = [
        element(
            "rect",
            title(f"{test.test}: {value / MIB:+.1f} MiB"),
            class_="left",
            x=x,
            y=middle - max(value, 0) * middle / top,
            width=wide,
            height=abs(value) * middle / top,
        )
        for test, value, (x, wide) in zip(tests, values, widths(tests), strict=True)
        if abs(value) >= MIB
    ]
    line = element("path", class_="rule", d=f"M0 {middle}H{WIDTH}")
    label = f"{lane}: {max(values) / MIB:+.1f} MiB at most after a test over before it"
    return top, picture(label, WIDTH, LEFT_HEIGHT, line, *bars, stretch=True)


def room(label: str, heap: float, live: float, most: float, largest: float, top: float) -> Markup:
    """A heap of ``heap`` bytes where ``top`` fill the picture: what is ``live``, what is free in pieces, the largest
    piece that is free, and as a line the ``most`` that was in use at once."""
    parts = (("used", live), ("free", max(heap - live - largest, 0.0)), ("largest", largest))
    at, bars = 0.0, []
    for tone, size in parts:
        bars.append(element("rect", class_=tone, x=100 * at / top, y=0, width=100 * size / top, height=12))
        at += size
    needle = element("path", class_="needle", d=f"M{100 * most / top:.2f} 0V12")
    return picture(label, 100, 12, *bars, needle, stretch=True)
