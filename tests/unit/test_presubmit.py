# SPDX-License-Identifier: GPL-2.0-only
"""From a small kernel tree to the jobs of two runs, and what a developer reads of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.host import git as host_git
from harness.host.fetch import fetch
from harness.host.sources import resolve
from harness.host.store import Store
from harness.host.worktree import Worktree
from harness.job import Job, read_toml, write_job
from harness.model.blame import Culprit
from harness.model.finding import Finding, Kind
from harness.model.judge import Change, Comparison, Judgement, Verdict
from harness.model.kernel import Profile
from harness.model.report import Report
from harness.model.result import Outcome, Result
from harness.presubmit import Request, default_out, jobs, prepare, splat, steps, summary

DRIVER = "drivers/accel/amdxdna"
WHO = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
TEST = "test_recovery.py::test_r01_a_hang_is_survived"


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)


def git(folder: Path, *argv: str) -> str:
    done = subprocess.run(["git", *WHO, *argv], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The least that passes for a kernel with the driver: a tag, and three commits on top."""
    folder = tmp_path / "linux # odd"
    (folder / DRIVER).mkdir(parents=True)
    (folder / "Makefile").write_text("VERSION = 7\nPATCHLEVEL = 9\n")
    (folder / "Kconfig").write_text("")
    (folder / DRIVER / "Makefile").write_text("")
    git(folder, "init", "-q")
    for number in range(4):
        (folder / DRIVER / "a.c").write_text(f"{number}\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"change {number}")
        if number == 0:
            git(folder, "tag", "-a", "-m", "v7.9", "v7.9")
    return folder


def prepared(tree: Path, out: Path, store: Store, **options: object) -> list[Job]:
    count = options.pop("count", 1)
    assert isinstance(count, int)
    work = Worktree(tree / DRIVER)
    return prepare(work, work.span(count=count), Request(out, **options), store)  # type: ignore[arg-type]


def test_the_job_alone_leads_to_both_trees(tree: Path, tmp_path: Path) -> None:
    """As a run does it: the kernel resolved, the base patch applied, then the series, is the developer's tree."""
    (tree / DRIVER / "a.c").write_text("not committed\n")
    store = Store(tmp_path / "store")
    job = prepared(tree, tmp_path / "out", store)[0]
    (tmp_path / "job.toml").write_text(write_job(job))
    job = read_toml(tmp_path / "job.toml", Job)
    source = resolve(job.kernel, store)
    assert (source.path / DRIVER / "a.c").read_text() == "0\n"
    work = tmp_path / "work"
    subprocess.run(["cp", "-a", source.path, work], check=True)
    for patch in fetch(job.base_patch).patches:
        host_git.apply(work, patch, "base")
    assert (work / DRIVER / "a.c").read_text() == "2\n"
    series = fetch(job.series)
    assert [patch.subject for patch in series.patches] == ["change 3", "uncommitted changes"]
    for patch in series.patches:
        host_git.apply(work, patch, "patch")
    assert (work / DRIVER / "a.c").read_text() == "not committed\n"


def test_what_is_built_is_shared_by_all_counts(tree: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    found = {prepared(tree, tmp_path / f"out{n}", store, count=n)[0].kernel for n in (1, 2, 3)}
    assert found == {f"git:{tree}#{git(tree, 'rev-parse', 'v7.9^{commit}')}"}


def test_a_kernel_that_is_there_is_taken(tree: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    resolve(f"git:{tree}#HEAD~1", store)
    job = prepared(tree, tmp_path / "out", store)[0]
    assert job.kernel == f"git:{tree}#{git(tree, 'rev-parse', 'HEAD~1')}"
    assert job.base_patch == ""
    assert not (tmp_path / "out" / "base.patch").exists()


def test_the_plain_kernel_goes_first_and_both_are_quick(tmp_path: Path) -> None:
    both = jobs("debian:7.3", "", Request(tmp_path, per_patch=True, select="x"))
    assert [job.profile for job in both] == [Profile.PLAIN, Profile.DEBUG]
    assert all(job.quick and job.per_patch and job.select == "x" for job in both)
    assert [job.profile for job in jobs("debian:7.3", "", Request(tmp_path, plain_only=True))] == [Profile.PLAIN]


def test_a_folder_belongs_to_one_state_of_the_tree(tree: Path, tmp_path: Path) -> None:
    """Records of a run must not answer for changes that were made since."""
    store, out = Store(tmp_path / "store"), tmp_path / "out"
    assert prepared(tree, out, store) == prepared(tree, out, store)
    (tree / DRIVER / "a.c").write_text("changed since\n")
    with pytest.raises(UsageError, match="holds something else"):
        prepared(tree, out, store)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("")
    with pytest.raises(UsageError, match="holds something else"):
        prepared(tree, tmp_path / "mine", store)


def test_a_base_patch_of_before_is_something_else(tree: Path, tmp_path: Path) -> None:
    store, out = Store(tmp_path / "store"), tmp_path / "out"
    prepared(tree, out, store)
    resolve(f"git:{tree}#HEAD~1", store)
    with pytest.raises(UsageError, match="holds something else"):
        prepared(tree, out, store)


def test_the_tree_stays_free_of_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    assert default_out("now") == tmp_path / ".local/state/xdna-harness/presubmit-now"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_out("now") == tmp_path / ".local/state/xdna-harness/presubmit-now"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    assert default_out("now") == tmp_path / "s/xdna-harness/presubmit-now"


def result(outcome: Outcome, *findings: Finding, test: str = TEST) -> Result:
    return Result(test, outcome, "assert 1 == 2", findings=findings)


def finding(name: str, lines: int = 1) -> Finding:
    return Finding(Kind.KASAN, name, f"KASAN:{name}", "\n".join(f"{name} line {n}" for n in range(lines)))


def compared(base: Sequence[Result], head: Sequence[Result], change: Change = Change.REGRESSED) -> Comparison:
    return Comparison((*head, *base)[0].id, change, tuple(base), tuple(head), "PASS on base, FAIL on head")


def made(verdict: Verdict, *comparisons: Comparison, run: Path = Path("/o/plain"), title: str = "t") -> Report:
    reasons = tuple(f"{c.id}: {c.reason}" for c in comparisons)
    culprits = (Culprit(TEST, (2,), (), True, 3),)
    return Report(run, title, Judgement(verdict, reasons, comparisons), {}, "v", culprits=culprits)


@pytest.mark.parametrize(
    ("verdicts", "asked"),
    [
        ((Verdict.GOOD, Verdict.BAD), 2),
        ((Verdict.UNKNOWN, Verdict.GOOD), 2),
        ((Verdict.BAD, Verdict.GOOD), 1),
    ],
)
def test_debug_is_asked_unless_plain_is_bad(tmp_path: Path, verdicts: Sequence[Verdict], asked: int) -> None:
    seen: list[Path] = []

    def ask(job: Job, folder: Path) -> Report:
        seen.append(folder)
        return made(verdicts[len(seen) - 1])

    todo = steps(jobs("debian:7.3", "", Request(tmp_path)), tmp_path, ask)
    assert next(todo).verdict is verdicts[0]
    assert seen == [tmp_path / "plain"], "the first verdict is there before the second run begins"
    assert 1 + len(list(todo)) == asked
    assert seen == [tmp_path / "plain", tmp_path / "debug"][:asked]


def test_a_developer_reads_culprit_splat_and_command() -> None:
    bad = compared([result(Outcome.PASS)], [result(Outcome.FAIL, finding("use-after-free", 3))])
    text = "\n".join(summary(made(Verdict.BAD, bad)))
    assert text.startswith("plain: BAD  t\n")
    assert f"{TEST}: PASS on base, FAIL on head" in text
    assert "introduced by 2/3, still there at 3/3" in text
    assert "KASAN:" in text
    assert "use-after-free line 2" in text
    assert f"again: xdna-harness repro /o/plain {TEST}" in text
    assert "xdna-harness report /o/plain" in text


def test_a_good_run_is_one_line() -> None:
    same = compared([result(Outcome.PASS)], [result(Outcome.PASS)], Change.SAME)
    report = Report(Path("/o/debug"), "t", Judgement(Verdict.GOOD, (), (same,)), {}, "v")
    assert summary(report) == ["debug: GOOD  t"]


def test_reasons_without_a_test_of_their_own_are_said() -> None:
    unanswered = compared([], [result(Outcome.PASS)], Change.UNANSWERED)
    judgement = Judgement(Verdict.UNKNOWN, ("base: stage/build FAIL: no control, no claim",), (unanswered,))
    text = summary(Report(Path("/o/plain"), "t", judgement, {}, "v"))
    assert "  base: stage/build FAIL: no control, no claim" in text


def test_what_is_sure_goes_before_what_is_not() -> None:
    perhaps = compared([result(Outcome.PASS)], [result(Outcome.FAIL, test="test_a.py::test_a")], Change.SUSPECT)
    sure = compared([result(Outcome.PASS)], [result(Outcome.FAIL, test="test_z.py::test_z")])
    text = [line.split(":")[0].strip() for line in summary(made(Verdict.BAD, perhaps, sure)) if "PASS on base" in line]
    assert text == ["test_z.py", "test_a.py"]


def test_many_are_cut_and_stages_go_first() -> None:
    tests = [result(Outcome.FAIL, test=f"test_a.py::test_{n:02d}") for n in range(12)]
    stage = result(Outcome.FAIL, test="stage/build")
    bad = [compared([result(Outcome.PASS, test=r.id)], [r]) for r in (*tests, stage)]
    text = summary(made(Verdict.BAD, *bad))
    assert next(line for line in text if "PASS on base" in line).strip().startswith("stage/build:")
    assert "  and 3 more" in text


def test_the_splat_is_what_base_did_not_have() -> None:
    old, new = finding("old"), finding("new")
    lines = splat(compared([result(Outcome.FAIL, old)], [result(Outcome.FAIL, old, new)]))
    assert lines == ["KASAN:", "new line 0"]
    assert splat(compared([result(Outcome.PASS)], [result(Outcome.PASS), result(Outcome.FAIL)])) == ["assert 1 == 2"]
    assert splat(compared([result(Outcome.PASS)], [])) == []
    long = splat(compared([result(Outcome.PASS)], [result(Outcome.FAIL, finding("long", 100))]))
    assert len(long) == 61
    assert long[-1] == "... 41 more lines"


def test_of_a_splat_the_noise_is_left_out() -> None:
    """Every line of the first kind is what a person reads; none of the second."""
    told = """BUG: KASAN: slab-use-after-free in one_close+0x2a5/0x330 [one]
Read of size 4 at addr ffff88810953e010 by task init/54
Call Trace:
 one_close+0x2a5/0x330 [one]
RIP: 0010:two_open+0x10/0x20
Freed by task 54:
 kfree+0x13d/0x540
The buggy address is located 16 bytes inside of
 freed 1024-byte region [ffff88810953e000, ffff88810953e400)"""
    noise = """
CPU: 1 UID: 0 PID: 54 Comm: init Tainted: G           O        7.9 #1
Tainted: [O]=OOT_MODULE
 <TASK>
 ? one_open+0x5d0/0x5d0 [one]
RIP: 0033:0x7f2e95a4572e
Code: 08 0f 85 d5 <c3> 66
RSP: 002b:00007fff2ff15ba8 EFLAGS: 00000246 ORIG_RAX: 0000000000000003
RAX: ffffffffffffffda RBX: 00007f2e959a6780 RCX: 00007f2e95a4572e
R13: 0000000000000135 R14: 0000000000a84590 R15: 00007f2e957e5d48
CR2: 0000000000000010 CR3: 0000000000000010
 kasan_save_stack+0x39/0x60
The buggy address belongs to the physical page:
page: refcount:0 mapcount:0 mapping:0000000000000000 index:0x0 pfn:0x109538
raw: 4000000000000040 ffff888100041dc0 dead000000000100 dead000000000122
Memory state around the buggy address:
>ffff88810953e000: fa fb fb fb fb fb fb fb fb fb fb fb fb fb fb fb
                         ^
=================================================================="""
    mixed = Finding(Kind.KASAN, "t", "KASAN:t", "\n".join(noise.split("\n") + told.split("\n")))
    assert splat(compared([result(Outcome.PASS)], [result(Outcome.FAIL, mixed)])) == ["KASAN:", *told.split("\n")]
