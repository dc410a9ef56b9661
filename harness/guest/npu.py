# SPDX-License-Identifier: GPL-2.0-only
"""The emulated NPU as a test sees it: script what it answers, read what it was told.

Every call is a question over the port; the host puts it to the NPU process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Entry = Mapping[str, Any]
"""One entry of the NPU's log: n, t, channel, opcode, name, id, request, status, action; or n and event."""

TROUBLE = frozenset({"heap-error", "protocol-error", "iommu-fault", "fault"})
"""Events that say that somebody made a mistake (harness/npu/README.md)."""


class Npu:
    """``ask`` is :meth:`harness.guest.port.Link.ask`."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask

    def script(self, *rules: Mapping[str, Any]) -> None:
        """Replace the rules by which messages are answered.

        A rule names an ``opcode`` ("ADD_HOST_BUFFER") and what happens to ``count`` such messages after
        ``skip`` others: ``status``, ``delay`` (s), ``drop``, ``malform``.
        """
        self._ask("npu.script", rules=list(rules))

    def speak(self, protocol: str) -> None:
        """Speak another version of the management protocol ("6.12"), or the newest (""), from firmware's next start on.

        The driver takes note of it when it probes.
        """
        self._ask("npu.protocol", version=protocol)

    def error(self, **where: int) -> bool:
        """An asynchronous error of the array at ``row``, ``col``, in ``module``, of that ``event``; each has a default.

        False: the driver has left no buffer for it, and is not told.
        """
        return bool(self._ask("npu.async", **where))

    def reset(self) -> None:
        """Answer everything as firmware would."""
        self._ask("npu.reset")

    def log(self, since: int = 0) -> list[Entry]:
        """The log's entries with a number above ``since``."""
        entries: list[Entry] = self._ask("npu.log", since=since)
        return entries

    def state(self) -> Mapping[str, Any]:
        """Contexts, host buffers, power state, faults."""
        state: Mapping[str, Any] = self._ask("npu.state")
        return state

    def mark(self) -> int:
        """The number of the newest entry, to be given to :meth:`log` later."""
        entries = self.log()
        return int(entries[-1]["n"]) if entries else 0

    def messages(self, since: int, *names: str) -> list[Entry]:
        """The messages since ``since``; only those called one of ``names``, when any are given."""
        return select(self.log(since), names)

    def trouble(self, since: int) -> list[Entry]:
        """What the NPU found wrong since ``since``: the driver's mistakes, and its own."""
        return [entry for entry in self.log(since) if entry.get("event") in TROUBLE]


def select(entries: Sequence[Entry], names: Sequence[str]) -> list[Entry]:
    """The entries that are messages with one of these names (all messages without names)."""
    return [
        entry for entry in entries if "name" in entry and "opcode" in entry and (not names or entry["name"] in names)
    ]


def buffers(entries: Sequence[Entry]) -> list[tuple[int, int, int]]:
    """(context, address, size) of MAP_HOST_BUFFER and ADD_HOST_BUFFER messages."""
    requests = [entry["request"] for entry in entries]
    return [(int(r["context_id"]), int(r["buf_addr"]), int(r["buf_size"])) for r in requests]
