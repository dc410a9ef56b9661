# SPDX-License-Identifier: GPL-2.0-only
"""A bug against scripted guests: what is asked, when it ends, and what it is called."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import harness.trial
from harness.control import Control
from harness.engines.make import BuildFailed
from harness.errors import UsageError
from harness.lane import Broken, LaneRun, Question
from harness.model.edit import Edit, Edits
from harness.model.footprint import Footprints
from harness.model.judge import LaneResults
from harness.model.kernel import Kernel, Module, Profile
from harness.model.planted import FIRST, BugKind, Fate, Planted, Proof
from harness.model.session import Lost, SessionLost, Start, SuiteRequest
from harness.plan import Cell
from harness.trial import Trial

LIKELY, OTHER = "test_x.py::test_likely", "test_x.py::test_other"
TESTS = (FIRST, OTHER, LIKELY)
Behaviour = Callable[[str], str]
BUG = Planted(BugKind.LOCK, Edits("bug", "a bug", (Edit("a.c", "f", "x", "y"),)))


class Guests:
    """Guests that boot cold, and whose tests end as ``behave`` says: pass, fail, lost, or npu."""

    fresh = True

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave

    @contextmanager
    def open(self, folder: Path, start: Start) -> Iterator[Any]:
        yield SimpleNamespace(
            release="7.3.4-xdna-key",
            build_id="b1d",
            load_driver=lambda seconds: "b1d",
            run=lambda argv: (0, ""),
            suite=self.suite,
        )

    def suite(self, request: SuiteRequest) -> Iterator[Mapping[str, Any]]:
        place = {"boot": request.boot, "attempt": request.attempt}
        yield {"event": "suite-start", "tests": list(request.tests or ()), **place}
        for test in request.tests or ():
            yield {"event": "test-start", "id": test, **place}
            what = self.behave(test)
            if what in ("lost", "npu"):
                raise SessionLost(Lost(what == "npu", "no report", ""))
            yield {"event": "test-end", "id": test, "outcome": what, **place}
            if what == "fail" and request.halting:
                break
        yield {"event": "suite-end", **place}

    def has(self, start: Start) -> bool:
        return True

    def end(self) -> None: ...


class Bench:
    """A control of scripted guests, and the cells that it was told to run."""

    def __init__(self, folder: Path, head: Behaviour, base: Behaviour = lambda test: "pass") -> None:
        self.folder = folder
        (folder / "a.c").write_text("int f(void)\n{\n\tx;\n}\n")
        self.behaviour = head
        self.module = self._module("base")
        self.build: Callable[[], Module] = lambda: self._module("head")
        self.job = SimpleNamespace(profile=Profile.PLAIN, variant=None)
        self.source = SimpleNamespace(path=folder)
        self.engine = SimpleNamespace(build=lambda tree, profile: self.build())
        self.store = None
        self.cells: list[Cell] = []
        self.lane = self._lane("base", base)
        self.lane.run(Cell("base", cast(Any, None), 1, TESTS))

    def _module(self, digest: str) -> Module:
        kernel = Kernel("key", "7.3.4-xdna-key", Profile.PLAIN, self.folder, (), self.folder, self.folder)
        return Module("m", kernel, (), "b1d", digest, self.folder)

    def _lane(self, name: str, behave: Behaviour) -> LaneRun:
        return LaneRun(
            self.module,
            self.folder / name,
            Question("heap", "", 60.0, halting=name != "base"),
            cast(Any, Guests(behave)),
        )

    def open(self, module: Module, name: str, start: Start, *, halting: bool = False) -> LaneRun:
        assert halting
        return self._lane(name, self.behaviour)

    def run(self, cells: Sequence[Cell], head: LaneRun, enough: Callable[[], bool]) -> set[str]:
        self.cells += cells
        for cell in cells:
            try:
                (head if cell.lane == "head" else self.lane).run(cell, enough)
            except Broken:
                return {cell.lane}
        return set()

    def results(self) -> LaneResults:
        return self.lane.results()

    def visible(self, results: LaneResults) -> LaneResults:
        return results

    def seconds(self) -> dict[str, float]:
        return {FIRST: 2.5, OTHER: 0.1, LIKELY: 5.0}

    def trial(self) -> Proof:
        found = Footprints({"a.c": frozenset({3})}, {LIKELY: {"a.c": frozenset({3})}})
        return Trial(BUG, cast(Control, self), found, {}, "head", "key").run()


@pytest.fixture(autouse=True)
def _no_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.trial, "make_tree", lambda *arguments: None)


def test_a_bug_that_the_likeliest_test_sees_is_caught_by_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda test: "fail" if test in (LIKELY, OTHER) else "pass")
    found = bench.trial()
    assert (found.fate, found.by, found.likely) == (Fate.CAUGHT, LIKELY, 1)
    assert found.reason.endswith("head 3 of 3, base 0 of 5")
    assert OTHER not in {test for cell in bench.cells for test in cell.tests or ()}  # it was known by then


def test_a_bug_that_nothing_sees_survives_all_tests(tmp_path: Path) -> None:
    found = Bench(tmp_path, lambda test: "pass").trial()
    assert (found.fate, found.by, found.reason, found.asked) == (Fate.SURVIVED, "", "", 4)  # and the kernel's log


def test_what_stops_the_first_heap_test_is_trivial(tmp_path: Path) -> None:
    found = Bench(tmp_path, lambda test: "fail").trial()
    assert (found.fate, found.by) == (Fate.TRIVIAL, FIRST)


def test_what_is_worse_now_and_then_is_not_caught(tmp_path: Path) -> None:
    times = iter(["fail", "pass", "fail"])
    found = Bench(tmp_path, lambda test: next(times) if test == LIKELY else "pass").trial()
    assert (found.fate, found.reason) == (Fate.SURVIVED, f"worse, but not each time: {LIKELY}")
    assert found.asked == 4


def test_what_base_does_too_when_it_is_repeated_is_not_caught(tmp_path: Path) -> None:
    times = iter(["pass", "pass", "fail", "pass", "pass"])
    bench = Bench(
        tmp_path,
        lambda test: "fail" if test == LIKELY else "pass",
        lambda test: next(times) if test == LIKELY else "pass",
    )
    assert bench.trial().fate is Fate.SURVIVED


def test_a_guest_that_is_lost_after_the_bug_was_seen_is_not_replaced(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda test: "lost" if test == LIKELY else "pass")
    assert bench.trial().fate is Fate.CAUGHT


def test_an_npu_at_fault_is_no_answer(tmp_path: Path) -> None:
    found = Bench(tmp_path, lambda test: "npu" if test == LIKELY else "pass").trial()
    assert (found.fate, found.reason) == (Fate.UNKNOWN, f"could not be asked: {LIKELY}")


def test_the_same_driver_bit_for_bit_is_not_asked(tmp_path: Path) -> None:
    bench = Bench(tmp_path, lambda test: "fail")
    bench.build = lambda: bench.module
    assert bench.trial().fate is Fate.SURVIVED
    assert not bench.cells


@pytest.mark.parametrize("error", [UsageError("does not fit"), BuildFailed("does not build", None, Path("log"))])
def test_a_bug_that_is_none_yet(tmp_path: Path, error: Exception) -> None:
    def fails() -> Module:
        raise error

    bench = Bench(tmp_path, lambda test: "fail")
    bench.build = fails
    assert bench.trial().fate is Fate.NOT_BUILT


def test_when_time_is_up_only_the_likely_ones_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.trial, "LIMIT_SECONDS", 0.0)
    found = Bench(tmp_path, lambda test: "fail" if test == OTHER else "pass").trial()
    assert found.fate is Fate.SURVIVED
    assert found.reason == "time was up: 2 tests that do not run the edited lines were not asked"
    assert found.asked == 2  # the likely one, and the kernel's log
