# SPDX-License-Identifier: GPL-2.0-only
"""Make firmware's answers go wrong, one at a time: each message of a call, in each of the ways.

In the ways that cost the driver's 5 s (amdxdna_mailbox_helper.c, RX_TIMEOUT) only the first message of each name is
asked about. After each the call must have said the right thing, nothing may be left, and firmware that starts again
must serve the same call and have nothing to complain of.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.drm.device import Device
from harness.guest import counters
from harness.guest.expect import name_of
from harness.guest.npu import TROUBLE, Entry, Npu, select
from harness.guest.scenario import Scenario

INVALID_PARAM = 0x4000003
LATE_SECONDS = 6.0
LIMIT_SECONDS = 14.0
"""No call may take longer: 5 s for an answer, 2 to 4 s for a command that hangs, as much again on a busy machine."""
STARTS = 3
"""So often firmware may start before it serves again; more than once is a fault that is told."""
_KEPT = "kept"


@dataclass(frozen=True)
class Way:
    """How an answer goes wrong, and the ``errno`` of a call that needs it.

    ``waits``: the driver waits for it in vain. ``harmless``: firmware did what it was asked and said so, if not well: a
    call may be content with it.
    """

    name: str
    rule: Mapping[str, Any]
    errno: int
    waits: bool = False
    harmless: bool = False


WAYS = {
    way.name: way
    for way in (
        Way("refused", {"status": INVALID_PARAM}, errno.EINVAL),
        Way("size", {"malform": "size"}, errno.EINVAL),
        Way("garbage", {"malform": "garbage"}, errno.EINVAL, harmless=True),
        Way("id", {"malform": "id"}, errno.ETIME, waits=True),
        Way("late", {"delay": LATE_SECONDS}, errno.ETIME, waits=True, harmless=True),
        Way("never", {"drop": True}, errno.ETIME, waits=True),
    )
}


@dataclass(frozen=True)
class Message:
    """The ``nth`` (from 0) message called ``name`` of a call. ``kept``: answered only when something happens."""

    name: str
    nth: int
    kept: bool = False

    def __str__(self) -> str:
        return f"{self.name} {self.nth + 1}" if self.nth else self.name

    def rule(self, way: Way) -> dict[str, Any]:
        """What the emulated NPU is told. An answer that would not come at all must be a refusal to go wrong."""
        refusal = WAYS["refused"].rule if self.kept else {}
        return {"opcode": self.name, "skip": self.nth, **refusal, **way.rule}


def messages(entries: Sequence[Entry], only: Collection[str] = ()) -> list[Message]:
    """The messages in a part of the NPU's log, in order; only those called so."""
    seen: dict[str, int] = {}
    found = []
    for entry in select(entries, tuple(only)):
        name = str(entry["name"])
        found.append(Message(name, seen.get(name, 0), entry["action"] == _KEPT))
        seen[name] = seen.get(name, 0) + 1
    return found


def chosen(made: Sequence[Message], way: Way) -> list[Message]:
    """Those that are worth asking about."""
    return [m for m in made if not (way.waits and m.nth) and not (way.name == "never" and m.kept)]


def place(message: Message, way: Way) -> str:
    """How known failures call it."""
    return f"{message.name}-{way.name}"


def judge(message: Message, way: Way, kind: type[Scenario], error: int | None) -> Iterator[str]:
    """What is wrong with a call of this kind that ended with ``error`` (None: success)."""
    if message.name in kind.untold:
        return
    right = kind.unanswered if way.waits else way.errno
    if error is None and not way.harmless:
        yield f"success instead of {name_of(right)}"
    elif error not in (None, right):
        yield f"{name_of(error)} instead of {name_of(right)}"


class Sweep:
    """One scenario, one way. ``visited`` and ``wrong`` grow; :meth:`run` may be called once. It ends early when
    firmware does not come back."""

    def __init__(self, device: Device, npu: Npu, kind: type[Scenario], way: Way) -> None:
        self.device = device
        self.npu = npu
        self.kind = kind
        self.way = way
        self.visited: list[Message] = []
        self.wrong: list[str] = []
        self._mark = npu.mark()
        self._lost = False

    def run(self, wanted: Callable[[Message], bool], part: int = 0, parts: int = 1) -> None:
        """Visit the wanted messages: of all those every ``parts``-th, from number ``part``."""
        self.device.suspend()
        self.before = counters.snapshot()
        made = self._made()
        for message in [m for m in chosen(made, self.way) if wanted(m)][part::parts]:
            if self._lost:
                return
            self.visited.append(message)
            self.wrong += [f"{message}: {what}" for what in (*self._visit(message), *self._recovers())]

    def _made(self) -> list[Message]:
        """The messages of the call when all is well."""
        scenario = self.kind(self.device)
        try:
            self._log()
            scenario.act()
            return messages(self._log(), self.kind.only)
        finally:
            scenario.close()

    def _visit(self, message: Message) -> list[str]:
        scenario = self.kind(self.device)
        try:
            before = scenario.accounting()
            self._log()
            self.npu.script(message.rule(self.way))
            started = time.monotonic()
            error, wrong = self._act(scenario)
            took = time.monotonic() - started
            self.npu.reset()
            assert any(_spoiled(entry) for entry in select(self._log(), [message.name])), f"{message} was not spoiled"
            wrong += judge(message, self.way, self.kind, error)
            if took > LIMIT_SECONDS:
                wrong.append(f"only after {took:.0f} s")
            if error is not None and scenario.accounting() != before:
                wrong.append(f"usage and pinned pages were {before}, are {scenario.accounting()}")
            if self.way.name == "refused":
                wrong += self._once_more(scenario, error)
            if self.way.name == "late":
                time.sleep(max(0.0, LATE_SECONDS + 0.5 - took))
            return wrong
        finally:
            scenario.close()

    def _act(self, scenario: Scenario) -> tuple[int | None, list[str]]:
        try:
            scenario.act()
        except TimeoutError as error:
            return None, [str(error)]
        except OSError as error:
            return error.errno, []
        return None, []

    def _once_more(self, scenario: Scenario, error: int | None) -> Iterator[str]:
        """Firmware that refused and does so no more: the same file goes on."""
        if error is not None and not self.kind.retried:
            return
        try:
            if error is not None:
                scenario.act()
            scenario.works()
        except OSError as again:
            yield f"then, not refused, {name_of(again.errno)}"

    def _recovers(self) -> Iterator[str]:
        """Nothing is left of it, and the same call works on a new file, once firmware was started again."""
        for start in range(1, STARTS + 1):
            try:
                self.device.suspend()
            except TimeoutError as error:
                yield f"left behind: {error}"
            if start == 1:
                now = counters.settled(self.before)
                yield from (f"left behind: {now[name] - self.before[name]} {name}" for name in self._left(now))
            self._log()
            try:
                scenario = (self.kind.later or self.kind)(self.device)
                try:
                    scenario.act()
                    scenario.works()
                finally:
                    scenario.close()
                yield from (f"then the NPU saw {entry}" for entry in self._log() if entry.get("event") in TROUBLE)
                return
            except OSError as error:
                yield f"after start {start} of firmware {name_of(error.errno)}"
        self._lost = True

    def _left(self, now: dict[str, int]) -> list[str]:
        """What is more than before while the device sleeps, and has no mailbox of its own."""
        return sorted(counters.grown(self.before, now))

    def _log(self) -> list[Entry]:
        """What the NPU logged since this was asked before."""
        entries = self.npu.log(self._mark)
        self._mark = int(entries[-1]["n"]) if entries else self._mark
        return entries


def _spoiled(entry: Entry) -> bool:
    return entry["action"] in ("dropped", "late", "malformed") or entry["status"] == INVALID_PARAM


def report(sweep: Sweep, measure: Callable[[str, float, str], None]) -> None:
    """Say how many were visited, and assert once over all."""
    measure("answers spoiled", len(sweep.visited), "")
    measure("messages", len({message.name for message in sweep.visited}), "")
    measure("not recovered", len({text.partition(":")[0] for text in sweep.wrong}), "")
    assert sweep.visited, "firmware was sent no message"
    listed = "\n".join([*sweep.wrong, "visited:", *map(str, sweep.visited)])
    assert not sweep.wrong, f"{len(sweep.visited)} answers went wrong ({sweep.way.name}), not all recovered:\n{listed}"
