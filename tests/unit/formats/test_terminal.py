# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

from harness.formats.terminal import plain


def test_what_steers_a_terminal_is_left_out() -> None:
    assert (
        plain(b"\x1b[0;32m OK \x1b[0m\x1b[?7h\x1b[6n\x1b[!p\x1b]104\x1b\\\x1b]0;title\x07 \xc3\xa4 \xff\r\n")
        == " OK  ä �\n"
    )
