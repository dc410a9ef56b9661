# SPDX-License-Identifier: GPL-2.0-only
"""One planted bug against the suite: build the driver with it, ask the likeliest tests first, stop at the first that is
confirmed.

OUT/<id>/<variant>   the lane of the driver with the bug
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from harness.control import Control
from harness.engines.make import BuildFailed
from harness.errors import InfraError, UsageError
from harness.host.trees import make_tree
from harness.lane import LaneRun
from harness.log import say
from harness.model.footprint import Footprints, likeliest, next_round
from harness.model.judge import ATTEMPTS, LaneResults
from harness.model.kernel import Module
from harness.model.planted import FIRST, Fate, Planted, Proof, confirmed, fate_of, missing, noticed, stopped
from harness.model.result import Outcome
from harness.model.session import Start
from harness.plan import Cell
from harness.starts import SLOWER

GUESTS = 2
FIRST_ROUND = 2.0
LONGEST_ROUND = 20.0
"""Seconds of tests in each guest of the first round, and of a later one at most."""
LIMIT_SECONDS = 150.0
"""After this long on a plain kernel only tests that run the edited lines are asked: the others can hardly see it."""


class Trial:
    """A bug, the driver without it, and where to begin. ``proven``: how many bugs each test has caught before, ``name``
    of the lane's folder, ``edit`` what Proof wants."""

    def __init__(
        self,
        bug: Planted,
        control: Control,
        footprints: Footprints,
        proven: Mapping[str, int],
        name: str,
        edit: str,
    ) -> None:
        self.bug, self.control, self.footprints, self.proven = bug, control, footprints, proven
        self.name, self.edit = name, edit
        self.head: LaneRun | None = None
        self.doubted: list[str] = []
        self.hits: set[str] = set()
        self.built = 0.0
        self._started = time.monotonic()

    def run(self) -> Proof:
        """Build and ask. A failure of the lab is an answer, too: unknown."""
        try:
            module = self._module()
        except UsageError as error:
            return self._proof(Fate.NOT_BUILT, error.message)
        except BuildFailed as error:
            return self._proof(Fate.NOT_BUILT, error.message)
        except InfraError as error:
            return self._proof(Fate.UNKNOWN, error.message)
        if module.digest == self.control.module.digest:
            return self._proof(Fate.SURVIVED, "bit for bit the driver without it: not run")
        self.head = head = self.control.open(module, self.name, Start.KERNEL, halting=True)
        try:
            return self._ask()
        finally:
            head.close()

    def _module(self) -> Module:
        control = self.control
        tree = make_tree(control.source, (), control.store, [self.bug.edits])
        module = control.engine.build(tree, control.job.profile)
        self.built = time.monotonic() - self._started
        return module

    def _ask(self) -> Proof:
        """Round after round of tests, each twice as long as the one before: what is caught early costs little."""
        seconds = self.control.seconds()
        left = self._order(seconds)
        most, deadline = FIRST_ROUND, self._started + LIMIT_SECONDS * SLOWER[self.control.job.profile]
        while ask := left if time.monotonic() < deadline else [test for test in left if test in self.hits]:
            groups = next_round(ask, seconds, GUESTS, most)
            self._run([self._cell("head", 1, group) for group in groups])
            test, answers = self._caught(), self._answers()
            if test:
                return self._proof(fate_of(test, answers), confirmed(test, self.control.results(), answers), test)
            if end := stopped(answers):
                return self._proof(*end)
            before, left = len(left), [test for test in left if test not in answers.by_id()]
            if len(left) == before:  # nobody answers: asking on would never end
                return self._proof(Fate.UNKNOWN, f"no answer from {left[0]}")
            most = min(LONGEST_ROUND, 2 * most)
        return self._not_caught(left)

    def _cell(self, lane: str, attempt: int, tests: tuple[str, ...]) -> Cell:
        return Cell(lane, self.control.job.variant, attempt, tests)

    def _order(self, seconds: dict[str, float]) -> list[str]:
        """The first heap test, since what stops that is trivial; then the likeliest."""
        planned = self.control.results().planned
        texts = {edit.file: (self.control.source.path / edit.file).read_text() for edit in self.bug.edits.edits}
        hits = self.footprints.hits(self.footprints.edited(self.bug.edits, texts))
        self.hits = {test for test in hits if test in planned}
        return [*({FIRST} & planned), *likeliest(planned - {FIRST}, hits, seconds, self.proven)]

    def _not_caught(self, left: list[str]) -> Proof:
        errors = [r.id for r in self._answers().results if r.outcome is Outcome.ERROR]
        reasons = [f"worse, but not each time: {', '.join(self.doubted)}"] if self.doubted else []
        if left:
            reasons.append(f"time was up: {len(left)} tests that do not run the edited lines were not asked")
        if errors:
            return self._proof(Fate.UNKNOWN, "; ".join([f"could not be asked: {', '.join(errors)}", *reasons]))
        return self._proof(Fate.SURVIVED, "; ".join(reasons))

    def _caught(self) -> str:
        """The first test that is confirmed to be worse: the first heap test before all others, then those of which the
        driver without the bug need not be asked any more."""
        old, seconds = self.control.results().by_id(), self.control.seconds()
        ask = {test: (test != FIRST, len(old[test]) < ATTEMPTS, seconds.get(test, 0.0)) for test in self._suspects()}
        for test in sorted(ask, key=lambda test: ask[test]):
            self._repeat(test)
            if confirmed(test, self.control.results(), self._answers()):
                return test
            say(f"{test}: worse, but not each time")
            self.doubted.append(test)
        return ""

    def _suspects(self) -> list[str]:
        return [test for test in noticed(self.control.results(), self._answers()) if test not in self.doubted]

    def _repeat(self, test: str) -> None:
        """Ask a test that looks worse as often as the judge, and the proof, want."""
        while attempts := missing(test, self.control.results(), self._answers()):
            before = self._count()
            self._run([self._cell(lane, n, (test,)) for lane, numbers in attempts.items() for n in numbers])
            if self._count() == before:
                return

    def _count(self) -> int:
        return len(self._answers().results) + len(self.control.results().results)

    def _run(self, cells: list[Cell]) -> None:
        broken = self.control.run(cells, self.head, lambda: bool(self._suspects()))
        if "base" in broken:
            raise InfraError("the driver without any bug does not start any more", log=self.control.lane.records.path)

    def _answers(self) -> LaneResults:
        return self.control.visible(self.head.results()) if self.head else LaneResults()

    def _proof(self, fate: Fate, reason: str, by: str = "") -> Proof:
        bug = self.bug
        asked = {result.id for result in self._answers().results if not result.is_stage}
        return Proof(
            id=bug.id,
            title=bug.title,
            kind=bug.kind,
            series=bug.series,
            survives=bug.survives,
            edit=self.edit,
            fate=fate,
            by=by,
            reason=reason,
            asked=len(asked),
            likely=len(self.hits),
            seconds=round(time.monotonic() - self._started, 1),
            built=round(self.built, 1),
        )
