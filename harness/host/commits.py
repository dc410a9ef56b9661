# SPDX-License-Identifier: GPL-2.0-only
"""Ranges of commits in a repository of the user, read only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from harness.errors import InfraError, UsageError
from harness.host import git, proc
from harness.host.git import one_line

RANGE_SECONDS = 300.0
MOST_LOOKED_AT = 300
# Whatever the user's format.* and diff.* settings say, the mails come out the same.
_FORMAT = (
    *(
        "--quiet",
        "--no-signature",
        "--no-thread",
        "--no-cover-letter",
        "--no-attach",
        "--no-notes",
        "--no-base",
    ),
    *("--no-to", "--no-cc", "--no-add-header", "--zero-commit", "--subject-prefix=PATCH", "--suffix=.patch"),
    *("--no-ext-diff", "--no-textconv", "--no-color", "--no-relative", "--full-index", "--binary"),
    *("--find-renames", "--src-prefix=a/", "--dst-prefix=b/"),
)


def find(tree: Path, name: str) -> str:
    """The full id of a commit in a local repository. :class:`UsageError` when there is no such one."""
    done = _git(tree, ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"])
    if done.status != 0:
        why = one_line(done.stderr) or "no such commit"
        raise UsageError(f"{one_line(name)} in {tree}: {why}", hint="write git:TREE#A..B with commits of TREE")
    return done.stdout.strip()


def merge_base(tree: Path, one: str, two: str) -> str | None:
    """The commit where two histories part."""
    return _git(tree, ["merge-base", one, two]).stdout.strip() or None


def merges(tree: Path, base: str, head: str) -> int:
    """How many merge commits a range has; format-patch passes over them."""
    return len(_git(tree, ["rev-list", "--merges", f"{base}..{head}"]).stdout.split())


def write_patches(tree: Path, base: str, head: str, out: Path, limit: int) -> None:
    """Write the commits of a range into ``out``, one mail each, named in the order in which they apply."""
    out.mkdir()
    count = len(_git(tree, ["rev-list", "--no-merges", f"{base}..{head}"]).stdout.split())
    if count > limit:
        raise UsageError(f"{count} commits are too many for a series, the limit is {limit}", hint="narrow A..B")
    done = _git(tree, ["format-patch", *_FORMAT, "-o", str(out.resolve()), f"{base}..{head}"])
    if done.status != 0:
        raise InfraError(f"git format-patch failed in {tree}: {one_line(done.stderr)}", hint="run 'git fsck' there")


def with_patch_id(tree: Path, ref: str, files: Sequence[str], wanted: str) -> str | None:
    """The commit among the last ones on ``ref`` that touch these files whose patch-id is ``wanted``."""
    words = ["log", "-p", "--no-merges", "--full-diff", f"--max-count={MOST_LOOKED_AT}", "--no-color"]
    words += ["--no-ext-diff", "--no-textconv", ref, "--", *files]
    log = _git(tree, words).stdout.encode(errors="surrogateescape")
    found = git.patch_ids(log)
    return next((commit for patch_id, commit in found if patch_id == wanted), None)


def _git(tree: Path, words: list[str]) -> proc.Completed:
    """git in a repository of the user, who may have to tell git that it is safe: with the user's
    configuration."""
    env = {key: value for key, value in os.environ.items() if key not in ("GIT_DIR", "GIT_WORK_TREE")}
    env.update(LC_ALL="C", GIT_TERMINAL_PROMPT="0", GIT_OPTIONAL_LOCKS="0")
    return proc.run(
        ["git", "--no-pager", "-c", "core.fsmonitor=false", *words],
        what=f"git {words[0]}",
        timeout=RANGE_SECONDS,
        cwd=tree,
        env=env,
        check=False,
    )
