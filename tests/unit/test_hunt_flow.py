# SPDX-License-Identifier: GPL-2.0-only
"""The hunt against guests that show what a script of theirs says."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness import hunt as hunting
from harness.cli import cli
from harness.errors import InfraError, UsageError
from harness.hunt import EXIT_NEW, EXIT_TROUBLE, MOST_LEADS, MOST_TROUBLE, Hunt, Request, read_script
from harness.job import Job
from harness.model.found import Answer
from harness.model.result import Outcome, Result
from harness.model.script import Script, read, step, write
from harness.model.walk import walk

Behave = Callable[[Script], Answer]


class FakeWalks:
    side_by_side = 2
    where = "Linux 7.3.4, here"

    def __init__(self, behave: Behave) -> None:
        self.behave = behave
        self.asked = 0

    def ask(self, script: Script) -> Answer:
        self.asked += 1
        return self.behave(script)

    def all(self, scripts: Sequence[Script]) -> list[Answer]:
        return [self.ask(script) for script in scripts]

    def start(self, script: Script) -> Future[Answer]:
        done: Future[Answer] = Future()
        done.set_result(self.ask(script))
        return done

    def close(self) -> None: ...


def nothing(script: Script) -> Answer:
    return Answer(result=Result("t", Outcome.PASS))


def shows(*keys: str) -> Answer:
    return Answer(keys, result=Result("t", Outcome.FAIL, "broken x: what was seen"))


def forks(script: Script) -> Answer:
    """Any walk with a child that uses the file, and a chunk."""
    lines = write(script)
    return shows("OOPS:fork", "LEAK:x") if '"use"' in lines and '"chunk"' in lines else nothing(script)


@pytest.fixture
def hunt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Hunt, FakeWalks]]:
    def make(behave: Behave, walks: int = 30) -> tuple[Hunt, FakeWalks]:
        guests = FakeWalks(behave)
        monkeypatch.setattr(hunting, "Walks", lambda job, folder, store: guests)
        ticks = itertools.count()
        request = Request(Job(kernel="debian:7.3"), tmp_path / "out", minutes=walks / 60)
        one = Hunt(request, Any)  # type: ignore[arg-type]
        monkeypatch.setattr("harness.hunt.time.monotonic", lambda: float(next(ticks)))
        return one, guests

    return make


def test_nothing_new(hunt: Callable[..., tuple[Hunt, FakeWalks]], tmp_path: Path) -> None:
    one, guests = hunt(nothing)
    assert one.walks() == 0
    assert one.tally.walks == guests.asked > 5
    assert "new: nothing" in one.summary()
    assert list((tmp_path / "out").glob("found-*")) == []


def test_no_more_walks_than_asked(hunt: Callable[..., tuple[Hunt, FakeWalks]]) -> None:
    one, guests = hunt(nothing, 500)
    one.request = replace(one.request, walks=3)
    assert one.walks() == 0
    assert guests.asked == 3


def test_what_is_new_is_shrunk_once(hunt: Callable[..., tuple[Hunt, FakeWalks]], tmp_path: Path) -> None:
    one, _ = hunt(forks, 500)
    assert one.walks() == EXIT_NEW
    assert [(f.key, f.hits, f.tries, f.whole) for f in one.found] == [("OOPS:fork", 3, 3, True)], "LEAK:x comes with it"
    script = read((tmp_path / "out/found-1/script.jsonl").read_text())
    assert sorted(each.do for each in script) in (["chunk", "fork"], ["fork", "user"])
    text = (tmp_path / "out/found-1/README.md").read_text()
    assert f"xdna-harness hunt --script {tmp_path}/out/found-1/script.jsonl --kernel debian:7.3 --npu npu4" in text
    assert any("OOPS:fork (3 of 3)" in line for line in one.summary())


def test_what_is_not_seen_again_is_kept(hunt: Callable[..., tuple[Hunt, FakeWalks]], tmp_path: Path) -> None:
    first = iter([shows("OOPS:once")])
    one, _ = hunt(lambda script: next(first, nothing(script)))
    assert one.walks() == EXIT_NEW
    assert [(f.key, f.hits, f.script) for f in one.found] == [("OOPS:once", 0, walk(1))]
    assert "seen once; 3 fresh guests" in (tmp_path / "out/found-1/README.md").read_text()


def test_what_else_is_met_on_the_way_is_pursued(hunt: Callable[..., tuple[Hunt, FakeWalks]]) -> None:
    def behave(script: Script) -> Answer:
        lines = write(script)
        if '"use"' in lines and '"chunk"' in lines:
            return shows("OOPS:fork")
        return shows("LEAK:chunk") if '"chunk"' in lines else nothing(script)

    one, _ = hunt(behave, 500)
    one.request = replace(one.request, walks=1)
    seed = next(seed for seed in range(1, 99) if behave(walk(seed)).news == ("OOPS:fork",))
    one.request = replace(one.request, seed=seed)
    assert one.walks() == EXIT_NEW
    assert [(f.key, f.hits, f.seed) for f in one.found] == [("OOPS:fork", 3, seed), ("LEAK:chunk", 3, seed)]
    assert [each.do for each in one.found[1].script] == ["chunk"]
    assert one.found[1].steps < len(walk(seed))


def test_what_else_is_met_is_kept_when_the_first_is_not_seen_again(hunt: Callable[..., tuple[Hunt, FakeWalks]]) -> None:
    some = iter([shows("OOPS:once"), shows("OOPS:other")])
    one, _ = hunt(lambda script: next(some, nothing(script)))
    assert one.walks() == EXIT_NEW
    assert [(f.key, f.hits) for f in one.found] == [("OOPS:once", 0), ("OOPS:other", 0)]


def test_a_driver_that_falls_apart_does_not_keep_a_hunt_for_ever(
    hunt: Callable[..., tuple[Hunt, FakeWalks]], tmp_path: Path
) -> None:
    """Memory that is used after it was freed shows as something else in every guest."""
    keys = (f"OOPS:{number}" for number in itertools.count())
    one, _ = hunt(lambda script: shows(next(keys)))
    one.request = replace(one.request, walks=1)
    assert one.walks() == EXIT_NEW
    asked = [found for found in one.found if found.tries]
    assert len(asked) == 1 + MOST_LEADS
    assert len(one.found) > len(asked), "what was met is kept all the same"
    assert "nobody was asked again" in (tmp_path / f"out/found-{len(one.found)}/README.md").read_text()


def test_what_shrinking_loses_is_told_with_the_whole_walk(
    hunt: Callable[..., tuple[Hunt, FakeWalks]], tmp_path: Path
) -> None:
    left = itertools.count()

    def behave(script: Script) -> Answer:
        return shows("OOPS:race") if len(script) == len(walk(1)) or next(left) < 5 else nothing(script)

    one, _ = hunt(behave)
    one.request = replace(one.request, walks=1)
    assert one.walks() == EXIT_NEW
    assert [(f.hits, f.tries, f.whole, f.script) for f in one.found] == [(3, 3, False, walk(1))]
    text = (tmp_path / "out/found-1/README.md").read_text()
    assert "3 of 3 fresh guests" in text
    assert "what was left of it did not show it again" in text


def test_no_answers_end_the_hunt(hunt: Callable[..., tuple[Hunt, FakeWalks]]) -> None:
    one, guests = hunt(lambda script: Answer(trouble="no QEMU"))
    with pytest.raises(InfraError, match="in a row"):
        one.walks()
    assert guests.asked <= MOST_TROUBLE + guests.side_by_side


def test_a_script_is_repeated(hunt: Callable[..., tuple[Hunt, FakeWalks]], tmp_path: Path) -> None:
    some = itertools.cycle([nothing(()), shows("OOPS:now")])
    one, _ = hunt(lambda script: next(some))
    assert one.repeat((step("sleep"),)) == EXIT_NEW
    assert [(f.key, f.hits, f.tries, f.seed) for f in one.found] == [("OOPS:now", 1, 3, None)]
    assert "seed" not in (tmp_path / "out/found-1/README.md").read_text()


def test_a_script_without_an_answer(hunt: Callable[..., tuple[Hunt, FakeWalks]]) -> None:
    one, _ = hunt(lambda script: Answer(trouble="no QEMU"))
    assert one.repeat(()) == EXIT_TROUBLE


def test_a_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(UsageError, match="is not empty"):
        Hunt(Request(Job(kernel="debian:7.3"), tmp_path), Any)  # type: ignore[arg-type]


def test_a_script_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_script(tmp_path / "missing")
    (tmp_path / "bad").write_text('{"do": "dance"}\n')
    with pytest.raises(UsageError, match="there is no step 'dance'"):
        read_script(tmp_path / "bad")


@pytest.mark.parametrize(
    "words", [["--minutes", "0"], ["--steps", "0"], ["--seed", "-1"], ["--npu", "npu9"], ["--profile", "x"]]
)
def test_words_that_cannot_be_meant(words: list[str]) -> None:
    ran = CliRunner().invoke(cli, ["hunt", *words])
    assert ran.exit_code == 2 or isinstance(ran.exception, UsageError), ran
