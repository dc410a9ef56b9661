# SPDX-License-Identifier: GPL-2.0-only
"""Rules: what may be said, and to which occurrence a rule applies."""

from __future__ import annotations

from typing import Any

import pytest

from harness.npu.script import BadRule, Occurrence, Script, parse_rule

ADD = Occurrence("opcode", 0x115, "mgmt", 0)


def script(*rules: dict[str, Any]) -> Script:
    made = Script()
    made.set([parse_rule(rule) for rule in rules])
    return made


def statuses(made: Script, times: int, what: Occurrence = ADD) -> list[int | None]:
    found = [made.find(what) for _ in range(times)]
    return [rule.status if rule else None for rule in found]


def test_a_rule_without_count_is_for_the_next_one_only() -> None:
    assert statuses(script({"opcode": "ADD_HOST_BUFFER", "status": 5}), 3) == [5, None, None]


def test_skip_then_count() -> None:
    assert statuses(script({"opcode": 0x115, "skip": 2, "count": 2, "status": 5}), 6) == [
        None,
        None,
        5,
        5,
        None,
        None,
    ]


def test_count_null_is_for_ever() -> None:
    assert statuses(script({"opcode": 0x115, "skip": 1, "count": None, "status": 5}), 4) == [None, 5, 5, 5]


def test_every_rule_counts_on_its_own_and_the_first_that_applies_is_used() -> None:
    made = script({"opcode": 0x115, "status": 1}, {"opcode": 0x115, "count": 2, "status": 2})
    assert statuses(made, 3) == [1, 2, None]


def test_a_rule_is_for_its_channel_context_and_kind() -> None:
    made = script({"opcode": 0x18, "channel": "ctx1", "count": None, "drop": True})
    assert made.find(Occurrence("opcode", 0x18, "ctx0", 0)) is None
    assert made.find(Occurrence("opcode", 0x18, "ctx1", 1)) is not None
    made = script({"opcode": 0x115, "context": 2, "count": None, "status": 3})
    assert statuses(made, 1) == [None]
    assert statuses(made, 1, Occurrence("opcode", 0x115, "mgmt", 2)) == [3]
    assert script({"smu": 8, "status": 2}).find(Occurrence("psp", 8)) is None
    assert script({"boot": "dead"}).find(Occurrence("boot", "dead")) is not None


def test_append_keeps_what_is_there_and_its_count() -> None:
    made = script({"opcode": 0x115, "status": 1})
    made.find(ADD)
    made.set([parse_rule({"opcode": 0x115, "status": 2})], append=True)
    assert statuses(made, 2) == [2, None]
    made.set([])
    assert made.rules == []


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ([], "object"),
        ({"status": 1}, "exactly one"),
        ({"opcode": 1, "psp": 1, "status": 1}, "exactly one"),
        ({"opcode": 1, "stauts": 1}, "stauts"),
        ({"opcode": "ADD_HOST_BUFER", "status": 1}, "ADD_HOST_BUFER"),
        ({"opcode": True, "status": 1}, "unknown opcode"),
        ({"opcode": 1}, "what happens"),
        ({"opcode": 1, "drop": False}, "what happens"),
        ({"opcode": 1, "status": -1}, "status"),
        ({"opcode": 1, "status": "bad"}, "status"),
        ({"opcode": 1, "delay": -1}, "delay"),
        ({"opcode": 1, "delay": 1e9}, "delay"),
        ({"opcode": 1, "malform": "oops"}, "malform"),
        ({"opcode": 1, "status": 1, "channel": "ctx"}, "channel"),
        ({"opcode": 1, "status": 1, "skip": 1.5}, "skip"),
        ({"psp": "BOOT", "status": 1}, "psp"),
        ({"psp": 1, "malform": "size"}, "status and drop"),
        ({"boot": "late"}, "boot"),
        ({"boot": "dead", "status": 1}, "boot"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(raw: object, why: str) -> None:
    with pytest.raises(BadRule, match=why):
        parse_rule(raw)
