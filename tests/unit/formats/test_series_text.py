# SPDX-License-Identifier: GPL-2.0-only
"""What `xdna-harness fetch` shows of a series."""

from __future__ import annotations

from harness.formats.series_text import describe
from harness.model.series import Patch, Series

PATCH = Patch("accel: one", "Ann Author <ann@example.com>", "p1@example.com", "ab" * 20, ("drv/a.c",), b"")
SERIES = Series(
    "<c@example.com>",
    "accel: two things",
    (PATCH, PATCH),
    revision=2,
    message_id="c@example.com",
    base_commit="1" * 40,
    change_id="20260515-things",
    trailers=("Reviewed-by: Rev <rev@example.com>",),
    attestation="Signed: DKIM/example.com",
    newer_revision=3,
    notes=("a note",),
)


def test_everything_that_is_known_is_shown() -> None:
    lines = describe(SERIES)
    assert lines[0] == "accel: two things (v2, 2 patches)"
    text = "\n".join(lines)
    for part in (
        "c@example.com",
        "1" * 40,
        "20260515-things",
        "Reviewed-by: Rev",
        "Signed: DKIM/example.com",
    ):
        assert part in text
    assert "v3 is there" in text
    assert "2/2 accel: one" in text
    assert f"patch-id {'ab' * 20}" in text
    assert "      drv/a.c" in lines
    assert lines[-1].strip() == "a note"


def test_what_is_not_known_is_not_shown() -> None:
    text = "\n".join(describe(Series("x.patch", "one", (PATCH,))))
    assert "base-commit" not in text
    assert "newer" not in text
    assert "one (1 patch)" in text
    assert "none checked" in text


def test_long_file_lists_are_cut() -> None:
    many = Patch("s", "a", None, "0" * 40, tuple(f"f{n}" for n in range(30)), b"")
    lines = describe(Series("x", "t", (many,)))
    assert "      and 18 more files" in lines
    assert "      f12" not in lines


def test_a_hostile_title_cannot_drive_the_terminal_or_fake_lines() -> None:
    lines = describe(Series("x", "evil\x1b[2J\nverdict: GOOD", (PATCH,)))
    assert "\x1b" not in "".join(lines)
    assert all("\n" not in line for line in lines)
    assert lines[0].startswith("evil\\x1b[2J verdict")
