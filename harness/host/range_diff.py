# SPDX-License-Identifier: GPL-2.0-only
"""git range-diff of two revisions of a series, on one base, in a repository that is thrown away.

It holds only the files that either revision touches.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessError, InfraError
from harness.host import proc
from harness.host.fetch import write_mbox
from harness.host.git import clean_env, one_line
from harness.model.series import Series
from harness.model.tree import Tree

SECONDS = 120.0
MOST_LINES = 5000
_WHO = {"NAME": "xdna-harness", "EMAIL": "xdna-harness@example.invalid", "DATE": "2000-01-01T00:00:00Z"}


class DoesNotApply(HarnessError):
    """A revision does not go onto this base: there is no range-diff."""


def range_diff(base: Tree, old: Series, new: Series) -> tuple[str, ...]:
    """git's range-diff as lines, the newer revision on the right; empty if nothing has changed.

    :class:`DoesNotApply`: one of them is for another base.
    """
    with tempfile.TemporaryDirectory(prefix="xdna-range-") as folder:
        repository = _Repository(Path(folder), base)
        repository.start({name for series in (old, new) for patch in series.patches for name in patch.files})
        repository.branch("old", old)
        repository.branch("new", new)
        words = ["range-diff", "--no-color", "--creation-factor=80", "base..old", "base..new"]
        lines = repository.git(words, "git range-diff").stdout.splitlines()
    if all(" = " in line for line in lines):
        return ()
    more = [f"... {len(lines) - MOST_LINES} more lines"] if len(lines) > MOST_LINES else []
    return (*lines[:MOST_LINES], *more)


class _Repository:
    def __init__(self, folder: Path, base: Tree) -> None:
        self.folder, self.base = folder, base
        who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _WHO.items()}
        self.env = {**clean_env(folder), **who, "GIT_DIR": str(folder / ".git")}

    def start(self, files: set[str]) -> None:
        """One commit, ``base``, with those of the files that the base has."""
        self.git(["init", "--quiet", "--initial-branch=base", "--template=", "."], "git init")
        for name in sorted(files):
            source, target = self.base.file(name), self.folder / name
            if source.is_file() and not source.is_symlink():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
        self.git(["add", "--all", "--force", "."], "git add")
        self.git(["commit", "--quiet", "--allow-empty", "--no-verify", "--message=base"], "git commit")

    def branch(self, name: str, series: Series) -> None:
        """The series on top of base."""
        self.git(["checkout", "--quiet", "-b", name, "base"], "git checkout")
        mbox = self.folder / ".git" / f"{name}.mbox"
        write_mbox(series, mbox)
        words = ["am", "--quiet", "--keep-non-patch", "--no-gpg-sign", str(mbox)]
        done = self.git(words, f"git am of {name}", check=False)
        if done.status != 0:
            reason = next((line for line in done.stderr.splitlines() if line.startswith("error: ")), "git am failed")
            raise DoesNotApply(f"{one_line(series.title)} does not apply to this base: {one_line(reason)}")

    def git(self, words: Sequence[str], what: str, *, check: bool = True) -> proc.Completed:
        argv = ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", *words]
        try:
            return proc.run(argv, what=what, timeout=SECONDS, cwd=self.folder, env=self.env, check=check)
        except proc.CommandFailed as failed:
            raise InfraError(f"{what} failed: {one_line(failed.done.stderr)}") from failed
