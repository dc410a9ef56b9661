# SPDX-License-Identifier: GPL-2.0-only
"""Real parts only: the command line in a process of its own, the user's cache, mails that the tests make.

A planted bug is an edit by pattern on the kernel source in the cache; no kernel code stands in the project.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.engines.module import Modules
from harness.errors import HarnessError
from harness.host.data import data_folder
from harness.host.sandbox import Sandbox
from harness.host.sources import resolve
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.model.kernel import Kernel, Profile
from harness.model.tree import Source

PROJECT = Path(__file__).parents[2]
SERIES = PROJECT.parent / "shared" / "series"
KERNEL = "debian:7.3"
RUN_SECONDS = 3600


TESTER = {"NAME": "A Tester", "EMAIL": "tester@example.org", "DATE": "2026-01-01T00:00:00Z"}
GIT_ENV = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in TESTER.items()},
}


@dataclass(frozen=True)
class Ran:
    """A finished run of the command line."""

    status: int
    stdout: str
    stderr: str
    out: Path

    @property
    def report(self) -> dict[str, Any]:
        loaded = json.loads((self.out / "report.json").read_text())
        assert isinstance(loaded, dict)
        return loaded

    def records(self, lane: str) -> list[dict[str, Any]]:
        path = next((self.out / lane).glob("*/results.jsonl"))
        return [json.loads(line) for line in path.read_text().splitlines()]

    def __str__(self) -> str:
        return f"status {self.status}\n{self.stdout}\n{self.stderr}"


Harness = Callable[..., Ran]


@pytest.fixture
def harness(tmp_path: Path) -> Harness:
    """Run ``xdna-harness`` with the given words; run folders go to tmp_path."""

    def call(*words: str | Path, env: dict[str, str] | None = None, timeout: float = RUN_SECONDS) -> Ran:
        out = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}"
        argv = [sys.executable, "-m", "harness.cli", *map(str, words)]
        if words[0] == "run":
            argv += ["--out", str(out)]
        done = subprocess.run(
            argv,
            cwd=PROJECT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr, out)

    return call


@pytest.fixture(scope="session")
def source() -> Source:
    """The kernel source that everything here is built from; unpacked once."""
    try:
        return resolve(KERNEL, Store())
    except HarnessError as error:
        pytest.skip(f"no kernel source: {error.message}")


@pytest.fixture(scope="session")
def kernel(source: Source) -> Kernel:
    """The kernel of that source in the user's cache; built by whoever comes first."""
    store = Store()
    engine = Modules(store, Sandbox.detect(), data_folder("jobs") / "kconfig")
    return engine.kernels.build(make_tree(source, (), store), Profile.PLAIN)


@pytest.fixture(scope="session")
def real_series() -> Path:
    """The folder of real mails beside the project; never copied into it."""
    if not SERIES.is_dir():
        pytest.skip("needs the real mails in ../shared/series")
    return SERIES


@dataclass(frozen=True)
class Edit:
    """Replace what ``pattern`` finds, once, in ``file`` (a regular expression; ``\\g<0>`` is what it found)."""

    file: str
    pattern: str
    replacement: str


def mail(source: Source, subject: str, edits: Sequence[Edit]) -> str:
    """A patch mail as git format-patch writes it, with blob ids, made by editing the source by pattern."""
    return mails(source, [(subject, edits)])


def mails(source: Source, patches: Sequence[tuple[str, Sequence[Edit]]]) -> str:
    """A series as an mbox, each patch on top of the ones before."""
    files: dict[str, str] = {}
    written = []
    for number, (subject, edits) in enumerate(patches, 1):
        diffs = [_diff(source, edit, files) for edit in edits]
        place = f"PATCH {number}/{len(patches)}" if len(patches) > 1 else "PATCH"
        thread = abs(hash(patches[0][0])) % 10**8
        reply = f"In-Reply-To: <{thread}-1-tester@example.org>\n" if number > 1 else ""
        written.append(
            f"From {'0' * 40} Mon Sep 17 00:00:00 2001\nFrom: A Tester <tester@example.org>\n"
            f"Date: Sun, 1 Nov 2026 10:00:{number:02d} +0000\nSubject: [{place}] {subject}\n"
            f"Message-ID: <{thread}-{number}-tester@example.org>\n{reply}"
            f"To: dri-devel@example.org\n\nMade by a test.\n\nSigned-off-by: A Tester <tester@example.org>\n---\n\n"
            + "".join(diffs)
            + "-- \n2.40.0\n\n"
        )
    return "".join(written)


def _diff(source: Source, edit: Edit, files: dict[str, str]) -> str:
    """The diff of one edit; ``files`` holds what earlier edits left."""
    old = files.get(edit.file) or (source.path / edit.file).read_text()
    new, count = re.subn(edit.pattern, edit.replacement, old, count=1, flags=re.S)
    assert count == 1, f"{edit.pattern!r} is not in {edit.file}"
    files[edit.file] = new
    lines = difflib.unified_diff(
        old.splitlines(keepends=True), new.splitlines(keepends=True), f"a/{edit.file}", f"b/{edit.file}"
    )
    ids = f"index {blob_id(old)[:12]}..{blob_id(new)[:12]} 100644\n"
    return f"diff --git a/{edit.file} b/{edit.file}\n{ids}{''.join(lines)}"


def blob_id(text: str) -> str:
    """git's object id of a file's content."""
    import hashlib

    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


Plant = Callable[..., Path]


@pytest.fixture
def plant(source: Source, tmp_path: Path) -> Plant:
    """Write a mail that makes the given edits, and return its path."""

    def make(subject: str, *edits: Edit) -> Path:
        path = tmp_path / "planted.mbox"
        path.write_text(mail(source, subject, edits))
        return path

    return make


def git(tree: Path, *argv: str) -> str:
    done = subprocess.run(
        ["git", *argv], cwd=tree, env={**os.environ, **GIT_ENV}, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture(scope="session")
def kernel_tree(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel tree under git, with one tag on its one commit: always the same, so that the cache keeps its kernels."""
    tree = tmp_path_factory.mktemp("linux") / "linux"
    subprocess.run(["cp", "-a", source.path, tree], check=True)
    subprocess.run(["chmod", "-R", "u+w", tree], check=True)
    git(tree, "init", "-q", "-b", "main")
    git(tree, "config", "gc.auto", "0")
    git(tree, "add", "-A", "-f")
    git(tree, "commit", "-q", "-m", "base")
    git(tree, "tag", "-a", "-m", "base", "base")
    return tree


@pytest.fixture
def tree(kernel_tree: Path) -> Path:
    """The tree as it was at first."""
    git(kernel_tree, "reset", "-q", "--hard", "base")
    return kernel_tree
