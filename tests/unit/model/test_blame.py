# SPDX-License-Identifier: GPL-2.0-only
"""The culprit is named rightly, as a range, or not at all; never an innocent patch."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from harness.model.blame import Culprit, Prefix, culprits, questions, verdict
from harness.model.judge import ATTEMPTS, LaneResults, Verdict, judge
from harness.model.result import Outcome, Result

T = "test_x.py::test_a"
OTHER = "test_x.py::test_b"
STAGES = tuple(Result(f"stage/{name}", Outcome.PASS) for name in ("apply", "build", "boot", "probe"))


def answers(word: str, test: str = T) -> list[Result]:
    """``pffe`` is pass, fail, fail, error in attempts 1 to 4; l is lost."""
    names = {"p": Outcome.PASS, "f": Outcome.FAIL, "l": Outcome.LOST, "e": Outcome.ERROR, "s": Outcome.SKIP}
    return [Result(test, names[letter], attempt=number) for number, letter in enumerate(word, 1)]


def lane(word: str, broken: bool = False) -> LaneResults:
    return LaneResults((*STAGES, *answers("p", OTHER), *answers(word)), frozenset({T, OTHER}), broken)


def unbuilt() -> LaneResults:
    return LaneResults((STAGES[0], Result("stage/build", Outcome.FAIL, "x.c:1: error")))


def prefixes(*lanes: str | LaneResults) -> list[Prefix]:
    ready = [lane(one) if isinstance(one, str) else one for one in lanes]
    return [Prefix(number, f"patch {number}", one) for number, one in enumerate(ready, 1)]


P, F = "p" * ATTEMPTS, "ff"
BASE = lane(P)


def only(base: LaneResults, *lanes: str | LaneResults) -> str:
    """The one culprit of T, in words."""
    (found,) = [c for c in culprits(base, prefixes(*lanes), {}) if c.test == T]
    return str(found)


@pytest.mark.parametrize(
    ("lanes", "text"),
    [
        ((P, F, F, F, F), "introduced by 2/5, still there at 5/5"),
        ((P, F, F, P, P), "introduced by 2/5, fixed by 4/5"),
        ((F, P), "introduced by 1/2, fixed by 2/2"),
        ((P, "e", F), "introduced by 2/3 or 3/3 (2/3 could not be asked), still there at 3/3"),
        ((P, "ll"), "introduced by 2/2, still there at 2/2"),
        ((P, F, "e"), "introduced by 2/3; nobody knows whether it is there at 3/3"),
        ((P, "s", F), "introduced by 2/3 or 3/3 (2/3 is SKIP 1 of 1 times), still there at 3/3"),
    ],
)
def test_the_culprit_in_words(lanes: tuple[str, ...], text: str) -> None:
    assert only(BASE, *lanes) == text


def test_a_prefix_that_was_fine_once_bounds_nothing() -> None:
    assert only(BASE, "p", F, F).startswith("introduced by 1/3 or 2/3 (1/3 is fine, but was asked only 1 of 5 times)")


def test_broken_twice_is_two_culprits() -> None:
    found = culprits(BASE, prefixes(P, F, P, F), {})
    assert [str(one) for one in found] == ["introduced by 2/4, fixed by 3/4", "introduced by 4/4, still there at 4/4"]


def test_a_prefix_that_does_not_build_is_a_culprit_of_its_own_and_makes_a_range_of_the_rest() -> None:
    found = culprits(BASE, prefixes(P, unbuilt(), F), {})
    assert {one.test: str(one) for one in found} == {
        "stage/build": "introduced by 2/3, fixed by 3/3",
        T: "introduced by 2/3 or 3/3 (2/3 does not build), still there at 3/3",
    }


def test_a_flaky_test_is_nobodys_fault() -> None:
    assert culprits(lane("pfppp"), prefixes(P, F, F), {}) == ()


def test_what_base_does_now_and_then_hides_nothing_worse() -> None:
    assert only(lane("pfppp"), P, "ll", P) == "introduced by 2/3, fixed by 3/3"


def test_a_skipped_prefix_bounds_nothing_where_base_fails() -> None:
    text = only(lane("fffff"), "fffff", "s", "ll")
    assert text == "introduced by 2/3 or 3/3 (2/3 skips it), still there at 3/3"


def test_a_range_of_who_fixed_it_gives_its_reason_too() -> None:
    assert only(BASE, P, F, "e", P) == "introduced by 2/4, fixed by 3/4 or 4/4 (3/4 could not be asked)"


def test_no_patch_is_blamed_for_what_an_earlier_prefix_did_once() -> None:
    lanes = prefixes("pfppp", P, F, P)
    assert culprits(BASE, lanes, {}) == ()
    found = verdict(judge(BASE, lanes[-1].results), (), BASE, lanes)
    assert found.verdict is Verdict.UNKNOWN
    assert found.reasons == (f"{T}: bad now and then at 3/4, clean elsewhere: no patch is blamed",)


def test_what_shows_rarely_needs_two_clean_prefixes() -> None:
    text = only(BASE, P, P, "pfppf", "ppff")
    assert text == "introduced by 2/4 or 3/4 (2/4 is fine), still there at 4/4"


def test_once_is_no_proof() -> None:
    assert culprits(BASE, prefixes(P, "pppfp", P), {}) == ()
    assert culprits(lane("p"), prefixes(P, F), {}) == ()


def test_a_base_that_does_not_boot_is_no_control() -> None:
    base = LaneResults((*STAGES[:2], Result("stage/boot", Outcome.LOST)))
    lanes = prefixes(unbuilt(), lane("p"))
    assert culprits(base, lanes, {}) == ()
    assert verdict(judge(base, lanes[-1].results), (), base, lanes).verdict is Verdict.UNKNOWN


def test_a_lane_that_was_cut_short_lacks_nothing() -> None:
    cut = LaneResults((*STAGES, *answers("p", OTHER)), frozenset({T, OTHER}), broken=True)
    lanes = prefixes(cut, P)
    assert culprits(BASE, lanes, {}) == ()
    assert verdict(judge(BASE, lanes[-1].results), (), BASE, lanes).verdict is Verdict.UNKNOWN


def test_a_group_that_never_began_lacks_nothing() -> None:
    other = LaneResults((*STAGES, Result("test_y.py::test_c", Outcome.PASS)), frozenset({"test_y.py::test_c"}))
    assert culprits(BASE, prefixes(other, P), {}) == ()


def test_a_test_that_is_gone_from_its_file_is_broken() -> None:
    gone = LaneResults((*STAGES, *answers(P, OTHER)), frozenset({OTHER}))
    assert only(BASE, P, gone) == "introduced by 2/2, still there at 2/2"


@pytest.mark.parametrize(
    ("without", "text"),
    [
        (lane("pp"), "without 2/2 it passes"),
        (lane("p"), "without 2/2 it is fine 1 of 1 times, 2 would say something"),
        (lane("pf"), "but without 2/2 it is there, too"),
        (lane("e"), "without 2/2 it could not be asked"),
        ("does not come out cleanly", "2/2 does not come out cleanly"),
    ],
)
def test_taking_the_patch_out(without: LaneResults | str, text: str) -> None:
    (found,) = culprits(BASE, prefixes(P, F), {2: without})
    assert str(found).endswith(f"; {text}")


def test_questions_until_each_claim_is_confirmed() -> None:
    def asked(base: str, *lanes: str) -> dict[str, tuple[str, ...]]:
        return questions(lane(base), {f"l{p.number}": p for p in prefixes(*lanes)}, len(base) + 1)

    assert asked("p", "p", "p", "f", "f") == {"base": (T,), "l2": (T,), "l3": (T,), "l4": (T,)}
    assert asked("pp", "p", "pp", F, F) == {"base": (T,), "l2": (T,)}
    assert asked("p", "p", "e", "f", "f") == {"base": (T,), "l1": (T,), "l3": (T,), "l4": (T,)}
    assert asked(P, "p", P, F, F) == {}
    assert asked("p", "p", "p") == {}


def test_a_series_that_mends_itself_is_bad_all_the_same() -> None:
    lanes = prefixes(P, F, P)
    head = judge(BASE, lanes[-1].results)
    assert head.verdict is Verdict.GOOD
    found = verdict(head, culprits(BASE, lanes, {}), BASE, lanes)
    assert found.verdict is Verdict.BAD
    assert "introduced by 2/3, fixed by 3/3" in found.reasons[0]


def test_it_is_bad_also_when_the_head_could_not_be_asked() -> None:
    lanes = prefixes(P, F, P, "e")
    found = verdict(judge(BASE, lanes[-1].results), culprits(BASE, lanes, {}), BASE, lanes)
    assert found.verdict is Verdict.BAD
    mine, heads = found.reasons
    assert mine == f"{T}: PASS on base, 2/4 is FAIL 2 of 2 times, base 0 of 5; introduced by 2/4, fixed by 3/4"
    assert heads.startswith(f"{T}: could not be asked")


def test_the_heads_reason_gets_its_culprit() -> None:
    lanes = prefixes(P, F)
    found = verdict(judge(BASE, lanes[-1].results), culprits(BASE, lanes, {}), BASE, lanes)
    assert found.verdict is Verdict.BAD
    assert found.reasons[0].endswith("introduced by 2/2, still there at 2/2")


def test_each_regression_gets_its_own_culprit_also_when_its_name_has_a_colon() -> None:
    odd = "test_x.py::test_a[a: b]"

    def both(word: str, other: str) -> LaneResults:
        return LaneResults((*lane(word).results, *answers(other, odd)), frozenset({T, OTHER, odd}))

    base, lanes = both(P, P), prefixes(both(F, P), both(F, F))
    found = verdict(judge(base, lanes[-1].results), culprits(base, lanes, {}), base, lanes)
    assert [reason.rpartition("; ")[2] for reason in found.reasons] == [
        "introduced by 1/2, still there at 2/2",
        "introduced by 2/2, still there at 2/2",
    ]


@pytest.mark.parametrize("between", ["e", "pf"])
def test_a_prefix_without_an_answer_makes_good_unknown(between: str) -> None:
    lanes = prefixes(between, "p")
    found = verdict(judge(BASE, lanes[-1].results), culprits(BASE, lanes, {}), BASE, lanes)
    assert found.verdict is Verdict.UNKNOWN


def test_all_fine_is_good() -> None:
    lanes = prefixes("p", "p")
    assert verdict(judge(BASE, lanes[-1].results), (), BASE, lanes).verdict is Verdict.GOOD


def ask_all(total: int, ask: Callable[[int], str]) -> tuple[LaneResults, list[Prefix]]:
    """Base (0) and every prefix, asked as a run asks them; ``ask`` gives the next answer of one."""
    words = [ask(number) for number in range(total + 1)]
    for attempt in range(2, ATTEMPTS + 1):
        lanes = {str(p.number): p for p in prefixes(*words[1:])}
        for name in questions(lane(words[0]), lanes, attempt):
            number = 0 if name == "base" else int(name)
            words[number] += ask(number)
    return lane(words[0]), prefixes(*words[1:])


@pytest.mark.parametrize("rate", [1.0, 0.9, 0.7])
@pytest.mark.parametrize("seed", range(200))
def test_an_innocent_patch_is_never_named(seed: int, rate: float) -> None:
    """A bug between two patches, prefixes that could not be asked, and a bug that shows only now and then: the patch
    named is the right one, or a range that has it."""
    dice = random.Random(seed)
    total = dice.randint(2, 7)
    first, last = sorted(dice.sample(range(1, total + 2), 2))
    silent = {number for number in range(1, total + 1) if dice.random() < 0.15}

    def ask(number: int) -> str:
        if number in silent:
            return "e"
        return "f" if first <= number < last and dice.random() < rate else "p"

    base, lanes = ask_all(total, ask)
    found = [c for c in culprits(base, lanes, {}) if c.test == T]
    assert len(found) <= 1
    for culprit in found:
        assert first in culprit.introduced, culprit
        if rate < 0.9:
            continue  # five passes in a row are possible: who mended it is then a guess, which blames nobody
        if culprit.fixed:
            assert last in culprit.fixed, culprit
        if culprit.still is not None:
            assert culprit.still is (last > total), culprit
    if rate == 1.0 and not silent:
        assert [(c.introduced, c.fixed) for c in found] == [((first,), (last,) if last <= total else ())]


def test_a_test_that_fails_everywhere_now_and_then_is_seldom_a_patchs_fault() -> None:
    """Fails in every fifth run, with and without the series. Base passes five times by luck in a third of these series,
    so some blame is left; a single patch with clean ones before it gets hardly any."""
    named = []
    for seed in range(400):
        dice = random.Random(seed)

        def ask(number: int, dice: random.Random = dice) -> str:
            return "f" if dice.random() < 0.2 else "p"

        base, lanes = ask_all(dice.randint(2, 7), ask)
        named += [c.introduced for c in culprits(base, lanes, {})]
    assert len(named) < 30
    assert len([introduced for introduced in named if len(introduced) == 1]) < 10
    assert len([introduced for introduced in named if len(introduced) == 1 and introduced[0] > 1]) <= 2


def test_its_words_are_made_of_numbers_only() -> None:
    assert str(Culprit(T, (1,), (), True, 1)) == "introduced by 1/1, still there at 1/1"


def test_what_only_a_prefix_could_not_be_asked_makes_good_unknown() -> None:
    """kmemleak did not look at it: what it leaks and a later patch mends is in no history of base's tests."""
    unseen = LaneResults((*lane(P).results, Result("kmemleak/suite", Outcome.ERROR, "it did not look")), broken=True)
    series = prefixes(unseen, P)
    found = verdict(judge(BASE, lane(P)), culprits(BASE, series, {}), BASE, series)
    assert found.verdict is Verdict.UNKNOWN
    assert found.reasons == ("kmemleak/suite: not known at 1/2, which could not be asked",)
