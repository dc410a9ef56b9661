# SPDX-License-Identifier: GPL-2.0-only
"""Where two NPUs differ: found, named, and not blamed on the other when one does not repeat itself."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from harness.formats import mailbox_trace
from harness.model.result import Outcome
from harness.model.told import (
    Aspect,
    Calls,
    Comparison,
    Difference,
    Message,
    Told,
    Unanswered,
    compare,
    skipped,
    unanswered,
)

LINES = """\
# tracer: nop
 python3-312  [001] .....     4.567890: mbox_set_tail: xdna_mailbox.53 id 0x1d000001 opcode 0x103
 kworker/1:2-40 [001] ..... 4.567990: mbox_set_head: xdna_mailbox.53 id 0x1d000001 opcode 0x103
 python3-312  [000] .....     4.600000: mbox_set_tail: xdna_mailbox.55 id 0x1d000002 opcode 0xc
""".splitlines()

CALLS = (("CreateBo", 0), ("CreateBo", -errno.EAGAIN), ("mmap", 0))
GOOD = Told(Outcome.PASS, CALLS, mailbox_trace.messages(LINES))
TEST = "test_x.py::test_e01"


def differences(first: Told, second: Told) -> list[tuple[Aspect, str, str]]:
    found = compare([{TEST: first}], [{TEST: second}])
    assert not any(one.unsteady for one in found)
    return [(one.aspect, one.first, one.second) for one in found]


def test_messages_are_read_and_channels_numbered_as_they_speak() -> None:
    assert GOOD.messages == (Message(0, True, 0x103), Message(0, False, 0x103), Message(1, True, 0xC))


def test_the_same_is_no_difference() -> None:
    assert differences(GOOD, GOOD) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"outcome": Outcome.FAIL, "said": "assert 1 == 2\nmore"},
            (Aspect.OUTCOME, "PASS", "FAIL: assert 1 == 2"),
        ),
        (
            {"calls": (CALLS[0], ("CreateBo", -errno.EINVAL), CALLS[2])},
            (Aspect.ERRNO, "call 2, CreateBo: EAGAIN", "EINVAL"),
        ),
        ({"calls": (*CALLS, ("SyncBo", 0), ("SyncBo", 0))}, (Aspect.CALLS, "no more", "SyncBo x2")),
        (
            {"messages": (Message(0, True, 0x103), Message(1, True, 0xC))},
            (Aspect.MESSAGES, "receives 0x103", "no more"),
        ),
    ],
)
def test_one_changed_answer_is_found_and_named(change: dict[str, object], expected: tuple[Aspect, str, str]) -> None:
    assert differences(GOOD, replace(GOOD, **change)) == [expected]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            (("CreateBo", 0), ("SyncBo", 0)),
            (("SyncBo", -errno.EIO), ("CreateBo", 0)),
            [(Aspect.ERRNO, "SyncBo: succeeds", "EIO")],
        ),
        (
            (("CreateBo", 0), ("SyncBo", 0)),
            (("CreateBo", 0), ("mmap", 0), ("SyncBo", -errno.EIO)),
            [(Aspect.ERRNO, "SyncBo: succeeds", "EIO"), (Aspect.CALLS, "no more", "mmap")],
        ),
        (
            (("CreateBo", 0), ("SyncBo", 0)),
            (("SyncBo", 0), ("SyncBo", -errno.EIO), ("CreateBo", 0)),
            [(Aspect.ERRNO, "SyncBo: no more", "EIO"), (Aspect.CALLS, "no more", "SyncBo")],
        ),
        (
            (("SyncBo", 0), ("CreateBo", 0)),
            (("CreateBo", 0), ("SyncBo", 0), ("SyncBo", 0)),
            [(Aspect.CALLS, "no more", "SyncBo")],
        ),
        ((("CreateBo", 0), ("SyncBo", 0)), (("SyncBo", 0), ("CreateBo", 0)), []),
    ],
)
def test_calls_in_another_order_are_compared_by_name(
    first: Calls, second: Calls, expected: list[tuple[Aspect, str, str]]
) -> None:
    """How threads interleave is chance; what is answered is not."""
    assert differences(replace(GOOD, calls=first), replace(GOOD, calls=second)) == expected


def test_the_same_messages_on_another_channel_are_found() -> None:
    one, other = Message(0, True, 0x103), Message(1, True, 0x103)
    expected = [(Aspect.ORDER, "channel 0, message 2: sends 0x103", "nothing")]
    assert differences(replace(GOOD, messages=(one, one)), replace(GOOD, messages=(one, other))) == expected
    expected = [(Aspect.ORDER, "channel 0, message 2: nothing", "sends 0x103")]
    assert differences(replace(GOOD, messages=(one, other)), replace(GOOD, messages=(one, one))) == expected


def test_a_channel_that_only_the_other_has_is_looked_at() -> None:
    one, other = Message(0, True, 0x103), Message(1, True, 0x103)
    found = differences(replace(GOOD, messages=(one,)), replace(GOOD, messages=(other,)))
    assert found == [(Aspect.ORDER, "channel 0, message 1: sends 0x103", "nothing")]


def test_how_channels_and_directions_interleave_is_chance() -> None:
    assert GOOD.messages is not None
    sent, received, other = GOOD.messages
    for order in ((other, sent, received), (received, sent, other)):
        assert differences(GOOD, replace(GOOD, messages=order)) == []


def test_another_order_of_what_is_sent_is_found() -> None:
    one, other = Message(0, True, 0x103), Message(0, True, 0x10A)
    found = differences(replace(GOOD, messages=(one, other)), replace(GOOD, messages=(other, one)))
    assert found == [(Aspect.ORDER, "channel 0, message 1: sends 0x103", "sends 0x10a")]


def test_who_could_not_listen_says_nothing_about_messages() -> None:
    assert differences(GOOD, replace(GOOD, messages=None)) == []


AWAY = Told(Outcome.ERROR, said="the machine went away\nmore")


@pytest.mark.parametrize(("told", "why"), [({}, "not asked"), ({TEST: AWAY}, "ERROR: the machine went away")])
def test_what_one_could_not_be_asked_is_no_difference(told: dict[str, Told], why: str) -> None:
    assert compare([{TEST: GOOD}], [told]) == []
    assert unanswered([{TEST: GOOD}], [told], ("a", "b")) == [Unanswered(TEST, "b", why)]
    assert unanswered([told], [{TEST: GOOD}], ("a", "b")) == [Unanswered(TEST, "a", why)]


@pytest.mark.parametrize("told", [{}, {TEST: AWAY}])
def test_what_was_answered_the_second_time_is_compared(told: dict[str, Told]) -> None:
    failed = Told(Outcome.FAIL, said="no")
    assert unanswered([told, {TEST: GOOD}], [{TEST: GOOD}], ("a", "b")) == []
    assert compare([told, {TEST: GOOD}], [{TEST: GOOD}, told]) == [], "to be away is not to be unsteady"
    found = compare([told, {TEST: replace(failed, calls=CALLS, messages=GOOD.messages)}], [{TEST: GOOD}, told])
    assert found == [Difference(TEST, Aspect.OUTCOME, "FAIL: no", "PASS")]


def test_what_a_target_lacks_is_no_difference_and_no_trouble() -> None:
    """84 tests ask the emulated NPU for something that silicon does not do."""
    lacks = Told(Outcome.SKIP, said="needs the emulated NPU")
    here, there = [{TEST: GOOD, "t2": lacks}] * 2, [{TEST: lacks, "t2": lacks}] * 2
    assert compare(here, there) == []
    assert unanswered(here, there, ("a", "b")) == []
    found = skipped(here, there, ("a", "b"))
    assert found == [Unanswered(TEST, "b", "SKIP: needs the emulated NPU")], "what both skip is nobody's"
    assert skipped(there, here, ("a", "b")) == [Unanswered(TEST, "a", "SKIP: needs the emulated NPU")]
    assert Comparison(("a", "b"), 1, (), skipped=tuple(found)).status == 0
    assert Comparison(("a", "b"), 0, (), skipped=tuple(found)).status == 3, "nothing was compared"


def test_one_that_was_skipped_once_is_compared() -> None:
    lacks = Told(Outcome.SKIP, said="this kernel cannot let allocations fail")
    assert skipped([{TEST: GOOD}], [{TEST: lacks}, {TEST: GOOD}], ("a", "b")) == []
    assert compare([{TEST: GOOD}], [{TEST: lacks}, {TEST: GOOD}]) == []


def test_a_difference_counts_more_than_what_could_not_be_asked() -> None:
    gone = (Unanswered(TEST, "a", "not asked"),)
    one = Difference(TEST, Aspect.OUTCOME, "PASS", "FAIL")
    unsteady = replace(one, unsteady=True)
    found = [
        Comparison(("a", "b"), 1, differences, (), missing).status
        for differences, missing in [((), ()), ((unsteady,), ()), ((unsteady,), gone), ((one,), gone)]
    ]
    assert found == [0, 0, 3, 1]


def test_what_a_side_does_not_repeat_is_unsteady() -> None:
    other = replace(GOOD, calls=CALLS[:2])
    found = compare([{TEST: GOOD}, {TEST: other}], [{TEST: other}, {TEST: other}])
    assert [(one.aspect, one.unsteady) for one in found] == [(Aspect.CALLS, True)]
    failed = replace(other, outcome=Outcome.FAIL)
    found = compare([{TEST: GOOD}, {TEST: other}], [{TEST: failed}, {TEST: failed}])
    assert [(one.aspect, one.unsteady) for one in found] == [(Aspect.OUTCOME, False), (Aspect.CALLS, True)]
