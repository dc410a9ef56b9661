# SPDX-License-Identifier: GPL-2.0-only
"""Nights against a scripted harness: cut off at any point, nothing is lost and nothing is asked twice."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InfraError, UsageError
from harness.host.claim import claim
from harness.host.nights import Nights
from harness.host.store import Store
from harness.job import Job, write_job
from harness.matrix import Matrix, jobs_of, read_matrix, title
from harness.model.alone import judge_alone
from harness.model.judge import ATTEMPTS, LaneResults, judge
from harness.model.night import Answer, Came
from harness.model.report import LaneReport, Report
from harness.model.result import Outcome, Result
from harness.model.trend import trends
from harness.nightly import STALE_SECONDS, Nightly
from harness.reporters import history as lines
from harness.reporters import night as reporter
from harness.reporters.page import nights as page

A, B = "test_x.py::test_a", "test_x.py::test_b"
JOBS = [Job(kernel="debian:7.3", npu=npu, fresh=True) for npu in ("npu1", "npu4", "npu5")]


class Killed(BaseException):
    """As good as kill -9: nothing of ours that catches errors catches it."""


class Lab:
    """Answers PASS but for what ``says`` names by NPU and test; ``dies`` are NPUs whose run is cut off once."""

    def __init__(self) -> None:
        self.says: dict[tuple[str, str], Outcome] = {}
        self.again: list[Outcome] = [Outcome.FAIL]
        self.second: Outcome | None = None
        self.dies: list[str] = []
        self.errors: dict[str, Exception] = {}
        self.asked: list[str] = []
        self.asked_again: list[str] = []
        self.now = 1_000_000.0
        self.cost = 60.0

    def ask(self, job: Job, folder: Path) -> Report:
        self.asked.append(job.npu)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "job.toml").write_text(write_job(job))
        if job.npu in self.dies:
            self.dies.remove(job.npu)
            raise Killed
        if job.npu in self.errors:
            raise self.errors[job.npu]
        self.now += self.cost
        tests = (A, B) if (job.npu, "stage/boot") not in self.says else ("stage/boot",)
        results = tuple(Result(t, self.says.get((job.npu, t), Outcome.PASS), seconds=1.0) for t in tests)
        failed = [r for r in results if r.outcome in (Outcome.FAIL, Outcome.LOST) and not r.is_stage]
        again = tuple(replace(r, attempt=2, outcome=self.second or r.outcome) for r in failed)
        judged = judge_alone(LaneResults(results + again))
        return Report(folder, "t", judged, {"head": LaneReport("head", "7.3.4", results)}, "v")

    def ask_again(self, run: Path, test: str, folder: Path, times: int) -> Sequence[Result]:
        self.asked_again.append(test)
        return [Result(test, outcome) for outcome in self.again]


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr("harness.host.sources.identity", lambda spec, store: f"today's {spec}")
    return Lab()


def nightly(lab: Lab, folder: Path, jobs: Sequence[Job] = JOBS, hours: float = 6.0, confirm: int = 2) -> Nightly:
    matrix = Matrix(hours=hours, confirm=confirm, matrix=({"kernel": "debian:7.3"},))
    one = Nightly(matrix, jobs, Nights(folder / "state"), Store(folder / "cache"), lab.ask, lab.ask_again)
    one.now = one.clock = lambda: lab.now
    return one


def tonight(lab: Lab, folder: Path, **how: object) -> Came:
    lab.asked.clear()
    lab.now += 86_400
    return nightly(lab, folder, **how).execute()  # type: ignore[arg-type]


def first_line(came: Came) -> str:
    return reporter.text(came).splitlines()[0]


def test_the_first_line_says_what_changed_since_last_night(lab: Lab, tmp_path: Path) -> None:
    came = tonight(lab, tmp_path)
    assert first_line(came) == "the first night: nothing changed (3 of 3 runs)"
    assert (came.exit_status, lab.asked) == (0, ["npu1", "npu4", "npu5"])
    lab.says = {("npu4", B): Outcome.FAIL}
    came = tonight(lab, tmp_path)
    assert first_line(came) == "since last night: 1 new failure (3 of 3 runs)"
    assert came.exit_status == 1
    assert f"again: xdna-harness repro {tmp_path}/state/night-0002/" in reporter.text(came)
    came = tonight(lab, tmp_path)
    assert lab.asked[0] == "npu4", "what failed last night comes first"
    assert first_line(came) == "since last night: nothing changed (3 of 3 runs, 1 still failing)"
    assert came.exit_status == 0
    lab.says = {}
    came = tonight(lab, tmp_path)
    assert first_line(came) == "since last night: 1 fixed (3 of 3 runs)"
    assert json.loads(reporter.data(came))["runs"][0]["fixed"] == [B]


def test_a_new_failure_that_does_not_come_back_is_flaky(lab: Lab, tmp_path: Path) -> None:
    lab.says = {("npu4", B): Outcome.LOST}
    lab.again = [Outcome.LOST, Outcome.PASS]
    came = tonight(lab, tmp_path)
    assert (first_line(came), came.exit_status) == ("the first night: 1 new flaky (3 of 3 runs)", 0)
    assert lab.asked_again == [B]
    assert "1 of" in lines.text(trends(nightly(lab, tmp_path).nights.points(9)), 9, whole=False)


def test_a_failure_that_the_run_itself_could_not_confirm_is_flaky_and_no_trouble(lab: Lab, tmp_path: Path) -> None:
    lab.says = {("npu4", B): Outcome.FAIL}
    lab.second = Outcome.PASS
    came = tonight(lab, tmp_path)
    assert (first_line(came), came.exit_status) == ("the first night: 1 new flaky (3 of 3 runs)", 0)
    assert lab.asked_again == []
    lab.says[("npu4", A)] = Outcome.ERROR
    assert tonight(lab, tmp_path).exit_status == 3, "a test without an answer beside it is trouble"


def test_a_failure_whose_repetition_the_lab_spoiled_is_asked_again(lab: Lab, tmp_path: Path) -> None:
    lab.says = {("npu4", B): Outcome.FAIL}
    lab.second = Outcome.ERROR
    came = tonight(lab, tmp_path)
    assert (lab.asked_again, came.exit_status) == ([B], 1)
    lab.says = {("npu5", B): Outcome.FAIL}
    lab.again = [Outcome.PASS]
    came = tonight(lab, tmp_path)
    assert first_line(came) == "since last night: 1 fixed, 1 new flaky (3 of 3 runs)"


def test_a_failure_that_nobody_could_ask_again_is_the_labs_trouble(lab: Lab, tmp_path: Path) -> None:
    lab.says = {("npu4", B): Outcome.FAIL}
    lab.second = Outcome.ERROR
    lab.again = [Outcome.ERROR, Outcome.ERROR]
    came = tonight(lab, tmp_path)
    assert (lab.asked_again, came.exit_status) == ([B], 3)
    assert not any(told.news.worse for told in came.runs)


@pytest.mark.parametrize(("repeated", "asked"), [(Outcome.ERROR, [B]), (Outcome.FAIL, [])])
def test_with_a_control_lane_only_what_is_not_confirmed_is_asked_again(
    lab: Lab, tmp_path: Path, repeated: Outcome, asked: list[str]
) -> None:
    base = tuple(Result(B, Outcome.PASS, attempt=n + 1) for n in range(ATTEMPTS))
    head = (Result(A, Outcome.PASS), Result(B, Outcome.FAIL), Result(B, repeated, attempt=2))
    lanes = {name: LaneReport(name, "7.3.4", results) for name, results in (("base", base), ("head", head))}
    judged = judge(LaneResults((Result(A, Outcome.PASS), *base)), LaneResults(head))
    one = nightly(lab, tmp_path, JOBS[:1])
    one.ask = lambda job, folder: Report(folder, "t", judged, lanes, "v")
    assert (one.execute().exit_status, lab.asked_again) == (1, asked)


def test_missing_answers_beside_an_old_failure_are_trouble(lab: Lab, tmp_path: Path) -> None:
    lab.says = {("npu4", B): Outcome.FAIL}
    tonight(lab, tmp_path)
    lab.says[("npu4", A)] = Outcome.ERROR
    came = tonight(lab, tmp_path)
    assert first_line(came) == "since last night: 1 without an answer (3 of 3 runs, 1 still failing)"
    assert came.exit_status == 3
    assert "(failing last time): not all tests could be asked" in reporter.text(came)


def test_a_kernel_that_comes_up_when_asked_again_is_the_labs_trouble(lab: Lab, tmp_path: Path) -> None:
    lab.says = {("npu4", "stage/boot"): Outcome.LOST}
    came = tonight(lab, tmp_path)
    assert (came.exit_status, lab.asked_again) == (1, ["stage/boot"])
    lab.says = {("npu5", "stage/boot"): Outcome.LOST}
    lab.again = [Outcome.PASS]
    came = tonight(lab, tmp_path)
    assert sorted(lab.asked) == ["npu1", "npu4", "npu5", "npu5"], "once more, at the end"
    assert (came.exit_status, [t.run.state for t in came.runs].count("trouble")) == (3, 1)


@pytest.mark.parametrize("dies", ["npu1", "npu4", "npu5"])
def test_cut_off_anywhere_it_goes_on_where_it_stopped(lab: Lab, tmp_path: Path, dies: str) -> None:
    lab.dies = [dies]
    with pytest.raises(Killed):
        tonight(lab, tmp_path)
    before = list(lab.asked)
    lab.now += 60
    lab.asked.clear()
    came = nightly(lab, tmp_path).execute()
    assert lab.asked[0] == dies, "the run that was cut off, in its folder"
    assert before[:-1] + lab.asked == ["npu1", "npu4", "npu5"], "and nothing that had ended"
    assert first_line(came) == "the first night: nothing changed (3 of 3 runs)"
    assert len(list((tmp_path / "state").glob("night-*/*/job.toml"))) == 3


def test_a_kill_between_the_answers_and_their_record_asks_again(lab: Lab, tmp_path: Path) -> None:
    one = nightly(lab, tmp_path)
    one.nights.done = lambda *args: (_ for _ in ()).throw(Killed())  # type: ignore[method-assign]
    with pytest.raises(Killed):
        one.execute()
    assert nightly(lab, tmp_path).execute().exit_status == 0
    assert lab.asked == ["npu1", "npu1", "npu4", "npu5"]


def test_a_night_that_was_cut_off_long_ago_ends_and_a_new_one_begins(lab: Lab, tmp_path: Path) -> None:
    lab.dies = ["npu4"]
    with pytest.raises(Killed):
        tonight(lab, tmp_path)
    lab.asked.clear()
    lab.now += STALE_SECONDS
    came = nightly(lab, tmp_path).execute()
    assert lab.asked == ["npu4", "npu5", "npu1", "npu4"]
    assert (came.night, [told.run.night for told in came.runs]) == (2, [1, 1, 1, 2, 2, 2])
    assert "night 1, which was cut off:" in reporter.text(came)
    assert nightly(lab, tmp_path).nights.under_way() == []


@pytest.mark.parametrize("again", [[], ["npu5"]])
def test_what_was_new_in_a_night_that_was_cut_off_is_told_with_the_next(
    lab: Lab, tmp_path: Path, again: list[str]
) -> None:
    tonight(lab, tmp_path)
    lab.says = {("npu1", B): Outcome.FAIL}
    lab.dies = ["npu4"]
    with pytest.raises(Killed):
        tonight(lab, tmp_path)
    lab.dies = list(again)
    if again:
        with pytest.raises(Killed):
            tonight(lab, tmp_path)
        lab.now += 60
        came = nightly(lab, tmp_path).execute()
    else:
        came = tonight(lab, tmp_path)
    assert (came.night, came.exit_status) == (3, 1)
    assert first_line(came) == "since last night: 1 new failure (5 of 6 runs, 1 still failing)"
    assert f"repro {tmp_path}/state/night-0002/" in reporter.text(came)
    assert tonight(lab, tmp_path).exit_status == 0, "told once"


def test_a_run_that_kills_us_each_time_is_left_alone(lab: Lab, tmp_path: Path) -> None:
    lab.dies = ["npu1"] * 9
    for _ in range(3):
        with pytest.raises(Killed):
            nightly(lab, tmp_path).execute()
    came = nightly(lab, tmp_path).execute()
    assert [told.run.state for told in came.runs] == ["trouble", "done", "done"]
    assert (came.runs[0].run.said, came.exit_status) == ("cut off 3 times", 3)


def test_trouble_ends_one_run_and_not_the_night(lab: Lab, tmp_path: Path) -> None:
    lab.errors = {
        "npu1": InfraError("the mirror is down", transient=True),
        "npu4": UsageError("no such kernel"),
        "npu5": ValueError("a bug"),
    }
    came = tonight(lab, tmp_path)
    assert lab.asked == ["npu1", "npu4", "npu5", "npu1"], "what may pass is tried once more, at the end"
    assert [told.run.state for told in came.runs] == ["trouble"] * 3
    assert came.exit_status == 3
    assert "the mirror is down" in reporter.text(came)
    assert "ValueError: a bug" in next((tmp_path / "state").glob("night-*/*/traceback.txt")).read_text()


def test_what_does_not_fit_into_the_night_is_first_the_night_after(lab: Lab, tmp_path: Path) -> None:
    lab.cost = 3000.0
    came = nightly(lab, tmp_path, hours=1.0).execute()
    assert [told.run.state for told in came.runs] == ["done", "left", "left"]  # each may take as long as the dearest
    assert "not asked: out of time" in reporter.text(came)
    tonight(lab, tmp_path)
    assert lab.asked == ["npu4", "npu5", "npu1"]


def test_old_folders_go_and_the_last_failing_night_stays(lab: Lab, tmp_path: Path) -> None:
    for number in range(5):
        lab.says = {("npu4", B): Outcome.FAIL} if number == 1 else {}
        one = nightly(lab, tmp_path)
        lab.now += 86_400
        one.matrix = one.matrix.model_copy(update={"keep": one.matrix.keep.model_copy(update={"nights": 2})})
        one.execute()
    left = sorted(path.name for path in (tmp_path / "state").glob("night-*"))
    assert left == ["night-0002", "night-0004", "night-0005"]
    assert len(nightly(lab, tmp_path).nights.points(99)) == 5 * 3 * 2, "the history keeps what they came to"


def test_two_at_once_are_told_who_it_is(tmp_path: Path) -> None:
    with claim(tmp_path / "lock", "a nightly"):
        with pytest.raises(InfraError, match=f"process {os.getpid()} since 20"):
            with claim(tmp_path / "lock", "a nightly"):
                pass
    with claim(tmp_path / "lock", "a nightly"):
        pass


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from harness.host.claim import claim\n"
        "with claim(Path(sys.argv[1]), 'x'): print('mine', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "lock")], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(InfraError, match=f"process {other.pid} since"), claim(tmp_path / "lock", "x"):
            pass
        other.send_signal(signal.SIGKILL)
        other.wait()
    with claim(tmp_path / "lock", "x"):
        pass


def test_a_history_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Nights(tmp_path).close()
    with sqlite3.connect(tmp_path / "history.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(UsageError, match="version 99"):
        Nights(tmp_path)


def test_a_block_stands_for_all_combinations() -> None:
    block = {"kernel": ["debian:7.3", "debian-bin:7.3"], "npu": ["npu1", "npu4"], "suite": "mode", "edits": ["x"]}
    jobs = jobs_of(block, "here")
    assert [(job.kernel, job.npu) for job in jobs] == [
        ("debian:7.3", "npu1"),
        ("debian:7.3", "npu4"),
        ("debian-bin:7.3", "npu1"),
        ("debian-bin:7.3", "npu4"),
    ]
    assert all(job.edits == ("x",) and job.fresh for job in jobs)
    assert title(jobs[0]) == "debian:7.3 npu1 sva plain mode edits=['x']"


@pytest.mark.parametrize(
    ("block", "said"),
    [({"kernel": []}, "empty list"), ({"kernal": ["x"]}, "kernal"), ({"kernel": "x", "npu": ["npu9"]}, "npu")],
)
def test_a_wrong_block_is_named(block: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        jobs_of(block, "here")


def test_the_matrix_of_the_project_is_in_order() -> None:
    _, jobs = read_matrix(Path(__file__).parents[2] / "jobs" / "nightly.toml")
    assert len({title(job) for job in jobs}) == len(jobs)
    assert any(job.kernel.startswith("debian-bin:") for job in jobs)


@pytest.mark.parametrize("whole", [True, False])
def test_the_page_escapes_what_comes_from_outside(lab: Lab, tmp_path: Path, whole: bool) -> None:
    tonight(lab, tmp_path)
    points = nightly(lab, tmp_path).nights.points(9)
    evil = "<script>alert(1)</script>\x1b[31m\u202e\"'"
    hostile = [replace(p, test=evil, title=evil, kernel=evil, answer=Answer.FAIL) for p in points]
    html = page.render(trends(hostile), evil, whole)
    assert html.count("<script") == 1
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert html.count('class="cell o-fail"') == len(hostile) + 1, "one is the legend's"
    said = lines.text(trends(hostile), 9, whole)
    assert "\x1b" not in said


def test_what_could_not_be_asked_last_night_is_compared_with_the_night_before(lab: Lab, tmp_path: Path) -> None:
    lab.says = {("npu4", B): Outcome.FAIL}
    tonight(lab, tmp_path)
    lab.says = {("npu4", B): Outcome.ERROR}
    tonight(lab, tmp_path)
    lab.says = {("npu4", "stage/boot"): Outcome.ERROR}
    tonight(lab, tmp_path)
    lab.says = {("npu4", B): Outcome.FAIL}
    came = tonight(lab, tmp_path)
    assert (came.exit_status, [told.news.worse for told in came.runs]) == (0, [(), (), ()])
    lab.says = {}
    assert [test for told in tonight(lab, tmp_path).runs for test in told.news.fixed] == [B]


def test_a_full_disk_ends_no_night(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.errors["npu1"] = OSError(28, "No space left on device")
    write = Path.write_text

    def full(path: Path, text: str) -> int:
        if path.name == "traceback.txt":
            raise lab.errors["npu1"]
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", full)
    came = tonight(lab, tmp_path)
    said = {told.run.said for told in came.runs if told.run.state == "trouble"}
    assert said == {"a bug of xdna-harness, please report it: OSError: [Errno 28] No space left on device"}
    assert any(told.run.state == "done" for told in came.runs)
    assert came.exit_status == 3
