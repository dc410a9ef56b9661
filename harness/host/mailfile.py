# SPDX-License-Identifier: GPL-2.0-only
"""Mails in files and folders: mbox, maildir, patch file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.errors import UsageError
from harness.formats.diff import read_diff
from harness.formats.mail import Mail, read_mail, read_mails
from harness.host import git
from harness.host.git import one_line

MAX_FILE = 256 * 1024 * 1024
_WANTED = "name an mbox, a maildir or a patch file"


def read(path: Path) -> list[Mail]:
    try:
        if path.is_dir():
            if not (path / "new").is_dir() and not (path / "cur").is_dir():
                raise UsageError(f"{path} is a folder, but no maildir", hint=_WANTED)
            raw = read_maildir(path)
            if not raw:
                raise UsageError(f"{path} is an empty maildir", hint="save the thread into it first")
            return [read_mail(part, str(path)) for part in raw]
        if path.stat().st_size > MAX_FILE:
            raise UsageError(f"{path} is larger than {MAX_FILE >> 20} MiB", hint="save one thread only")
        return read_mails(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=_WANTED) from error


def refuse_cut(path: Path, mails: Sequence[Mail]) -> None:
    """A file that ends in the middle of a patch was cut off when it was saved; no author need act."""
    last = mails[-1]
    if path.is_dir() or last.reply or last.counter == 0:
        return
    again = "save it again, or name the series by its message-id"
    files = read_diff(git.diff_of(last.raw))
    promised = re.search(r"^ (\d{1,6}) files? changed, ", last.body, re.MULTILINE)
    if any(not hunk.whole for file in files for hunk in file.hunks):
        raise UsageError(f"{path} is cut off in the middle of the diff of '{one_line(last.title)}'", hint=again)
    if promised and int(promised.group(1)) > len(files):
        raise UsageError(
            f"{path} is cut off: '{one_line(last.title)}' changes {promised.group(1)} files, "
            f"but its diff has {len(files)}",
            hint=again,
        )
    if not files and last.prefixed and len(mails) > 1:
        raise UsageError(f"{path} is cut off before the diff of '{one_line(last.title)}'", hint=again)


def read_maildir(folder: Path) -> list[bytes]:
    """The mails of a maildir, in the order of their file names."""
    paths = sorted(p for sub in ("cur", "new") for p in (folder / sub).glob("*") if p.is_file())
    return [path.read_bytes() for path in sorted(paths, key=lambda p: p.name)]


def write_maildir(mails: Sequence[bytes], folder: Path) -> None:
    """A maildir rather than an mbox: nothing in a body can be taken for the beginning of the next mail."""
    for sub in ("cur", "new", "tmp"):
        (folder / sub).mkdir(parents=True)
    for number, mail in enumerate(mails):
        (folder / "new" / f"{number:05d}.eml").write_bytes(mail)
