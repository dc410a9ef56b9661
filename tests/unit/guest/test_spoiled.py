# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import errno
from typing import Any

import pytest

from harness.guest.scenario import Attaching, Configuring, Scenario
from harness.guest.spoiled import WAYS, Message, chosen, judge, messages, place
from harness.npu.script import parse_rule


class Untold(Configuring):
    untold = frozenset({"CONFIG_CU"})


def entry(name: str, action: str = "answered") -> dict[str, Any]:
    return {"n": 1, "name": name, "opcode": 1, "action": action}


LOG = [entry("SUSPEND"), {"n": 2, "event": "boot"}, entry("RESUME"), entry("SUSPEND"), entry("REGISTER", "kept")]


def test_messages_are_counted_by_name() -> None:
    assert messages(LOG) == [
        Message("SUSPEND", 0),
        Message("RESUME", 0),
        Message("SUSPEND", 1),
        Message("REGISTER", 0, kept=True),
    ]
    assert messages(LOG, {"RESUME"}) == [Message("RESUME", 0)]


def test_what_costs_five_seconds_is_asked_once_a_name() -> None:
    made = messages(LOG)
    assert chosen(made, WAYS["refused"]) == made
    assert chosen(made, WAYS["late"]) == [made[0], made[1], made[3]]
    assert chosen(made, WAYS["never"]) == made[:2], "what is never answered anyway"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kept", [False, True])
def test_the_npu_takes_every_rule(way: str, kept: bool) -> None:
    rule = parse_rule(Message("REGISTER_ASYNC_EVENT", 3, kept).rule(WAYS[way]))
    assert rule.skip == 3
    assert (rule.status is not None) == (kept or way == "refused")


def test_a_success_that_hides_a_refusal_is_wrong() -> None:
    message = Message("CONFIG_CU", 0)
    assert list(judge(message, WAYS["refused"], Scenario, None)) == ["success instead of EINVAL"]
    assert list(judge(message, WAYS["never"], Scenario, errno.EINVAL)) == ["EINVAL instead of ETIME"]
    assert list(judge(message, WAYS["never"], Scenario, errno.ETIME)) == []
    assert list(judge(message, WAYS["garbage"], Scenario, None)) == []
    assert list(judge(message, WAYS["never"], Attaching, errno.EINVAL)) == []
    assert list(judge(message, WAYS["late"], Scenario, errno.EINVAL)) == ["EINVAL instead of ETIME"]
    assert list(judge(message, WAYS["refused"], Untold, None)) == []


def test_a_place_has_the_messages_name_and_the_way() -> None:
    assert place(Message("CONFIG_CU", 2), WAYS["size"]) == "CONFIG_CU-size"
    assert str(Message("CONFIG_CU", 2)) == "CONFIG_CU 3"
