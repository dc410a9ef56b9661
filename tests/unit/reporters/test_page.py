# SPDX-License-Identifier: GPL-2.0-only
"""The page says the verdict first, loads nothing, and lets neither a mail nor a console write markup into it."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harness.model.alone import judge_alone
from harness.model.blame import Culprit
from harness.model.changed import ChangedFile, Line, Ran
from harness.model.finding import Finding, Kind
from harness.model.frame import Frame, Place
from harness.model.judge import ATTEMPTS, Judgement, LaneResults, Verdict, judge
from harness.model.measures import Number
from harness.model.memory import Held
from harness.model.proof import OwnLines
from harness.model.rate import Rate
from harness.model.report import LaneReport, PatchReport, Report
from harness.model.result import Measure, Outcome, Result
from harness.reporters import page
from harness.reporters.page import lab
from harness.reporters.page.document import Section

P, F, L, S, E = Outcome.PASS, Outcome.FAIL, Outcome.LOST, Outcome.SKIP, Outcome.ERROR
HOSTILE = "evil</pre><script>alert(1)</script>\"'><img src=//x.example>\x1b[31m\x00\u202e\u2066\ud800&amp;{{ 7*7 }}"
FRAME = Frame("planted", 11, 32, "amdxdna")
SPLAT = Finding(
    Kind.KASAN,
    f"KASAN: slab-use-after-free {HOSTILE}",
    "KASAN:planted",
    f"BUG: KASAN: {HOSTILE}\n RAX: 0000000000000000\n {FRAME} (drivers/accel/amdxdna/x.c:12)",
    lines=((FRAME, (Place("planted", "drivers/accel/amdxdna/x.c", 12),)),),
)
MIB = 1 << 20


def results(outcomes: dict[str, Outcome], evidence: str = "", *findings: Finding) -> LaneResults:
    stages = [Result(f"stage/{name}", P) for name in ("apply", "build", "boot", "probe")]
    tests = [
        Result(f"test_x.py::{name}", o, "" if o is P else evidence, n, 0.5, () if o is P else findings)
        for n in range(1, ATTEMPTS + 1)
        for name, o in outcomes.items()
    ]
    return LaneResults((*stages, *tests))


def report(base: dict[str, Outcome] | None, head: dict[str, Outcome], text: str = "a series", said: str = "") -> Report:
    new = results(head, said, SPLAT) if said else results(head)
    lanes = {"head": LaneReport("head", "7.3.4-b", new.results, {"test_x.py::test_known": (text,)})}
    judgement: Judgement
    if base is None:
        judgement = judge_alone(new)
    else:
        old = results(base, said)
        judgement = judge(old, new)
        lanes = {"base": LaneReport("base", "7.3.4-a", old.results), **lanes}
    command = ("xdna-harness", "run", text, "--kernel", "debian:7.3")
    facts = {"kernel": f"debian:7.3: {text}", "series": f"v1, 1 patch(es): {text}"}
    return Report(
        Path("runs/1"), text, judgement, lanes, "emulated-npu4-force-iova-plain-restored", facts, command=command
    )


def everything(text: str) -> Report:
    """A report that has something for every section, all of it said by ``text``."""
    base = {"test_a[1]": P, "test_b": P, "test_c": F, "test_known": F, "test_skip": S, "test_same": F}
    base[f"test_{text}"] = E
    found = report(base, {**base, "test_a[1]": F, "test_b": L, "test_c": P}, text, text)
    lane = found.lanes["head"]
    off = tuple(replace(r, disarmed=("lockdep",)) if r.id.endswith("test_b") else r for r in lane.results)
    line = Line("+", 3, text, Ran.RAN)
    return replace(
        found,
        lanes={**found.lanes, "head": replace(lane, results=off)},
        notes=(text,),
        trailers=(text,),
        culprits=(
            Culprit("test_x.py::test_a[1]", (1,), (), True, 1, taken_out=text),
            Culprit("test_x.py::test_same", (1,), (2,), False, 2),
        ),
        patches=(PatchReport(1, text, text, 2.0, (text,), {"PASS": 3, "FAIL": 1}),),
        coverage=(text,),
        own_lines=OwnLines(1, 2),
        numbers=(
            Number("test_x.py::test_m", text, Measure(5, text), Measure(7, text)),
            *(
                Number("test_x.py::test_t", name, None, Measure(size * MIB, "bytes"))
                for name, size in (
                    ("heap at the end", 128),
                    ("in use at the end", 16),
                    ("in use at most", 76),
                    ("largest free range at the end", 99),
                )
            ),
        ),
        proofs={1: ("test_x.py::test_c",)},
        key=text,
        changed=(ChangedFile(text, ((line, replace(line, ran=Ran.NEVER), replace(line, ran=Ran.NOT_CODE)),)),),
        memory={"head": (Held(text, 1.0, 128 * MIB, 2, 0, -5 * MIB), Held("b", 0.0, None, None, 64 * MIB, None))},
        score=Rate(9, 10),
        false_alarms=Rate(0, 100),
        message_id=text,
    )


class Reader(HTMLParser):
    """Elements, their attributes, and the text outside of style and script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] not in (["style"], ["script"]):
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, key, value in self.attributes if key == name]


@pytest.fixture
def full() -> Report:
    return everything("a series")


def test_the_verdict_is_first_then_what_got_worse_then_everything_else_folded(full: Report) -> None:
    html = page.render(full)
    words = [">BAD<", ">What got worse<", ">Not answered<", ">Patch by patch<", ">Better<", ">All tests<"]
    order = [html.index(word) for word in words]
    assert order == sorted(order)
    parts = re.findall(r'<details class="part[^"]*" id="([\w-]+)"( open)?>', html)
    assert [name for name, is_open in parts if is_open] == ["worse"]
    assert {"grid", "known", "coverage", "measures", "memory", "durations", "detectors", "how"} <= {n for n, _ in parts}


def test_each_failure_has_its_culprit_its_splat_with_places_and_its_command(full: Report) -> None:
    html = page.render(full)
    card = html[html.index('<article class="card">') : html.index("</article>")]
    text = Reader(card).text
    assert "introduced by 1/1, still there at 1/1; a series" in text
    assert "drivers/accel/amdxdna/x.c:12" in text
    assert "RAX" not in text.partition("All that was said")[0]
    assert "xdna-harness run 'a series' --kernel debian:7.3 -k 'test_a[1]'" in text
    assert "xdna-harness repro runs/1 'test_x.py::test_a[1]'" in text


def test_nothing_from_outside_is_markup_anywhere() -> None:
    plain, hostile = page.render(everything("a series")), page.render(everything(HOSTILE))
    one, two = Reader(plain), Reader(hostile)
    assert [t for t in two.tags if t != "wbr"] == [t for t in one.tags if t != "wbr"]
    assert {name for _, name, _ in two.attributes} == {name for _, name, _ in one.attributes}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", hostile)
    assert "⟨U+001B⟩[31m⟨U+0000⟩⟨U+202E⟩⟨U+2066⟩⟨U+D800⟩&amp;{{ 7*7 }}" in two.text
    hostile.encode()


def test_what_may_turn_text_around_stands_apart() -> None:
    html = page.render(everything("HOSTILE"))
    places = [m.start() for m in re.finditer("HOSTILE", html)]
    apart = re.compile(
        r"(?:<bdi>(?:(?!</bdi>).)*|<pre[^>]*>[^<]*|<td[^>]*>[^<]*|<code[^>]*>[^<]*|<title>[^<]*|=\"[^\"<]*)$", re.DOTALL
    )
    assert len(places) > 30
    assert [html[p - 60 : p + 10] for p in places if not apart.search(html[max(0, p - 300) : p])] == []


def test_the_page_loads_nothing_and_its_policy_lets_its_own_parts_through(full: Report) -> None:
    html = page.render(full)
    read = Reader(html)
    (policy,) = [v for tag, n, v in read.attributes if tag == "meta" and n == "content" and "default-src" in v]
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert read.values("src") == []
    assert read.values("style") == []
    assert [n for _, n, _ in read.attributes if n.startswith("on")] == []
    assert {v for v in read.values("href") if not v.startswith("#")} <= {
        "data:,",
        "https://lore.kernel.org/r/a%20series",
    }


def test_every_picture_has_words_and_every_link_a_target(full: Report) -> None:
    html = page.render(full)
    read = Reader(html)
    pictures = re.findall(r"<svg[^>]*>", html)
    assert pictures
    assert [
        p for p in pictures if 'aria-hidden="true"' not in p and not re.search(r'role="img" aria-label="[^"]+"', p)
    ] == []
    ids = read.values("id")
    assert len(ids) == len(set(ids))
    assert {v[1:] for v in read.values("href") if v.startswith("#")} <= set(ids)


def test_lines_of_the_diff_say_whether_they_ran(full: Report) -> None:
    html = page.render(full)
    assert re.findall(r'<tr class="plus (\w+)">', html) == ["ran", "never", "nocode"]
    assert "1 of 2 added lines of code ran" in html
    uncounted = replace(
        full,
        own_lines=None,
        coverage=(),
        changed=(ChangedFile("x.c", ((Line("-", None, "a"), Line("+", 1, "b")),)),),
    )
    assert "--coverage" in page.render(uncounted)
    assert "1 line(s) added" in page.render(uncounted)


def test_numbers_that_differ_come_first(full: Report) -> None:
    def number(test: str, name: str, head: int) -> Number:
        return Number(f"test_x.py::{test}", name, Measure(1, ""), Measure(head, ""))

    mixed = (number("test_one", "m1", 1), number("test_two", "m2", 1), number("test_two", "m3", 2))
    html = page.render(replace(full, numbers=mixed))
    assert re.findall(r"<dt><bdi>(m\d)</bdi>", html) == ["m3", "m2", "m1"]
    assert "1 of 3 differ" in html


def test_a_diff_that_nobody_reads_is_cut(full: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "MOST_LINES", 3)
    hunks = tuple((Line("+", n, f"line {n}"), Line("+", n + 1, f"line {n + 1}")) for n in (1, 5, 9))
    html = page.render(replace(full, changed=(ChangedFile("x.c", hunks),)))
    assert "line 2" in html
    assert "line 5" not in html
    assert "And 4 more lines, in series.diff." in html


def test_a_score_is_drawn_with_its_interval(full: Report) -> None:
    assert "Planted bugs that the suite caught: 9 of 10 (90 %; 95 %: 59.6 to 98.2)" in page.render(full)
    assert "Planted bugs" not in page.render(replace(full, score=Rate(0, 0)))


def test_what_is_known_to_fail_looks_known(full: Report) -> None:
    html = page.render(full)
    assert "1 FAIL, known" in html
    assert 'class="cell o-fail known"' in html
    assert 'class="outcome o-fail known"' in html


@pytest.mark.parametrize(
    ("make", "verdict"),
    [
        (lambda: report(None, {"test_a": P}), Verdict.GOOD),
        (lambda: report(None, {"test_a": F}), Verdict.BAD),
        (lambda: report({"test_a": P}, {"test_a": E}), Verdict.UNKNOWN),
        (lambda: replace(report(None, {}), lanes={}, judgement=Judgement(Verdict.UNKNOWN, ())), Verdict.UNKNOWN),
    ],
)
def test_a_report_of_little_is_a_page_too(make: Callable[[], Report], verdict: Verdict) -> None:
    read = Reader(page.render(make()))
    assert verdict in read.text
    assert "how" in read.values("id")


def test_others_add_sections_of_their_own(full: Report) -> None:
    rows = [("test_x.py::test_a", "<b>said</b>")]
    section = Section("review", "Review", "list.html", {"rows": rows, "lead": "checked"}, note="1")
    html = page.render(full, [section])
    assert html.index('id="patches"') < html.index('id="review"') < html.index('id="better"')
    assert "&lt;b&gt;said&lt;/b&gt;" in html
