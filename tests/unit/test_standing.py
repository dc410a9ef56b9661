# SPDX-License-Identifier: GPL-2.0-only
"""Whether a tree has a patch, asked of real git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.host.fetch import fetch
from harness.model.series import Series
from harness.model.standing import Place
from harness.model.tree import Source
from harness.standing import standing

ENV = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
ENV |= {f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
TEXTS = {"before": "one\na\nthree\n", "after": "one\nb\nthree\n", "later": "one\nc\nthree\n"}


def git(repo: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=repo, env=ENV, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A history in which a line changes twice."""
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "-q", "-b", "main")
    for name, text in TEXTS.items():
        (path / "f").write_text(text)
        git(path, "add", "f")
        git(path, "commit", "-q", "-m", name)
    return path


@pytest.fixture
def series(repo: Path) -> Series:
    """The first of the two changes, as a mail."""
    mail = git(repo, "format-patch", "--stdout", "-1", "HEAD~1")
    (repo.parent / "series.mbox").write_text(mail + "\n")
    return fetch(str(repo.parent / "series.mbox"))


def source(repo: Path, ref: str, spec: str = "tar:x") -> Source:
    git(repo, "checkout", "-q", ref)
    return Source(spec, "a tar file", "7.3", "key", repo)


@pytest.mark.parametrize(("ref", "place"), [("main~2", Place.OUT), ("main~1", Place.IN), ("main", Place.UNKNOWN)])
def test_a_tree_alone_tells_until_somebody_changes_the_same_lines(
    repo: Path, series: Series, ref: str, place: Place
) -> None:
    assert standing(series, source(repo, ref)).merged is place


def test_history_knows_longer(repo: Path, series: Series) -> None:
    found = standing(series, source(repo, "main", f"git:{repo}#main"))
    assert found.merged is Place.IN
    assert found.patches[0].why == f"commit {git(repo, 'rev-parse', 'main~1')[:12]} has its patch-id"
    older = standing(series, source(repo, "main~2", f"git:{repo}#main~2"))
    assert older.merged is Place.OUT
    assert (repo / "f").read_text() == TEXTS["before"]
