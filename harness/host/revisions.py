# SPDX-License-Identifier: GPL-2.0-only
"""The discussion of a series, and its previous revision: in the same file, or on the list."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HarnessError
from harness.formats.mail import Mail, join_mbox, read_mail
from harness.formats.thread import Group, before, groups, holding
from harness.host import b4, mailfile
from harness.host.fetch import archive_name, as_path
from harness.host.git import one_line
from harness.model.series import Series

LOOK_SECONDS = 60.0


@dataclass(frozen=True)
class Found:
    """A previous revision: what to fetch it by, and how it was found. No ``spec``: ``how`` says why there is none."""

    spec: str
    how: str


@dataclass(frozen=True)
class Discussion:
    """A series' own mails as they were sent, and all mails at hand that came with them."""

    own: tuple[Mail, ...] = ()
    mails: tuple[Mail, ...] = ()


def discussion(series: Series) -> Discussion:
    """What was said about a series, from where it was taken. Commits of a repository have none."""
    path, _ = as_path(series.spec)
    if path is not None:
        mails = mailfile.read(path)
    elif series.spec.startswith("git:"):
        mails = []
    else:
        with tempfile.TemporaryDirectory(prefix="xdna-thread-") as scratch:
            raw, _ = b4.fetch_thread(archive_name(series.spec), Path(scratch), b4.Clock(LOOK_SECONDS))
        mails = [read_mail(part, "the archive") for part in raw]
    group = _group(mails, series)
    return Discussion(tuple(group.mails) if group else (), tuple(mails))


def previous(series: Series, into: Path) -> Found:
    """The revision before ``series``. One from the list is written to ``into``, an mbox, with its discussion."""
    if (series.revision or 1) < 2:
        return Found("", "" if series.revision else "the series has no revision")
    path, _ = as_path(series.spec)
    if path is not None:
        mails = mailfile.read(path)
        own = _group(mails, series)
        older = before(groups(mails), own) if own else None
        if older is not None and older.message_id:
            return Found(f"{path}#{older.message_id}", f"in the same file, {path}")
    if not series.message_id:
        return Found("", "the series has no Message-ID to look for on a list; name it with --previous")
    return _on_the_list(series, into)


def _on_the_list(series: Series, into: Path) -> Found:
    where = f"<{series.message_id}>"
    try:
        with tempfile.TemporaryDirectory(prefix="xdna-older-") as scratch:
            raw = b4.fetch_older(where, Path(scratch), b4.Clock(LOOK_SECONDS))
    except HarnessError as error:
        return Found("", f"not looked for on the list: {error.message}; name it with --previous")
    mails = [read_mail(part, "the archive") for part in raw]
    own = _group(mails, series)
    older = before(groups(mails), own) if own else None
    if older is None or not older.message_id:
        return Found("", "the list has none that b4 finds; name it with --previous")
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_bytes(join_mbox(mail.raw for mail in mails))
    return Found(f"{into}#{older.message_id}", f"on the list, <{one_line(older.message_id)}>")


def _group(mails: list[Mail], series: Series) -> Group | None:
    """The mails of this very series."""
    found = groups(mails)
    if series.message_id:
        return holding(found, series.message_id, mails)
    return next((g for g in found if g.patches and g.revision == (series.revision or 1)), None)
