# SPDX-License-Identifier: GPL-2.0-only
"""git as a set of processes: applying patches to plain folders, patch-ids, the diff of a mail.

The source trees are folders of hard links to a pristine source and no repositories. ``git apply`` removes a
file and creates it anew, also for a change of mode, so the pristine copy stays as it is (a test holds that).
Nobody's git configuration, hooks or surrounding repository take part.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path, PurePosixPath

from harness.errors import InfraError, PatchError, UsageError
from harness.formats.diff import FileDiff, paths_of, place_of, read_diff
from harness.formats.mail import has_headers, unix_lines
from harness.host import proc
from harness.log import printable
from harness.model.series import Patch

APPLY_SECONDS = 120.0
READ_SECONDS = 60.0
_COMPLAINT = re.compile(
    r"error: (?:patch failed: (.+):\d+$|cannot apply binary patch to '(.+)'|(?!patch failed: )(.+?): )"
)
_LINK_MODES = ("120000", "160000")
_HOSTILE = "such a patch is refused: read it before you do anything else with it"
_DAMAGED = "ask for the mail to be sent again, or take the series from the archive by its message-id"


def apply(tree: Path, patch: Patch, position: str) -> frozenset[str]:
    """Apply one patch to a folder and return the paths that it touched: added, deleted and both names of a
    rename too. All of it is applied or nothing; a tree in which it left a link is of no use to anybody.

    ``position`` begins the messages: "patch 2 of 5". :class:`PatchError`: the patch is damaged or reaches for
    what is none of its business. :class:`UsageError`: it was made for another base than ``tree``.
    """
    who = f"{position} '{one_line(patch.subject)}'"
    diff = diff_of(patch.mail)
    files = read_diff(diff)
    names = _numstat(tree, diff, files, who) | _numstat(tree, diff, files, who, "--reverse") | set(paths_of(files))
    _refuse_hostile(files, names, who)
    done = _apply(tree, diff)
    if done.status != 0:
        raise _refusal(tree, files, done.stderr, who)
    _refuse_links(tree, names, who)
    return frozenset(names)


def named(patch: Patch) -> frozenset[str]:
    """The paths that a patch names, as it spells them. :class:`PatchError`: the patch is damaged."""
    return frozenset(paths_of(read_diff(diff_of(patch.mail))))


def fits(tree: Path, patch: Patch, *, reverse: bool = False) -> bool:
    """Whether a patch can be put on a folder as it is, or taken out of it. Nothing is changed."""
    options = ("--check", "--reverse") if reverse else ("--check",)
    return _apply(tree, diff_of(patch.mail), *options).status == 0


def patch_id(diff: bytes) -> str:
    """git's stable patch-id of a diff, 40 hexadecimal digits: the same however often it is sent."""
    found = patch_ids(diff)
    # A diff in which git sees no text (only a mode or a broken header) still needs an identity.
    return found[0][0] if found else hashlib.sha1(diff, usedforsecurity=False).hexdigest()


def patch_ids(log: bytes) -> list[tuple[str, str]]:
    """Patch-id and commit of each commit in the output of ``git log -p``."""
    with _scratch() as folder:
        done = proc.run(
            ["git", "patch-id", "--stable"],
            what="git patch-id",
            timeout=READ_SECONDS,
            cwd=folder,
            env=clean_env(folder),
            stdin=log,
        )
    lines = (line.partition(" ") for line in done.stdout.splitlines())
    return [(patch, commit) for patch, _, commit in lines if patch]


@lru_cache(maxsize=256)  # asked by each step that a mail goes through, and git is a process each time
def diff_of(mail: bytes) -> bytes:
    """The diff that a mail carries, decoded, as ``git am`` would take it; a bare diff is returned as it is.

    A mail that came with carriage returns loses them first, as with git mailsplit.
    """
    mail = unix_lines(mail)
    if not has_headers(mail):
        return mail
    with _scratch() as folder:
        done = proc.run(
            ["git", "mailinfo", "--no-scissors", "message", "diff"],
            what="git mailinfo",
            timeout=READ_SECONDS,
            cwd=folder,
            env=clean_env(folder),
            stdin=mail,
            check=False,
        )
        if done.status != 0:
            raise PatchError(f"git cannot read a mail: {one_line(done.stderr) or 'no reason given'}", hint=_DAMAGED)
        return (folder / "diff").read_bytes()


def touches_links(diff: bytes) -> bool:
    """Whether a diff makes, changes or removes a link or submodule, which :func:`apply` refuses."""
    return any(mode in _LINK_MODES for file in read_diff(diff) for mode in file.modes)


def clean_env(folder: Path) -> dict[str, str]:
    """The environment of a git that nobody's configuration reaches. ``folder`` is the working folder.

    GIT_DIR names nothing, so git does not look for a repository around (or, worse, in) the folder.
    """
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "HOME": "/nonexistent",
        "GIT_DIR": "/nonexistent",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent),
        "GIT_TERMINAL_PROMPT": "0",
        "TMPDIR": tempfile.gettempdir(),
    }


def blob_id(path: Path) -> str | None:
    """The id that git gives a file's content (of a link, its target's text); None without a file."""
    try:
        data = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def one_line(text: str, limit: int = 200) -> str:
    """Text of a stranger for a message of ours: one line, no control characters, not endless."""
    flat = printable(" ".join(text.split()))
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="xdna-git-") as folder:
        yield Path(folder)


def _apply(tree: Path, diff: bytes, *options: str) -> proc.Completed:
    return proc.run(
        ["git", "apply", "-p1", "--whitespace=nowarn", *options],
        what="git apply",
        timeout=APPLY_SECONDS,
        cwd=tree,
        env=clean_env(tree),
        stdin=diff,
        check=False,
    )


def _numstat(tree: Path, diff: bytes, files: list[FileDiff], who: str, *options: str) -> set[str]:
    """The paths git itself sees in the diff; the place where broken syntax shows. It names new ones only: for the old
    ones, which a head may hide from any other reader, it is asked to take the diff out."""
    done = _apply(tree, diff, "--numstat", "-z", *options)
    if done.status == 0:
        return {entry.split("\t", 2)[2] for entry in done.stdout.split("\0") if entry.count("\t") >= 2}
    reason = _first_error(done.stderr)
    if "No valid patches" in reason or "unrecognized input" in reason:
        raise PatchError(f"{who} carries no diff that git can read", hint=_DAMAGED)
    if "invalid path" in reason:
        _refuse_hostile(files, set(paths_of(files)), who)
    match = re.search(r"(.*?) at (?:line |\S*:)(\d+)\b", reason)
    if match is None:
        raise PatchError(f"{who} is damaged: {one_line(reason)}", hint=_DAMAGED)
    what, line = match.group(1), int(match.group(2))
    place = one_line(place_of(files, line) or "its head")
    raise PatchError(f"{who} is damaged in {place}, line {line} of the diff: {one_line(what)}", hint=_DAMAGED)


def _refuse_hostile(files: list[FileDiff], names: Iterable[str], who: str) -> None:
    """A patch from a stranger may touch plain files below the tree and nothing else."""
    for name in sorted(names):
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\0" in name:
            raise PatchError(f"{who} reaches outside the source tree: {one_line(name)}", hint=_HOSTILE)
        if any(part.lower().rstrip(". ") == ".git" for part in parts):
            raise PatchError(f"{who} touches a .git folder: {one_line(name)}", hint=_HOSTILE)
    for file in files:
        if any(mode in _LINK_MODES for mode in file.modes):
            raise PatchError(f"{who} makes or changes a link or submodule: {one_line(file.name)}", hint=_HOSTILE)


def _refuse_links(tree: Path, names: Iterable[str], who: str) -> None:
    """Whatever a patch says of modes: what it wrote is no link. One that is there needs no mode to be changed."""
    for name in sorted(names):
        if os.path.islink(tree / name):  # False also for a name that no disk takes
            raise PatchError(f"{who} makes or changes a link or submodule: {one_line(name)}", hint=_HOSTILE)


def _refusal(tree: Path, files: list[FileDiff], stderr: str, who: str) -> PatchError | UsageError | InfraError:
    """Whose fault it is that git would not apply a readable diff: the blob ids of its index lines decide."""
    reason = _first_error(stderr)
    if "unable to" in reason or "No space left" in reason:
        return InfraError(f"cannot write to the tree {tree}: {one_line(reason)}", hint="free some disk space")
    named = _named(stderr)
    failed = [file for file in files if file.paths & named] or files
    same = {id(file): _same_blob(tree, file) for file in failed}
    wrong = [file for file in failed if same[id(file)] is False]
    if wrong:
        return _wrong_base(tree, wrong, who)
    place = _failed_place(failed, stderr)
    if all(same.values()):
        return PatchError(
            f"{who} is damaged: {place} does not apply, although the file is the very one it was made for",
            hint=_DAMAGED,
        )
    return PatchError(
        f"{who} does not apply: {place}: {one_line(reason)}",
        hint="it has no index lines, so nobody can say whether it is damaged or for another base: "
        "make it with git format-patch; or name its base with --kernel SRC or --base-patch FILE",
    )


def _wrong_base(tree: Path, wrong: list[FileDiff], who: str) -> UsageError:
    names = ", ".join(one_line(file.name) for file in wrong[:5])
    more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
    if all(_carried(tree, file) for file in wrong):
        return UsageError(
            f"{who} is in the tree already: {names}{more}",
            hint="name a file that takes it out with --base-patch FILE, or another base with --kernel SRC",
        )
    return UsageError(
        f"{who} was made for another base: {names}{more} differ from what it expects",
        hint="name the kernel it was made for with --kernel SRC (git:PATH#COMMIT, debian:VERSION, dir:PATH), "
        "or what comes before it with --base-patch FILE",
    )


def _same_blob(tree: Path, file: FileDiff) -> bool | None:
    """Whether the tree's file is the one the patch was made for; None when the patch does not say."""
    if file.old_blob is None or len(file.old_blob) > 40:
        return None
    if file.old is not None and not set(file.old_blob) - {"0"}:
        return None
    return _is_blob(tree, file.old if file.old is not None else file.new, file.old_blob)


def _carried(tree: Path, file: FileDiff) -> bool:
    """Whether the tree's file is already what the patch makes of it."""
    path = file.new if file.new is not None else file.old
    return file.new_blob is not None and len(file.new_blob) <= 40 and _is_blob(tree, path, file.new_blob)


def _is_blob(tree: Path, path: str | None, blob: str) -> bool:
    have = blob_id(tree / path) if path else None
    if not set(blob) - {"0"}:
        return have is None
    return have is not None and have.startswith(blob)


def _named(stderr: str) -> set[str]:
    """The files that git complains of."""
    found = (_COMPLAINT.match(line) for line in stderr.splitlines())
    return {next(filter(None, match.groups())) for match in found if match}


def _failed_place(failed: list[FileDiff], stderr: str) -> str:
    """The file and hunk that git stumbled over. git names the hunk by its first old line."""
    for file in failed:
        for path in sorted(file.paths):
            match = re.search(rf"^error: patch failed: {re.escape(path)}:(\d+)$", stderr, re.MULTILINE)
            if match:
                start = int(match.group(1))
                number = next((n for n, hunk in enumerate(file.hunks, 1) if hunk.start == start), 0)
                return f"{one_line(path)}, hunk {number or '?'} (line {start})"
    return one_line(failed[0].name) if failed else "it"


def _first_error(stderr: str) -> str:
    for line in stderr.splitlines():
        if line.startswith(("error: ", "fatal: ")):
            return line.split(": ", 1)[1]
    return stderr.strip().partition("\n")[0] or "git gave no reason"
