# SPDX-License-Identifier: GPL-2.0-only
"""A lane's events (:mod:`harness.formats.events`), folded into results.

The guest only collects. What is a splat is decided here, and can be decided again over a kept run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.formats.events import Event, by_boot
from harness.formats.lost_memory import Suspects, lost_memory
from harness.formats.splat import find_splats
from harness.model.finding import Finding, Kind
from harness.model.judge import LaneResults
from harness.model.leak import leaks
from harness.model.result import KERNEL_LOG, Measure, Outcome, Result, Series

SUITE = "stage/suite"
RESTART = "stage/restart"
STOPPED = ("stopped", 0)
NO_TESTS = 5
"""pytest's exit status when it collected nothing."""

_OUTCOMES = {"pass": Outcome.PASS, "fail": Outcome.FAIL, "skip": Outcome.SKIP, "error": Outcome.ERROR}


@dataclass
class _Fold:
    """State while walking the events of one lane on one variant."""

    results: list[Result]
    planned: set[str]
    open: tuple[str, int] | None = None
    last: int | None = None
    unasked: set[tuple[str, int]] = field(default_factory=set)
    """Tests (id and attempt) and stages at which we were at fault, until they are asked again."""
    no_tests: str = ""
    naming: bool = False
    looks_at: tuple[str, int, frozenset[str]] = ("", 0, frozenset())
    """The group, attempt and tests of a guest."""
    unlooked: dict[tuple[str, int, frozenset[str]], str] = field(default_factory=dict)
    """Those that kmemleak could not look at, and why."""
    failed_suite: str | None = None
    outside: Event = field(default_factory=dict)
    ran: list[tuple[str, int]] = field(default_factory=list)
    suspects: list[Suspects] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Keep an answer. It replaces an ERROR of the same attempt: what could not be asked was asked again."""
        asked_again = (result.id, result.attempt, Outcome.ERROR)
        self.unasked.discard((result.id, result.attempt))
        self.results[:] = [r for r in self.results if (r.id, r.attempt, r.outcome) != asked_again]
        self.results.append(result)
        self.last = len(self.results) - 1
        self.open = None

    def lose(self, result: Result) -> None:
        """The kernel died in a test or behind it: what that one had said, or says in another guest, counts no more."""
        same = [r for r in self.results if (r.id, r.attempt) == (result.id, result.attempt)]
        self.results[:] = [r for r in self.results if r not in same]
        self.add(_with_findings(result, [finding for r in same for finding in r.findings]))

    def fail(self, result: Result) -> None:
        """Keep an ERROR that cut the lane short."""
        self.add(result)
        self.unasked.add((result.id, result.attempt))

    def blame_last(self, findings: Sequence[Finding]) -> None:
        """Give messages that came between two tests to the one that ran before them."""
        if findings and self.last is not None:
            self.results[self.last] = _with_findings(self.results[self.last], findings)

    def blame(self, test: tuple[str, int], findings: Sequence[Finding]) -> None:
        """Give findings to a test (id and attempt) that has reported."""
        place = self.place(test)
        if place is not None:
            self.results[place] = _with_findings(self.results[place], findings)

    def place(self, test: tuple[str, int]) -> int | None:
        """Of its latest answer."""
        return next((i for i, r in reversed(list(enumerate(self.results))) if (r.id, r.attempt) == test), None)

    def looked(self) -> None:
        """kmemleak has looked: also at what it could not look at before, as far as these tests ran."""
        group, attempt, _ = self.looks_at
        ran = frozenset(test for test, _ in self.ran)
        for key in list(self.unlooked):
            if key == self.looks_at or (key[:2] == (group, attempt) and key[2] <= ran):
                del self.unlooked[key]

    def forget(self, which: Callable[[Result], bool]) -> None:
        """Drop what was said before it was asked anew."""
        gone = [r for r in self.results if which(r)]
        if gone:
            self.unasked -= {(r.id, r.attempt) for r in gone}
            last = self.results[self.last] if self.last is not None else None
            self.results[:] = [r for r in self.results if r not in gone]
            self.last = self.results.index(last) if last in self.results else None

    def cut(self) -> None:
        """The harness itself stopped while a test ran."""
        if self.open:
            test, attempt = self.open
            self.fail(Result(test, Outcome.ERROR, "never reported: the harness was stopped first", attempt))


def _with_findings(result: Result, findings: Sequence[Finding]) -> Result:
    """A splat fails the test that caused it, whatever the test itself said."""
    seen = result.fingerprints  # a kernel's log is read again in every guest restored from it
    findings = [finding for finding in findings if finding.fingerprint not in seen]
    if not findings:
        return result
    spoiled = result.outcome in (Outcome.PASS, Outcome.SKIP)
    evidence = "\n\n".join(part for part in (result.evidence, *(f.text for f in findings)) if part)
    return replace(
        result,
        outcome=Outcome.FAIL if spoiled else result.outcome,
        only_findings=result.only_findings or spoiled,
        evidence=evidence,
        findings=(*result.findings, *findings),
    )


def fold(events: Iterable[Event]) -> LaneResults:
    """Results of a lane on one variant, in the order in which they were reported."""
    state = _Fold([], set())
    for event in by_boot(events):
        handler = _HANDLERS.get(str(event.get("event")))
        if handler:
            handler(state, event)
    state.cut()
    for suspects in state.suspects:
        state.blame(suspects.tests[-1], suspects.unnamed())
    if state.no_tests and not state.planned:
        state.failed_suite = f"no test matched\n{state.no_tests}".strip()
    if state.failed_suite is not None:
        state.fail(Result(SUITE, Outcome.ERROR, state.failed_suite))
    for (group, attempt, _), why in state.unlooked.items():
        state.fail(Result(f"kmemleak/{group or 'suite'}", Outcome.ERROR, why, attempt))
    return LaneResults(tuple(state.results), frozenset(state.planned), bool(state.unasked))


def _stage(state: _Fold, event: Event) -> None:
    result = Result(
        str(event["id"]),
        Outcome(event["outcome"]),
        str(event.get("evidence", "")),
        seconds=float(event.get("seconds", 0)),
        findings=tuple(find_splats(str(event.get("console", "")))),
        boot=int(event.get("boot", 0)),
    )
    # A stage that was asked again (a resumed run, a second boot) counts with its last answer.
    state.results[:] = [r for r in state.results if r.id != result.id]
    state.unasked.discard((result.id, result.attempt))
    if result.outcome is Outcome.ERROR:
        state.unasked.add((result.id, result.attempt))
    state.results.append(result)
    state.last = None


def _stopped(state: _Fold, event: Event) -> None:
    """We ended the lane before its last answer; it may be taken up again."""
    state.unasked.add(STOPPED)


def _taken_up(state: _Fold, event: Event) -> None:
    """Another process goes on with the lane: what the lab could not do the last time is tried anew, and recorded again
    if it fails again."""
    state.forget(lambda r: r.id in (SUITE, RESTART) and r.outcome is Outcome.ERROR)


def _unlooked(state: _Fold, event: Event) -> None:
    """kmemleak did not get to look at these tests: nobody knows what memory they lose, until it does."""
    asked = frozenset(map(str, event.get("tests", ())))
    state.unlooked[str(event.get("group") or ""), int(event["attempt"]), asked] = str(event.get("why", ""))


def _boot(state: _Fold, event: Event) -> None:
    state.cut()
    asked = frozenset(map(str, event.get("tests", ())))
    state.looks_at = (str(event.get("group") or ""), int(event.get("attempt", 1)), asked)
    state.unasked.discard(STOPPED)
    state.last = None
    state.ran = []
    state.naming = bool(event.get("naming"))


def _suite_start(state: _Fold, event: Event) -> None:
    state.planned.update(map(str, event["tests"]))
    attempt = int(event["attempt"])
    if not any(r.id == KERNEL_LOG and r.attempt == attempt for r in state.results):
        state.results.append(Result(KERNEL_LOG, Outcome.PASS, attempt=attempt))
    state.last = next(i for i, r in enumerate(state.results) if r.id == KERNEL_LOG and r.attempt == attempt)
    state.blame_last(find_splats(event.get("kmsg", ())))


def _test_start(state: _Fold, event: Event) -> None:
    state.cut()
    state.blame_last(find_splats(event.get("kmsg", ())))
    test = (str(event["id"]), int(event["attempt"]))
    state.ran.append(test)
    state.outside = event.get("outside") or {}
    if not state.naming:
        state.open = test


def _test_end(state: _Fold, event: Event) -> None:
    outcome, text = _OUTCOMES[str(event["outcome"])], str(event.get("text", ""))
    findings = find_splats(event.get("kmsg", ()))
    if event.get("kmsg_lost") and outcome in (Outcome.PASS, Outcome.SKIP):
        # A splat may have been among them. One that was read is certain; no known failure can excuse the rest.
        outcome = Outcome.FAIL if findings else Outcome.ERROR
        text = f"{event['kmsg_lost']} kernel messages were overwritten before they were read"
    result = Result(
        str(event["id"]),
        outcome,
        text,
        int(event["attempt"]),
        float(event.get("duration", 0)),
        measures={
            name: Measure(float(m["value"]), str(m["unit"])) for name, m in (event.get("measures") or {}).items()
        },
        disarmed=tuple(map(str, event.get("disarmed", ()))),
        boot=int(event.get("boot", 0)),
        series={name: _series(said) for name, said in (event.get("series") or {}).items()},
    )
    counters = event.get("counters") or {}
    before = {**(counters.get("before") or {}), **state.outside}
    after = {**(counters.get("after") or {}), **(event.get("outside") or {})}
    found = leaks(before, after) if outcome is not Outcome.ERROR else []
    if state.naming:  # it has its answer; a splat counts all the same
        state.blame(state.ran[-1], [*findings, *found])
        state.last = state.place(state.ran[-1])
        return
    state.add(_with_findings(result, [*findings, *found]))


def _series(said: Mapping[str, Any]) -> Series:
    return Series(str(said["unit"]), float(said["every"]), tuple(map(float, said["values"])))


def _lost(state: _Fold, event: Event) -> None:
    result = Result(
        str(event["id"]),
        Outcome(event["outcome"]),
        str(event.get("evidence", "")),
        int(event["attempt"]),
        findings=tuple(find_splats(str(event.get("console", "")))),
        boot=int(event.get("boot", 0)),
    )
    if result.outcome is not Outcome.ERROR:
        state.lose(result)
    elif not state.naming:  # it has its answer
        state.fail(result)


def _fault(state: _Fold, event: Event) -> None:
    """The emulation was at fault while this test ran: nobody knows what the kernel would have done."""
    if state.naming:
        return
    what = f"the emulated NPU is at fault, not the kernel: {event.get('what', '')}"
    test, attempt = str(event.get("id") or ""), int(event["attempt"])
    for index, result in enumerate(state.results):
        if result.id == test and result.attempt == attempt:
            state.results[index] = replace(result, outcome=Outcome.ERROR, evidence=f"{what}\n{result.evidence}")
            state.unasked.add((test, attempt))
            return
    state.fail(Result(test or KERNEL_LOG, Outcome.ERROR, what, attempt))


def _suite_end(state: _Fold, event: Event) -> None:
    """pytest's exit status: 0 and 1 are answers; anything else is none. 5, nothing matched, is one only for the lane as
    a whole: a group of tests may have nothing to say."""
    findings = find_splats(event.get("kmsg", ()))
    if "unreferenced" in event:  # in full; the kernel's log only counts it
        findings = [finding for finding in findings if finding.kind is not Kind.KMEMLEAK]
        state.looked()
        _lost_memory(state, event)
    if "id" in event:
        state.blame((str(event["id"]), int(event["attempt"])), findings)
    else:
        state.blame_last(findings)
    status = int(event.get("status", 0))
    if status == NO_TESTS:
        state.no_tests = str(event.get("text", "")) or "the suite is empty"
    elif status > 1:
        state.failed_suite = f"the suite itself failed\n{event.get('text', '')}".strip()


def _lost_memory(state: _Fold, event: Event) -> None:
    """What kmemleak found is one test's if the guest ran only one; else guests of smaller groups are asked again, and
    the smallest in which it was found has it."""
    found = lost_memory(event)
    state.blame((KERNEL_LOG, int(event["attempt"])), found.before)
    if not found.then or not state.ran:
        return
    for suspects in state.suspects:
        if set(state.ran) <= set(suspects.tests):
            suspects.named |= {finding.fingerprint for finding in found.then}
    if len(state.ran) == 1:
        state.blame(state.ran[0], found.then)
    else:
        state.suspects.append(Suspects(tuple(state.ran), found.then))


_HANDLERS = {
    "stage": _stage,
    "boot": _boot,
    "stopped": _stopped,
    "taken-up": _taken_up,
    "unlooked": _unlooked,
    "suite-start": _suite_start,
    "test-start": _test_start,
    "test-end": _test_end,
    "lost": _lost,
    "fault": _fault,
    "suite-end": _suite_end,
}
