# SPDX-License-Identifier: GPL-2.0-only
"""Text from mails and consoles, for a page: what a reader cannot see, or what would turn the text around, is named."""

from __future__ import annotations

NAMED = "⟨U+{:04X}⟩"


def visible(text: str) -> str:
    """``text`` with every control, format, bidi and surrogate character as ``⟨U+202E⟩``. Newlines and tabs stay; so
    does a line's end as a console has it, but as a plain newline. Escaping markup is the template's business."""
    text = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else NAMED.format(ord(c)) for c in text)


def flat(text: str) -> str:
    """``text`` on one line: what came in a mail must not pass for a paragraph of ours."""
    return " ".join(text.split())
