# SPDX-License-Identifier: GPL-2.0-only
"""Lines of the trace points mbox_set_tail and mbox_set_head into messages.

    python3-312 [001] ..... 4.567890: mbox_set_tail: xdna_mailbox.53.1 id 0x1d000001 opcode 0x103

What is in front of the event depends on the kernel's options; behind it is include/trace/events/amdxdna.h's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from harness.model.told import Message

_LINE = re.compile(r" (mbox_set_tail|mbox_set_head): (\S+) id (0x[0-9a-f]+) opcode (0x[0-9a-f]+)")


def messages(lines: Iterable[str]) -> tuple[Message, ...]:
    """What was said, in order. Channels are numbered in the order in which they first speak: their own numbers are
    interrupts, which differ between machines."""
    channels: dict[str, int] = {}
    found = []
    for line in lines:
        if told := _LINE.search(line):
            channel = channels.setdefault(told[2], len(channels))
            found.append(Message(channel, told[1] == "mbox_set_tail", int(told[4], 16)))
    return tuple(found)
