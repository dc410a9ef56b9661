# SPDX-License-Identifier: GPL-2.0-only
"""What a known failure hides, and what not."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from harness.model.finding import Finding, Kind
from harness.model.known import Hidden, KnownFailure, hide, mended
from harness.model.result import Outcome, Result

TODAY = date(2026, 11, 24)
VERSION = "7.3.4"
TEST = "test_a.py::test_a"
SPLAT = Finding(
    Kind.KASAN, "KASAN in send", "KASAN:send:wait:resume", "BUG: KASAN: use-after-free in send\nRead of size 4"
)
ENTRY = KnownFailure("it is known", ("7.3.*",), date(2027, 1, 1), fingerprint="KASAN:send:wait:resume")
MANY = replace(ENTRY, fingerprint="KASAN:send", says=("use-after-free in send", "Read of size 4"))


def failed(*findings: Finding, only: bool = True) -> Result:
    return Result(TEST, Outcome.FAIL, "", findings=findings, only_findings=only)


def hidden(result: Result, *entries: KnownFailure, variant: str = "emulated-npu4-sva-plain-restored") -> Hidden:
    return hide(result, [entry for entry in entries if entry.covers(VERSION, variant, TODAY)])


def left(result: Result, *entries: KnownFailure) -> Result:
    return hidden(result, *entries).result


def test_a_known_finding_leaves_a_pass() -> None:
    found = hidden(failed(SPLAT), ENTRY)
    assert (found.result.outcome, found.result.findings, found.known) == (Outcome.PASS, (), ("it is known",))


def test_an_assertion_that_failed_beside_a_known_finding_stays() -> None:
    assert left(failed(SPLAT, only=False), ENTRY).outcome is Outcome.FAIL


def test_a_finding_beside_a_known_one_stays() -> None:
    other = replace(SPLAT, fingerprint="KASAN:other")
    assert left(failed(SPLAT, other), ENTRY).findings == (other,)
    assert left(failed(SPLAT, other), ENTRY).outcome is Outcome.FAIL


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(replace(ENTRY, expires=date(2026, 11, 23)), id="expired"),
        pytest.param(replace(ENTRY, kernels=("7.2.*",)), id="another kernel"),
        pytest.param(replace(ENTRY, variants=("*-carveout-*", "ssh-*")), id="another variant"),
        pytest.param(replace(ENTRY, fingerprint="KASAN:send"), id="the beginning of a fingerprint"),
        pytest.param(replace(MANY, fingerprint="KASAN:sen"), id="the beginning of a frame"),
        pytest.param(replace(MANY, says=("Write of size 4",)), id="the splat says something else"),
        pytest.param(replace(MANY, says=("use-after-free in send", "Read of size 8")), id="it says only a part"),
        pytest.param(replace(ENTRY, fingerprint="", test="test_a.py::test_b"), id="another test"),
    ],
)
def test_an_entry_hides_only_what_it_names(entry: KnownFailure) -> None:
    assert left(failed(SPLAT), entry) == failed(SPLAT)


def test_one_entry_for_every_caller_of_a_defect() -> None:
    again = replace(SPLAT, fingerprint="KASAN:send:close")
    assert hidden(failed(SPLAT, again), MANY).known == ("it is known",)
    assert left(failed(SPLAT, again), MANY).outcome is Outcome.PASS


def test_a_test_that_is_known_to_fail_is_a_pass_until_it_shows_something_new() -> None:
    entry = replace(ENTRY, fingerprint="", test=TEST)
    assert left(failed(only=False), entry).outcome is Outcome.PASS
    assert left(failed(SPLAT), entry).outcome is Outcome.FAIL


def test_findings_that_come_with_a_known_test_may_be_a_pattern() -> None:
    where = replace(SPLAT, fingerprint="KASAN:rb_erase:dev_obj_free:close")
    entry = replace(ENTRY, fingerprint="", test=TEST, findings=("KASAN:*:dev_obj_free:*",))
    assert left(failed(where), entry).outcome is Outcome.PASS
    elsewhere = replace(SPLAT, fingerprint="KASAN:rb_erase:other:close")
    assert left(failed(elsewhere), entry).findings == (elsewhere,)


def test_findings_of_a_known_test_are_hidden_there_only() -> None:
    entry = replace(ENTRY, fingerprint="", test=TEST, findings=(SPLAT.fingerprint,))
    assert left(failed(SPLAT, only=False), entry).outcome is Outcome.PASS
    assert left(failed(replace(SPLAT, fingerprint="KASAN:other"), only=False), entry).outcome is Outcome.FAIL
    elsewhere = replace(failed(SPLAT), id="test_a.py::test_b")
    assert left(elsewhere, entry) == elsewhere
    lost = replace(failed(SPLAT), outcome=Outcome.LOST)
    assert left(lost, entry) == lost


@pytest.mark.parametrize("outcome", [Outcome.ERROR, Outcome.SKIP])
def test_what_was_not_asked_is_never_hidden(outcome: Outcome) -> None:
    entry = replace(ENTRY, fingerprint="", test=TEST)
    assert left(replace(failed(), outcome=outcome), entry).outcome is outcome


def test_a_test_that_is_known_to_fail_must_not_panic() -> None:
    entry = replace(ENTRY, fingerprint="", test=TEST)
    lost = replace(failed(only=False), outcome=Outcome.LOST)
    assert left(lost, entry) == lost
    assert left(lost, replace(entry, outcome=Outcome.LOST)).outcome is Outcome.PASS
    assert left(failed(only=False), replace(entry, outcome=Outcome.LOST)).outcome is Outcome.FAIL


def test_a_known_loss_is_known_by_what_the_kernel_said() -> None:
    entry = replace(ENTRY, fingerprint="", test=TEST, outcome=Outcome.LOST, findings=("KASAN:*", "PANIC:*"))
    silent = replace(failed(only=False), outcome=Outcome.LOST)
    assert hidden(silent, entry) == Hidden(silent)
    assert left(replace(silent, findings=(SPLAT,)), entry).outcome is Outcome.PASS
    other = replace(SPLAT, fingerprint="LOCKDEP:a")
    known = replace(ENTRY, fingerprint=other.fingerprint)
    assert hide(replace(silent, findings=(other,)), [entry, known]).result == silent, "known, and not what kills it"


def test_what_is_strictly_known_and_passes_is_mended() -> None:
    entry = replace(ENTRY, fingerprint="", test=TEST)
    passed = Result(TEST, Outcome.PASS)
    assert mended([passed, passed], [entry]) == [TEST]
    assert mended([passed, failed()], [entry]) == []
    assert mended([passed], [replace(entry, rate=0.5)]) == []
    assert mended([Result("test_b", Outcome.PASS)], [entry]) == []
