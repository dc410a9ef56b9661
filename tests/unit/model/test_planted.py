# SPDX-License-Identifier: GPL-2.0-only
"""Caught is what the judge confirms, each time; the score counts what could have been caught."""

from __future__ import annotations

import pytest

from harness.model.judge import ATTEMPTS, LaneResults
from harness.model.planted import (
    FIRST,
    RUNS,
    BugKind,
    Fate,
    Proof,
    Score,
    confirmed,
    fate_of,
    median,
    missing,
    noticed,
    percent,
    stopped,
)
from harness.model.result import Outcome, Result

P, F, L, S, E = Outcome.PASS, Outcome.FAIL, Outcome.LOST, Outcome.SKIP, Outcome.ERROR
A, B = "test_x.py::test_a", "test_x.py::test_b"


def lane(**answers: list[Outcome]) -> LaneResults:
    results = [Result("stage/probe", P)]
    names = {"a": A, "b": B}
    results += [Result(names[t], o, attempt=n) for t, all_of in answers.items() for n, o in enumerate(all_of, 1)]
    return LaneResults(tuple(results), frozenset({A, B}))


def test_a_test_that_was_not_asked_is_not_worse() -> None:
    assert noticed(lane(a=[P], b=[P]), lane(b=[F])) == [B]
    assert noticed(lane(a=[P], b=[P]), lane(b=[P])) == []


def test_what_failed_without_the_bug_before_is_not_noticed_again() -> None:
    assert noticed(lane(a=[P, P]), lane(a=[F])) == [A]
    assert noticed(lane(a=[P, F]), lane(a=[F])) == []
    assert noticed(lane(a=[P, F]), lane(a=[L])) == [A]


def test_what_is_worse_is_named_in_the_order_in_which_it_was_asked() -> None:
    assert noticed(lane(a=[P], b=[P]), lane(b=[L], a=[F])) == [B, A]


def test_the_bug_is_asked_again_before_the_driver_without_it() -> None:
    assert missing(A, lane(a=[P]), lane(a=[F])) == {"head": [2, 3]}
    assert missing(A, lane(a=[P]), lane(a=[F, F, F])) == {"base": [2, 3, 4, 5]}
    assert missing(A, lane(a=[P] * ATTEMPTS), lane(a=[F, F, L])) == {}


@pytest.mark.parametrize("second", [P, E, S])
def test_nobody_is_asked_again_once_it_was_not_worse(second: Outcome) -> None:
    worse_when_skipped = second is S
    wanted = {"head": [3]} if worse_when_skipped else {}
    assert missing(A, lane(a=[P]), lane(a=[F, second])) == wanted


def test_three_of_three_and_never_on_base() -> None:
    assert (
        confirmed(A, lane(a=[P] * ATTEMPTS), lane(a=[F] * RUNS))
        == "PASS on base, FAIL on head: head 3 of 3, base 0 of 5"
    )
    assert not confirmed(A, lane(a=[P] * ATTEMPTS), lane(a=[F] * (RUNS - 1)))
    assert not confirmed(A, lane(a=[P] * ATTEMPTS), lane(a=[F, P, F]))
    assert not confirmed(A, lane(a=[P] * (ATTEMPTS - 1)), lane(a=[F] * RUNS))
    assert not confirmed(A, lane(a=[P, P, F, P, P]), lane(a=[F] * RUNS))


def test_a_probe_that_fails_is_trivial_and_the_lab_is_unknown() -> None:
    def broken(outcome: Outcome) -> LaneResults:
        return LaneResults((Result("stage/probe", outcome, "no device\nmore"),))

    assert stopped(broken(L)) == (Fate.TRIVIAL, "stage/probe LOST: no device")
    assert stopped(broken(E)) == (Fate.UNKNOWN, "stage/probe ERROR: no device")
    assert stopped(lane(a=[F])) is None


def test_a_leak_does_not_stop_the_first_heap_test() -> None:
    leak, failure = Result(FIRST, F, only_findings=True), Result(FIRST, F)
    assert fate_of(FIRST, LaneResults((leak, leak))) is Fate.CAUGHT
    assert fate_of(FIRST, LaneResults((leak, failure))) is Fate.TRIVIAL
    assert fate_of(A, lane(a=[F])) is Fate.CAUGHT


def proof(fate: Fate, kind: BugKind = BugKind.LOCK) -> Proof:
    return Proof("id", "title", kind, False, "", "key", fate)


def score(
    caught: int = 0, survived: int = 0, unknown: int = 0, trivial: int = 0, quiet: int = 0, loud: int = 0
) -> Score:
    proofs = [proof(Fate.CAUGHT)] * caught + [proof(Fate.SURVIVED)] * survived + [proof(Fate.UNKNOWN)] * unknown
    proofs += [proof(Fate.TRIVIAL)] * trivial + [proof(Fate.SURVIVED, BugKind.NEUTRAL)] * quiet
    return Score((*proofs, *[proof(Fate.CAUGHT, BugKind.NEUTRAL)] * loud))


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (score(caught=9, survived=1, quiet=2), 0),
        (score(caught=9, survived=1, trivial=5), 0),
        (score(caught=8, survived=2), 1),
        (score(caught=10, quiet=9, loud=1), 1),
        (score(caught=9, unknown=1), 0),
        (score(caught=8, survived=1, unknown=1), 3),
        (score(caught=8, survived=2, unknown=1), 1),
        (score(quiet=1), 0),
    ],
)
def test_the_exit_code_says_only_what_is_sure(found: Score, code: int) -> None:
    assert found.exit_code == code


def test_a_neutral_edit_of_which_nothing_is_known_leaves_it_open() -> None:
    assert Score((proof(Fate.CAUGHT), proof(Fate.UNKNOWN, BugKind.NEUTRAL))).exit_code == 3
    assert Score((proof(Fate.CAUGHT), proof(Fate.NOT_BUILT, BugKind.NEUTRAL))).exit_code == 1


def test_neither_trivial_nor_neutral_ones_count() -> None:
    found = score(caught=47, survived=3, trivial=2, quiet=10)
    assert (found.planted, found.counted, found.caught, len(found.neutral)) == (52, 50, 47, 10)
    assert str(found) == "47 of 50 caught (94 %)"


def test_a_bug_that_does_not_build_was_not_caught() -> None:
    assert Score((proof(Fate.NOT_BUILT), proof(Fate.CAUGHT))).exit_code == 1


def test_a_proof_survives_its_record() -> None:
    assert Proof.read(proof(Fate.CAUGHT).record()) == proof(Fate.CAUGHT)


def test_numbers() -> None:
    assert (percent(199, 200), percent(0, 0)) == (" (99 %)", "")
    assert (median([3, 1, 2]), median([])) == (2, 0)
