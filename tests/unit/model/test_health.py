# SPDX-License-Identifier: GPL-2.0-only
"""A repair: what is tried, in which order, and that it ends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.model.health import ESCALATION, Act, HostState, Outcome, Tried, decide

ALL = frozenset({Act.REBOOT, Act.POWER_CYCLE})


def repair(answers: list[str], can: frozenset[Act] = ALL) -> tuple[list[Act], Outcome]:
    """Do a repair whose acts are answered in turn."""
    tried: list[Tried] = []
    while not isinstance(step := decide(tried, can), Outcome):
        tried.append(Tried(step, answers.pop(0)))
    return [one.act for one in tried], step


def test_a_machine_that_answers_is_not_rebooted() -> None:
    assert repair([""]) == ([Act.PROBE], Outcome(HostState.HEALTHY, "answers as it should"))


def test_reboot_before_power_cycle() -> None:
    done, end = repair(["no ssh", "", ""])
    assert done == [Act.PROBE, Act.REBOOT, Act.PROBE]
    assert end == Outcome(HostState.HEALTHY, "answers again after a reboot")


def test_who_cannot_be_told_to_reboot_is_power_cycled_at_once() -> None:
    done, end = repair(["no ssh", "no ssh", "", ""])
    assert done == [Act.PROBE, Act.REBOOT, Act.POWER_CYCLE, Act.PROBE]
    assert end.reason == "answers again after a power cycle"


def test_what_nothing_helps_is_broken_and_the_reason_tells_it_all() -> None:
    done, end = repair(["no ssh", "", "wrong kernel", "", "no ssh", "relay dead"])
    assert done == [Act.PROBE, Act.REBOOT, Act.PROBE, Act.POWER_CYCLE, Act.PROBE, Act.POWER_CYCLE]
    assert end.state is HostState.BROKEN
    assert end.reason == (
        "probe: no ssh; reboot: done; probe: wrong kernel; power cycle: done; probe: no ssh; power cycle: relay dead"
    )


def test_without_power_there_is_less_to_try() -> None:
    done, end = repair(["no ssh", "no ssh"], frozenset({Act.REBOOT}))
    assert done == [Act.PROBE, Act.REBOOT]
    assert end.state is HostState.BROKEN


@given(st.lists(st.sampled_from(["", "no"]), min_size=20, max_size=20), st.sets(st.sampled_from(list(Act)[1:])))
def test_it_ends_and_only_a_probe_heals(answers: list[str], can: set[Act]) -> None:
    said = list(answers)
    done, end = repair(said, frozenset(can))
    used = answers[: len(done)]
    assert len(done) <= 2 * len(ESCALATION) + 1
    assert set(done) <= {Act.PROBE, *can}
    assert (end.state is HostState.HEALTHY) == (done[-1] is Act.PROBE and used[-1] == "")
