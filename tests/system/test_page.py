# SPDX-License-Identifier: GPL-2.0-only
"""report.html in a real browser: made by the command line from a run's records, whose every text is hostile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from conftest import PROJECT
from harness.formats import changes, gcov
from harness.job import Job, write_job
from harness.model.night import Answer
from harness.model.trend import Point, trends
from harness.reporters.page.nights import render

BROWSERS = ("chromium-headless-shell", "chromium")
WIDTHS = (360, 768, 1280)
SCHEMES = ("light", "dark")
EVIL = '</pre></script><img src="//x.example/i" onerror="hacked=1"><script>hacked=1</script>\x1b[31m\u202egnol'
LONG = "a_word_that_nobody_breaks" * 12
SPLAT = f"""BUG: KASAN: slab-use-after-free in planted+0xb/0x20 [amdxdna]
Read of size 8 at addr ffff888100000000 by task {EVIL}/1
Call Trace:
 planted+0xb/0x20 [amdxdna]
 {LONG}+0x9/0x80 [amdxdna]
"""
MIB = 1 << 20
LANES = {"base": "7.3.4-xdna-1", "head": "7.3.4-xdna-2"}
LEAST_CONTRAST = 4.5
"""WCAG 2.1, 1.4.3, level AA."""
TESTS = {
    # on base, on head
    "test_x.py::test_worse[1]": ("pass", "fail"),
    "test_x.py::test_better": ("fail", "pass"),
    "test_x.py::test_same": ("fail", "fail"),
    "test_x.py::test_skipped": ("skip", "skip"),
    f"test_x.py::test_{LONG}": ("pass", "pass"),
    **{f"test_y.py::test_number_{n}": ("pass", "pass") for n in range(40)},
}


def events(lane: int) -> Iterator[dict[str, Any]]:
    for stage in ("apply", "build", "boot", "probe"):
        yield {"event": "stage", "id": f"stage/{stage}", "outcome": "PASS"}
    for attempt in range(1, 6):
        place = {"boot": attempt, "attempt": attempt}
        yield {"event": "suite-start", "tests": list(TESTS) if attempt == 1 else [], **place}
        for test, outcomes in TESTS.items():
            outcome = outcomes[lane]
            if attempt > 1 and "worse" not in test:
                continue
            splat = SPLAT.splitlines() if outcome == "fail" and "worse" in test else []
            shared = {"meminfo.Shmem": 64 * MIB, "memory.used": 100 * MIB}
            yield {"event": "test-start", "id": test, **place}
            yield {
                "event": "test-end",
                "id": test,
                "outcome": outcome,
                "text": "" if outcome == "pass" else f"AssertionError: {EVIL}\n\n{LONG}",
                "duration": 0.5,
                "kmsg": [{"seq": n, "level": 4, "time": 1.0, "text": text} for n, text in enumerate(splat)],
                "counters": {"before": shared, "after": shared},
                "outside": {"npu.contexts": 0, "npu.heap": 128 * MIB, "npu.chunks": 2},
                "measures": {f"bytes {EVIL}": {"value": lane + 1, "unit": "bytes"}} if "better" in test else {},
                **place,
            }


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    job = Job(kernel="debian:7.3", series=f"evil {EVIL}.mbox")
    (run / "job.toml").write_text(write_job(job))
    about: list[dict[str, Any]] = [
        {"event": "series", "title": f"{EVIL} {LONG}", "trailers": [EVIL], "message_id": f"<{EVIL}@x.example>"},
        {"event": "fact", "name": "kernel", "text": EVIL},
        {"event": "note", "text": EVIL},
        {"event": "score", "caught": 9, "counted": 10, "bad": 0, "runs": 100},
        *({"event": "lane", "name": name, "version": "7.3.4", "kernel": kernel} for name, kernel in LANES.items()),
    ]
    (run / "run.jsonl").write_text("".join(json.dumps(event) + "\n" for event in about))
    for lane, name in enumerate(LANES):
        folder = run / name / job.variant.name
        folder.mkdir(parents=True)
        (folder / "results.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events(lane)))
    name = "drivers/accel/amdxdna/a.c"
    new = "".join(f"{line}\n" for line in ("ran", f"never {EVIL.partition(chr(27))[0]} {LONG}", "no code"))
    (run / changes.FILE).write_text(changes.difference({name: "old\n"}, {name: new}))
    (run / "coverage.json").write_text(gcov.dump({name: gcov.FileCounts({1: 1, 2: 0})}, new={name: [1, 2, 3]}))
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "report", str(run), "--format", "html"],
        cwd=PROJECT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (run / "report.html").write_text(done.stdout)
    return run / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert found, "no Chromium: xdna-harness doctor --install --tests"
    with sync_playwright() as playwright:
        # As root Chromium has no sandbox; nothing but a page of ours is shown to it.
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


class Seen:
    """A page, and what the browser complained about or asked for."""

    def __init__(self, browser: Browser, html: Path, width: int = 1280, scheme: Any = "light", **more: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, **more)
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog: {dialog.message}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(html.as_uri())

    def __enter__(self) -> Page:
        return self.page

    def __exit__(self, *error: object) -> None:
        self.context.close()
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:"))] == []
        assert len([url for url in self.asked if url.startswith("file:")]) == 1


WIDER = """limit => [...document.querySelectorAll("body *")]
    .filter(part => part.getClientRects().length && !part.closest("pre, .diff, .skip, .unseen, svg"))
    .filter(part => part.getBoundingClientRect().right > limit + 0.5)
    .map(part => part.outerHTML.slice(0, 200))"""

SQUEEZED = """[...document.querySelectorAll("svg.fixed")]
    .filter(part => part.getBoundingClientRect().width < Number(part.getAttribute("width")) - 0.5)
    .map(part => part.ariaLabel)"""


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen(browser: Browser, html: Path, width: int, scheme: str) -> None:
    with Seen(browser, html, width, scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(WIDER, width) == []
        assert page.evaluate(SQUEEZED) == []
        word = page.locator(".word").bounding_box()
        title = page.locator("h1").bounding_box()
        assert word is not None
        assert title is not None
        assert word["y"] + word["height"] < title["y"] < 800


FAINT = """least => {
    const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
    const back = part => {
        for (; part; part = part.parentElement) {
            const colour = parse(getComputedStyle(part).backgroundColor);
            if (colour.length === 3 || colour[3] === 1) return colour;
        }
        return [NaN, NaN, NaN];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const faint = [];
    let seen = 0;
    while (walker.nextNode()) {
        const part = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || part.closest("svg, script")) continue;
        if (!part.getClientRects().length) continue;
        seen += 1;
        const [one, two] = [light(parse(getComputedStyle(part).color)), light(back(part))].sort((a, b) => b - a);
        const contrast = (one + 0.05) / (two + 0.05);
        if (!(contrast >= least)) faint.push(`${contrast.toFixed(2)} ${part.outerHTML.slice(0, 120)}`);
    }
    return [seen, faint];
}"""


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_word_can_be_read(browser: Browser, html: Path, scheme: str) -> None:
    with Seen(browser, html, scheme=scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        seen, faint = page.evaluate(FAINT, LEAST_CONTRAST)
        assert seen > 200
        assert faint == []
        backs = page.evaluate("getComputedStyle(document.body).backgroundColor")
        dark = sum(int(part) for part in backs.strip("rgb()").split(",")) < 3 * 128
        assert dark == (scheme == "dark")


def test_what_is_hostile_stays_text(browser: Browser, html: Path) -> None:
    with Seen(browser, html) as page:
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert page.evaluate("typeof hacked") == "undefined"
        assert page.locator("img, iframe, object, embed").count() == 0
        assert page.locator("script").count() == 1
        shown = EVIL.replace("\x1b", "⟨U+001B⟩").replace("\u202e", "⟨U+202E⟩")
        assert page.locator("h1").inner_text().startswith(shown)
        assert EVIL.partition("\x1b")[0] in page.locator(".splat pre").first.inner_text()
        assert shown in page.locator(".rows pre").first.text_content()
        assert page.locator("h1 a").get_attribute("href") == page.locator("h1 a").evaluate("link => link.href")
        assert page.locator("h1 a").evaluate("link => link.host") == "lore.kernel.org"


def test_parts_are_unfolded_by_keyboard_and_by_links(browser: Browser, html: Path) -> None:
    with Seen(browser, html) as page:
        parts = page.locator("main > details")
        opened = "all => all.filter(part => part.open).map(part => part.id)"
        assert parts.evaluate_all(opened) == ["worse"]
        page.locator("#coverage > summary").focus()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        page.locator("#coverage tr.plus.never").wait_for()
        page.keyboard.press("Enter")
        page.locator("#coverage tr.plus.never").wait_for(state="hidden")
        page.locator(".tiles a[href='#better']").focus()
        page.keyboard.press("Enter")
        page.locator("#better li").first.wait_for()
        assert page.evaluate("document.activeElement.closest('details').id") == "better"
        page.get_by_role("button", name="Open all").press("Space")
        assert len(parts.evaluate_all(opened)) == parts.count() >= 9
        page.get_by_role("button", name="Fold all").press("Space")
        assert parts.evaluate_all(opened) == []


CONTROLS = "a[href], button, input, main > details > summary"


def test_everything_is_reached_by_tab(browser: Browser, html: Path) -> None:
    with Seen(browser, html) as page:
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        wanted = page.locator(CONTROLS).count()
        page.evaluate(
            f"document.querySelectorAll('{CONTROLS}').forEach((part, place) => {{ part.dataset.n = place; }})"
        )
        reached = set()
        for _ in range(600):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement === document.body"):
                break
            reached.add(page.evaluate("document.activeElement.dataset.n"))
        assert len(reached - {None}) == wanted


def test_tests_are_filtered_by_keyboard(browser: Browser, html: Path) -> None:
    with Seen(browser, html, 360) as page:
        page.locator("#tests > summary").press("Enter")
        rows, shown = page.locator(".rows > li:visible"), page.locator("#shown")
        whole = rows.count()
        assert whole == len(TESTS) + 5
        page.keyboard.press("Tab")
        page.keyboard.type("NUMBER_1")
        assert rows.count() == 11
        assert shown.inner_text() == f"11 of {whole}"
        page.keyboard.press("Control+A")
        page.keyboard.press("Delete")
        assert rows.count() == whole
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.dataset.kind") == "worse"
        page.keyboard.press("Space")
        assert page.evaluate("document.activeElement.ariaPressed") == "true"
        assert [text.partition("\n")[0] for text in rows.all_inner_texts()] == ["test_x.py::test_worse[1]"]
        rows.locator("summary").press("Enter")
        rows.locator("pre").wait_for()
        assert rows.locator("code").inner_text().endswith("-k 'test_worse[1]'")


def test_without_script_all_is_there(browser: Browser, html: Path) -> None:
    with Seen(browser, html, java_script_enabled=False) as page:
        assert page.locator(".card").first.is_visible()
        assert not page.locator("[data-copy]").first.is_visible()
        page.locator("#tests > summary").click()
        assert not page.locator("#find").is_visible()
        assert page.locator(".rows > li:visible").count() == len(TESTS) + 5


FAILED = {(test, night) for test in (1, 3, 5, 7) for night in range(test, 31, 9)}


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 30 nights."""
    asked = [
        Point(
            night, 1.79e9 + 86400 * night, f"job {EVIL}", "key", LONG, EVIL, f"test_x.py::test_{test}_{LONG}", answer, 1
        )
        for test in range(8)
        for night in range(1, 31)
        for answer in [Answer.FAIL if (test, night) in FAILED else Answer.PASS]
    ]
    path = tmp_path_factory.mktemp("nights") / "nights.html"
    path.write_text(render(trends(asked), f"All {EVIL}", whole=False))
    return path


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_nights_fit_the_screen_and_can_be_read(browser: Browser, nights: Path, width: int, scheme: str) -> None:
    with Seen(browser, nights, width, scheme) as page:
        page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(WIDER, width) == []
        assert page.evaluate(SQUEEZED) == []
        assert page.evaluate(FAINT, LEAST_CONTRAST)[1] == []
        assert page.evaluate("typeof hacked") == "undefined"
        assert page.locator("#tests svg g.o-fail").count() == len(FAILED)


def test_the_nights_are_filtered(browser: Browser, nights: Path) -> None:
    with Seen(browser, nights, 360) as page:
        rows = page.locator("#tests .rows > li:visible")
        assert rows.count() == 4
        page.locator("#find").fill("test_3")
        assert rows.count() == 1
        assert page.locator("#shown").inner_text() == "1 of 4"
        assert page.locator("#quiet .rows > li").count() == 4
        rows.locator("summary").press("Enter")
        assert rows.locator(".said li").count() == 30
