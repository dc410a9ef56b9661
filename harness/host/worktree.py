# SPDX-License-Identifier: GPL-2.0-only
"""A developer's kernel tree: which commits are meant, what is not committed, on what it stands. Read only.

Neither tree nor index nor refs change, and no object is written: only such commands of git are asked as write nothing
(at files, diff-index and ls-files look, which refresh no index). Linked worktrees and folders below the top will do.
"""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from email.utils import formataddr
from pathlib import Path

from harness.errors import InfraError, UsageError
from harness.formats.diff import paths_of, read_diff
from harness.host import git, proc
from harness.host.fetch import fetch
from harness.host.git import one_line
from harness.model.series import Patch, Series

GIT_SECONDS = 300.0
MAX_COMMITS = 50
REACH = 200
"""How far back, in first parents, a base is looked for that others share."""
MAX_BASE_DIFF = 8 << 20
"""A larger step from the shared base touches so much that building the base itself costs no more."""
UNCOMMITTED = "uncommitted changes"
_FEWER = "name fewer: --count N, or a range A..B"
_PLAIN_DIFF = ("--full-index", "--binary", "--no-ext-diff", "--no-textconv", "--no-color")
_MAIL_DIFF = ("--find-renames", "--no-relative", "--src-prefix=a/", "--dst-prefix=b/")
# git sets these for its hooks and aliases: they would name another repository or index than the folder does.
_LOCAL = tuple(
    f"GIT_{name}"
    for name in ("DIR", "WORK_TREE", "INDEX_FILE", "PREFIX", "COMMON_DIR", "NAMESPACE", "OBJECT_DIRECTORY")
)


@dataclass(frozen=True)
class Span:
    """A straight line of commits, oldest first, and what it stands on. ``at_head``: it ends where the tree is."""

    base: str
    head: str
    commits: tuple[str, ...]
    at_head: bool


@dataclass(frozen=True)
class Fork:
    """Where the branch left what others have: the commit, and the upstream branch or tag that says so."""

    commit: str
    name: str


@dataclass(frozen=True)
class Anchor:
    """The commit whose kernel is built, and the diff from there to the base of the series; empty if there is none."""

    commit: str
    diff: bytes


def anchors(line: Sequence[str], stored: Collection[str], fork: str | None) -> list[str]:
    """The commits that may serve as anchor, best first: the nearest whose source is there, else where the branch
    left its upstream, so that the next presubmit shares it, else the base. ``line``: the base and its first
    parents."""
    nearest = [commit for commit in line if commit in stored][:1]
    shared = [fork] if fork in line and fork is not None else []
    return list(dict.fromkeys([*nearest, *shared, line[0]]))


class Worktree:
    """The work tree around ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.top = folder
        done = self._try("rev-parse", "--show-toplevel")
        if done.status != 0:
            raise UsageError(
                f"no git work tree at {folder}: {one_line(done.stderr)}", hint="run this inside a kernel tree"
            )
        self.top = Path(done.stdout.removesuffix("\n"))

    def span(self, words: str = "", count: int | None = None) -> Span:
        """The commits of a range ``A..B`` or ``A..``, the last ``count`` ones, or all since the branch left its
        upstream (or the nearest tag)."""
        if words and count is not None:
            raise UsageError("a range and --count exclude each other", hint="give one of them")
        now = end = self.commit("HEAD")
        if words:
            first, dots, last = words.partition("..")
            if not dots or not first or last.startswith("."):
                raise UsageError(f"not a range of commits: {one_line(words)}", hint="write A..B, or A.. up to HEAD")
            start, end, since = self.commit(first), self.commit(last or "HEAD"), words
        elif count is not None:
            start, since = self.commit(f"HEAD~{count}"), f"HEAD~{count}.."
        else:
            fork = self.fork()
            if fork is None:
                raise UsageError("the branch has no upstream, and no tag before it", hint="say --count N, or A..")
            start, since = fork.commit, f"{fork.name}.."
        commits = self._commits(start, end, since)
        return Span(self._before(commits[0]) if commits else end, end, commits, end == now)

    def commit(self, name: str) -> str:
        """The full id of a commit; UsageError when there is no such one."""
        done = self._try("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        if done.status != 0:
            raise UsageError(f"no commit {one_line(name)} in {self.top}", hint="name commits, branches or tags of it")
        return done.stdout.strip()

    def fork(self) -> Fork | None:
        """Where HEAD left its upstream branch; without one, the nearest tag before it. b4's tags of what was sent
        are no such place: they stand at the end of a series."""
        upstream = self._try("rev-parse", "--abbrev-ref", "--symbolic-full-name", "@{upstream}").stdout.strip()
        if upstream:
            base = self._try("merge-base", "HEAD", "@{upstream}").stdout.strip()
            if base:
                return Fork(base, upstream)
        tag = self._try("describe", "--abbrev=0", "--exclude=sent/*", "HEAD").stdout.strip()
        return Fork(self.commit(f"refs/tags/{tag}"), tag) if tag else None

    def series(self, span: Span) -> Series:
        """The commits of the span, and what is not committed if it ends at HEAD, as a series in this order."""
        found = self._committed(span)
        patches, notes = list(found.patches), list(found.notes)
        patch, untracked = self.uncommitted()
        if patch is not None and span.at_head:
            patches.append(patch)
        elif patch is not None:
            notes.append("the range does not end at HEAD: uncommitted changes are not tested")
        if untracked:
            more = f" and {len(untracked) - 5} more" if len(untracked) > 5 else ""
            notes.append(f"untracked files are not tested (git add -N takes them in): {', '.join(untracked[:5])}{more}")
        if not patches:
            raise UsageError("there is nothing to test: no commits and no changes", hint="say --count N, or A..")
        title = patches[0].subject + (f" (and {len(patches) - 1} more)" if len(patches) > 1 else "")
        return replace(found, title=title, patches=tuple(_numbered(patches)), notes=tuple(notes))

    def uncommitted(self) -> tuple[Patch | None, list[str]]:
        """What the work tree has that HEAD has not, staged or not, as one patch; and the names of untracked files,
        which are in no patch."""
        if self._ask("ls-files", "--unmerged"):
            raise UsageError(f"{self.top} is in the middle of a merge", hint="resolve the conflicts, and git add")
        diff = self._written("diff-index", "-p", *_PLAIN_DIFF, "HEAD", "--")
        others = self._ask("ls-files", "-z", "--others", "--exclude-standard")
        untracked = [one_line(name) for name in others.split("\0") if name]
        return (self._patch(diff) if diff else None), untracked

    def anchor(self, base: str, stored: Callable[[str], bool]) -> Anchor:
        """What to build so that ``base`` is one patch away from it. ``stored`` tells whether a commit's source is
        in the cache."""
        line = self._ask("rev-list", "--first-parent", f"--max-count={REACH + 1}", base).split()
        fork = self.fork()
        for commit in anchors(line, {c for c in line if stored(c)}, fork.commit if fork else None):
            if commit == base:
                break
            diff = self._written("diff-tree", "-p", *_PLAIN_DIFF, commit, base)
            if len(diff) <= MAX_BASE_DIFF and not git.touches_links(diff):
                return Anchor(commit, diff)
        return Anchor(base, b"")

    def _commits(self, start: str, end: str, since: str) -> tuple[str, ...]:
        span = f"{start}..{end}"
        count = int(self._ask("rev-list", "--count", span))
        if count > MAX_COMMITS:
            raise UsageError(f"{one_line(since)} has {count} commits, at most {MAX_COMMITS} are tested", hint=_FEWER)
        merges = self._ask("rev-list", "--merges", span).split()
        if merges:
            raise UsageError(
                f"{one_line(since)} has a merge, {merges[0][:12]}: it has no order to test in",
                hint=f"name what comes after it, {merges[0][:12]}.., or rebase the branch",
            )
        return tuple(self._ask("rev-list", "--reverse", "--topo-order", span).split())

    def _before(self, commit: str) -> str:
        done = self._try("rev-parse", "--verify", "--quiet", f"{commit}^1^{{commit}}")
        if done.status != 0:
            raise UsageError(
                f"there is nothing before {commit[:12]}, so nothing to compare with",
                hint="name fewer commits; a shallow clone gets more by git fetch --deepen=100",
            )
        return done.stdout.strip()

    def _committed(self, span: Span) -> Series:
        """The commits as git format-patch mails them, each checked to be what the commit is."""
        diffs = {c: self._written("diff", *_PLAIN_DIFF, *_MAIL_DIFF, f"{c}^", c) for c in span.commits}
        patches: list[Patch] = []
        # format-patch writes an empty mail for a commit that changes nothing, so the ranges go around these.
        for full, commits in itertools.groupby(span.commits, lambda commit: bool(diffs[commit])):
            run = list(commits)
            if full:
                mailed = fetch(f"git:{self.top}#{run[0]}^..{run[-1]}").patches
                patches += [_whole(c, patch, diffs[c]) for c, patch in zip(run, mailed, strict=True)]
        left_out = sum(not diff for diff in diffs.values())
        notes = (f"{left_out} commit(s) that change nothing were left out",) if left_out else ()
        spec = f"git:{self.top}#{span.base}..{span.head}"
        return Series(spec, "", tuple(patches), base_commit=span.base, notes=notes)

    def _patch(self, diff: bytes) -> Patch:
        found = re.match(r"(.*?) ?<([^>]*)>", self._try("var", "GIT_AUTHOR_IDENT").stdout)
        name, address = found.groups() if found else ("unknown", "unknown@example.invalid")
        head = f"From: {formataddr((name, address))}\nSubject: [PATCH] {UNCOMMITTED}\n\n---\n\n"
        files = paths_of(read_diff(diff))
        author = one_line(f"{name} <{address}>")
        return Patch(UNCOMMITTED, author, None, git.patch_id(diff), files, head.encode() + diff)

    def _written(self, *argv: str) -> bytes:
        """The output of a git that makes a diff, byte for byte."""
        with tempfile.TemporaryDirectory(prefix="xdna-worktree-") as scratch:
            out = Path(scratch) / "out"
            self._ask(argv[0], f"--output={out}", *argv[1:])
            return out.read_bytes()

    def _ask(self, *argv: str) -> str:
        done = self._try(*argv)
        if done.status != 0:
            raise InfraError(
                f"git {argv[0]} failed in {self.top}: {one_line(done.stderr)}", hint="run 'git fsck' there"
            )
        return done.stdout

    def _try(self, *argv: str) -> proc.Completed:
        env = {key: value for key, value in os.environ.items() if key not in _LOCAL}
        env.update(LC_ALL="C", GIT_TERMINAL_PROMPT="0", GIT_OPTIONAL_LOCKS="0")
        words = ["git", "--no-pager", "-c", "core.fsmonitor=false", *argv]
        return proc.run(words, what=f"git {argv[0]}", timeout=GIT_SECONDS, cwd=self.top, env=env, check=False)


def _whole(commit: str, patch: Patch, diff: bytes) -> Patch:
    """The patch, if its mail carries this diff and no other: git am takes one in a commit message for a part of it."""
    carried = git.diff_of(patch.mail).rstrip(b"\n")
    before = carried.removesuffix(diff.rstrip(b"\n"))
    if read_diff(before):
        raise UsageError(
            f"{commit[:12]} '{patch.subject}' does not survive as a mail: git am would apply something else",
            hint="indent the diff in its commit message",
        )
    return patch


def _numbered(patches: Sequence[Patch]) -> Iterator[Patch]:
    """The patches with their places in their subjects, by which a reader of mails puts them in order."""
    for number, patch in enumerate(patches, 1):
        place = f"PATCH {number}/{len(patches)}" if len(patches) > 1 else "PATCH"
        subject = f"Subject: [{place}]".encode()
        mail = re.sub(rb"^Subject: \[PATCH[^\]\n]*\]", subject, patch.mail, count=1, flags=re.MULTILINE)
        yield replace(patch, mail=mail)
