# SPDX-License-Identifier: GPL-2.0-only
"""Whose words kernel messages are."""

from __future__ import annotations

from harness.formats.kmsg import kernel_lines


def record(text: object, level: object = 3, **more: object) -> dict[str, object]:
    return {"seq": 1, "level": level, "time": 1.5, "text": text, **more}


def test_records_of_the_kernel_are_taken_and_split_into_lines() -> None:
    assert kernel_lines([record("one"), record("two\nthree"), record("four\\x0afive")]) == [
        "one",
        "two",
        "three",
        "four",
        "five",
    ]


def test_records_of_user_space_are_dropped() -> None:
    forged = [
        record("BUG: KASAN: x", 8 + 3),
        record("BUG: KASAN: x", 3, facility=1),
        record("BUG: x", 24 * 8),
    ]
    assert kernel_lines(forged) == []


def test_records_that_are_no_records_are_dropped() -> None:
    assert kernel_lines([record(None), record("x", "err"), {}, {"text": 3}]) == []


def test_console_lines_without_a_time_stamp_are_not_the_kernels() -> None:
    text = "BUG: KASAN: x\r\n[    5.123456] yes\r\n# prompt [   6.000001] too\n"
    assert kernel_lines(f"{text}<4>[12.000000][  T123] more\n[soon] no\n") == ["yes", "too", "more"]


def test_escape_codes_and_control_characters_do_not_pass() -> None:
    lines = kernel_lines("\x1b[2J\x1b]0;title\x07[    1.000000] \x1b[31mred\x1b[0m \x00\x9b\u202e.\n")
    assert lines == ["red \\x00\\x9b\\x202e."]


def test_endless_lines_are_cut() -> None:
    assert len(kernel_lines([record("x" * 100_000)])[0]) == 2000
