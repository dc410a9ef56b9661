# SPDX-License-Identifier: GPL-2.0-only
"""b4 0.16 as a process: threads from an archive, and series made ready for git am. Never asks, never waits
for ever.

Which archive is b4's own business (``b4.midmask`` and ``b4.searchmask`` in the user's git configuration).
What b4 would remember of a series (its "thanks" list) goes to a scratch folder: trying a series is not
applying it.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError, InfraError, PatchError, UsageError
from harness.host import proc
from harness.host.git import one_line
from harness.host.mailfile import read_maildir, write_maildir

_MBOX_LINE = b"From git@z Thu Jan  1 00:00:00 1970\n"
_ASK_ARCHIVE = "the archive is b4's own setting: git config b4.midmask and b4.searchmask"
_SIGNED = re.compile(r"^\s+[vx] ((?:Signed|BADSIG|No key): \S.*)$", re.MULTILINE)
_ADDED = re.compile(r"^\s+\+ (\S+: \S.*)$", re.MULTILINE)


class Clock:
    """The time that is left of a limit in seconds, shared by several runs of b4."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._end = time.monotonic() + limit

    def left(self) -> float:
        return max(1.0, self._end - time.monotonic())


@dataclass(frozen=True)
class Ready:
    """A series as b4 made it: ``mails`` for git am, in order. ``attestation`` and ``notes`` are in b4's
    words, ``added`` are trailers that it took from answers, ``missing`` numbers of patches ("3/5") that it
    did not find."""

    mails: tuple[bytes, ...]
    attestation: str
    added: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]


def fetch_thread(where: str, scratch: Path, clock: Clock) -> tuple[list[bytes], list[str]]:
    """All mails of the thread of a message-id or archive URL, and of newer revisions; and notes.

    :class:`UsageError`: the archive does not know it. :class:`InfraError` (transient): it does not answer.
    """
    folder = scratch / "fetched"
    folder.mkdir()
    words = ["mbox", "-c", "-C", "-M", "-n", "thread", "-o", str(folder), where]
    try:
        done = _b4(words, scratch, clock, what="fetching the thread with b4")
    except proc.CommandTimeout as error:
        raise InfraError(
            f"the mail archive did not answer within {clock.limit:.0f} s, looking for {one_line(where)}",
            hint=f"try again later, or name an mbox file; {_ASK_ARCHIVE}",
            transient=True,
        ) from error
    maildir = folder / "thread"
    if done.status != 0 or not maildir.is_dir():
        raise _not_fetched(where, done)
    notes = []
    if "Server returned an error." in done.stderr:
        notes.append("the archive did not answer the search for newer revisions")
    return read_maildir(maildir), notes


def fetch_older(where: str, scratch: Path, clock: Clock) -> list[bytes]:
    """The mails of the thread of a message-id, and of the revision before, which b4 looks for in the archive by
    change-id, or by subject and sender. Without such a revision, those of the thread; errors as of fetch_thread.

    ``b4 diff`` is what knows how; it leaves the mails in its cache, here a scratch folder (b4 0.16, diff.py), before it
    looks for a repository to compare them in.
    """
    cache = scratch / "cache" / "b4"
    done = _b4(["diff", "-C", "-n", where], scratch, clock, what="looking for the previous revision with b4")
    paths = sorted(path for folder in cache.glob("*.diff.msgs") for path in folder.iterdir())
    if not paths:
        raise _not_fetched(where, done)
    return [path.read_bytes() for path in paths]


def make_ready(
    mails: Sequence[bytes],
    scratch: Path,
    clock: Clock,
    *,
    revision: int | None,
    message_id: str | None,
    offline: bool,
) -> Ready | None:
    """Let b4 pick one revision out of a thread, check its signatures and add the trailers of answers.

    ``message_id`` narrows the mails to that one's thread. None when b4 sees no patches at all.
    """
    maildir, out = scratch / "thread", scratch / "ready"
    write_maildir(mails, maildir)
    words = ["am", "-C", "-m", str(maildir), "-n", "series", "-o", str(out)]
    if revision is not None:
        words += ["-v", str(revision)]
    if message_id is not None:
        words.append(f"<{message_id}>")
    options = ["--offline-mode"] if offline else []
    done = _b4(words, scratch, clock, what="preparing the series with b4", options=options)
    mbox = out / "series.mbx"
    if done.status != 0 or not mbox.exists():
        if done.status == 0 or "No patches found" in done.stderr or "Could not find" in done.stderr:
            return None
        raise _not_ready(done)
    ready = tuple(part for part in mbox.read_bytes().split(_MBOX_LINE) if part.strip())
    said = re.search(r"^Total patches: (\d+)", done.stderr, re.MULTILINE)
    if said and int(said.group(1)) != len(ready):
        # A body that holds b4's own mbox line would become a patch of its own in git am.
        raise PatchError(
            f"a mail of the series pretends to be several: {len(ready)} instead of {said.group(1)} patches",
            hint="such a series is refused: read it before you do anything else with it",
        )
    return Ready(
        ready,
        "; ".join(dict.fromkeys(one_line(words) for words in _SIGNED.findall(done.stderr))),
        tuple(dict.fromkeys(one_line(words) for words in _ADDED.findall(done.stderr))),
        tuple(re.findall(r"ERROR: missing \[(\d+/\d+)\]", done.stderr)),
        tuple(_notes(done.stderr)),
    )


def _b4(words: Sequence[str], scratch: Path, clock: Clock, *, what: str, options: Sequence[str] = ()) -> proc.Completed:
    return proc.run(
        # The marks before attestation results are made plain letters, without colours.
        [
            *(sys.executable, "-P", "-m", "b4.command"),
            *("--no-stdin", "-n", "-c", "b4.attestation-checkmarks=plain"),
            *options,
            *words,
        ],
        what=what,
        timeout=clock.left(),
        cwd=scratch,
        env=_environment(scratch),
        check=False,
    )


def _environment(scratch: Path) -> dict[str, str]:
    """The user's own, for git's configuration, proxies and keys, but with b4's data in the scratch folder."""
    env = {key: value for key, value in os.environ.items() if key not in ("GIT_DIR", "GIT_WORK_TREE", "PYTHONPATH")}
    data = scratch / "data"
    data.mkdir(exist_ok=True)
    home = Path(os.environ.get("XDG_DATA_HOME") or Path("~/.local/share").expanduser())
    if (home / "patatt").is_dir() and not (data / "patatt").exists():
        (data / "patatt").symlink_to((home / "patatt").resolve())
    env.update(
        XDG_DATA_HOME=str(data),
        XDG_CACHE_HOME=str(scratch / "cache"),
        GIT_CEILING_DIRECTORIES=str(scratch.resolve().parent),
        GIT_TERMINAL_PROMPT="0",
        LC_ALL="C.UTF-8",
    )
    return env


def _not_fetched(where: str, done: proc.Completed) -> HarnessError:
    words = done.stderr
    if re.search(r"error: (?:404|300)\b|No messages found", words):
        return UsageError(
            f"the mail archive does not know {one_line(where)}", hint=f"check the message-id; {_ASK_ARCHIVE}"
        )
    if "Traceback (most recent call last)" in words and "Could not retrieve" not in words:
        return InfraError(f"b4 failed: {_last(words)}", hint="'xdna-harness doctor' checks the installation")
    reason = re.search(r"(?:Errno -?\d+\] )([^')\"]+)|(timed out|error: 5\d\d|Name or service not known)", words)
    why = one_line(reason.group(1) or reason.group(2)) if reason else _last(words)
    return InfraError(
        f"cannot reach the mail archive for {one_line(where)}: {why}",
        hint=f"try again later, or name an mbox file; {_ASK_ARCHIVE}",
        transient=True,
    )


def _not_ready(done: proc.Completed) -> HarnessError:
    words = done.stderr
    if "suspicious unicode control characters" in words:
        return PatchError(
            "the series holds Unicode control characters that hide what it does; b4 refuses it",
            hint="read it in an editor that shows them, and ask the author for a clean one",
        )
    if "attestation-policy: hardfail" in words:
        failed = "; ".join(map(one_line, _SIGNED.findall(words))) or _last(words)
        return PatchError(
            f"the series fails the check of its signatures: {failed}",
            hint="git config b4.attestation-policy says hardfail: ask the author to sign it",
        )
    return InfraError(f"b4 failed on the series: {_last(words)}", hint="'xdna-harness doctor' checks the installation")


def _notes(words: str) -> list[str]:
    notes = []
    if "is a partial reroll" in words:
        notes.append("partial reroll: b4 completed it with patches of the revision before")
    ignored = re.findall(r"^\s+! Trailer: (\S.*)$", words, re.MULTILINE)
    notes += [f"b4 ignored a trailer that its sender did not give: {one_line(trailer)}" for trailer in ignored[:20]]
    return notes


def _last(words: str) -> str:
    lines = [line for line in words.splitlines() if line.strip() and line.strip() != "---"]
    return one_line(lines[-1]) if lines else "it gave no reason"
