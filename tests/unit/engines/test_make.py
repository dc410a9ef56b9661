# SPDX-License-Identifier: GPL-2.0-only
"""A step learns from a growing log how far make is, whatever stands in it."""

from __future__ import annotations

from pathlib import Path

from harness.engines.make import MOST_AT_ONCE, _Watch
from harness.log import Step


class Heard(Step):
    """A step that keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("building")
        self.told: list[str] = []

    def update(self, text: str) -> None:
        self.told.append(text)


def test_a_line_counts_when_it_is_whole(tmp_path: Path) -> None:
    log, step = tmp_path / "log", Heard()
    watch = _Watch(log, step)
    log.write_text("  CC      a.o\n  CC      b")
    watch.look()
    log.write_text("  CC      a.o\n  CC      b.o\n")
    watch.look()
    assert step.told == ["1 files, a.o", "2 files, b.o"]


def test_what_has_no_lines_is_read_once_and_in_parts(tmp_path: Path) -> None:
    log, step = tmp_path / "log", Heard()
    watch = _Watch(log, step)
    log.write_bytes(b"x" * (2 * MOST_AT_ONCE + 5) + b"\n  CC      a.o\n")
    offsets = []
    for _ in range(4):
        watch.look()
        offsets.append(watch.offset)
    assert offsets == [MOST_AT_ONCE, 2 * MOST_AT_ONCE, log.stat().st_size, log.stat().st_size]
    assert step.told == ["1 files, a.o"]


def test_what_is_not_yet_a_line_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"x" * 100)
    watch = _Watch(tmp_path / "log", Heard())
    watch.look()
    assert watch.offset == 0
