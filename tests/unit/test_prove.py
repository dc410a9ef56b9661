# SPDX-License-Identifier: GPL-2.0-only
"""Which bugs are planted, where a proof goes on, and the score that is quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import score
from harness.errors import UsageError
from harness.host.data import data_folder
from harness.host.store import Store
from harness.job import Job, read_toml
from harness.knowledge import planted_bugs
from harness.model.edit import Edits
from harness.model.planted import BugKind, Fate, Planted, Proof, Score
from harness.prove import Prove, chosen

BUGS = [Planted(BugKind.LOCK, Edits(name, "t", ())) for name in ("heap-put-twice", "heap-kept")]
JOB = Job(kernel="debian:7.3")


def test_a_name_that_no_bug_has_is_refused_with_the_nearest() -> None:
    assert [bug.id for bug in chosen(BUGS, ["heap-kept"])] == ["heap-kept"]
    assert chosen(BUGS, []) == BUGS
    with pytest.raises(UsageError, match="'heap-put-twize'") as raised:
        chosen(BUGS, ["heap-put-twize"])
    assert raised.value.hint.startswith("did you mean heap-put-twice")


def test_a_folder_without_bugs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no planted bug in"):
        planted_bugs(tmp_path)


def test_a_folder_belongs_to_one_job(tmp_path: Path) -> None:
    Prove(JOB, BUGS, tmp_path / "out", Store(tmp_path))
    Prove(JOB, BUGS, tmp_path / "out", Store(tmp_path))
    with pytest.raises(UsageError, match="another proof"):
        Prove(Job(kernel="debian:7.2"), BUGS, tmp_path / "out", Store(tmp_path))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds no proof"):
        Prove(JOB, BUGS, tmp_path / "mine", Store(tmp_path))


def test_what_was_tried_is_not_tried_again_unless_it_is_another_edit_or_unknown(tmp_path: Path) -> None:
    prove = Prove(JOB, BUGS, tmp_path / "out", Store(tmp_path))
    (bug, other), proof = BUGS, Proof("heap-put-twice", "old title", BugKind.LOCK, False, "", "key", Fate.CAUGHT)
    prove.records.add(proof.record())
    prove.records.close()
    prove = Prove(JOB, BUGS, tmp_path / "out", Store(tmp_path))
    again = prove._known(bug, "key")
    assert again is not None
    assert (again.fate, again.title) == (Fate.CAUGHT, "t")
    assert prove._known(bug, "another key") is None
    assert prove._known(other, "key") is None
    prove.records.add(Proof("heap-put-twice", "t", BugKind.LOCK, False, "", "key", Fate.UNKNOWN).record())
    assert prove._known(bug, "key") is None


def test_the_job_that_is_asked_every_week_is_in_order() -> None:
    job = read_toml(data_folder("jobs") / "prove.toml", Job)
    Prove.check(job)
    with pytest.raises(UsageError, match="as it is"):
        Prove.check(Job(kernel="x", series="y"))


def test_the_last_score_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    assert score.quote(store) == "no score yet: xdna-harness prove"
    assert not score.catchers(store)
    assert score.figures(store) == {"caught": 0, "counted": 0}
    proofs = [Proof("a", "t", BugKind.LOCK, False, "", "k", Fate.CAUGHT, by="test_a")] * 47
    proofs += [Proof("a", "t", BugKind.LOCK, False, "", "k", Fate.SURVIVED)] * 3
    score.keep(store, Score(tuple(proofs), "here"), "7.3.4")
    said = score.quote(store)
    assert said.startswith("caught 47 of 50 (94 %; 95 %: 83.8 to 97.9), 2")
    assert said.endswith(", Linux 7.3.4")
    assert score.catchers(store) == {"test_a": 47}
    assert score.figures(store) == {"caught": 47, "counted": 50}
    monkeypatch.setattr(score, "suite_key", lambda: "another")
    assert score.quote(store) == f"{said}, by the suite as it was then"
    (tmp_path / score.FILE).write_text("[]")
    assert score.quote(store) == score.NONE
