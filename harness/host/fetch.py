# SPDX-License-Identifier: GPL-2.0-only
"""From what a person writes to a Series: a message-id, an archive URL, a file, a maildir, or a range of
commits.

An existing path wins; ``PATH#MESSAGE-ID`` picks one series of a file that holds several.
"""

from __future__ import annotations

import re
import tempfile
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.errors import UsageError
from harness.formats.diff import paths_of, read_diff
from harness.formats.mail import Mail, has_headers, join_mbox, read_mail
from harness.formats.thread import Group, choose, groups, holding
from harness.host import b4, commits, git, mailfile
from harness.host.git import one_line
from harness.model.series import Patch, Series

FETCH_SECONDS = 60.0
MAX_PATCHES = 500
_MESSAGE_ID = r"[^\s<>@\x00-\x1f\x7f]+@[^\s<>\x00-\x1f\x7f]+"
_KINDS = "a message-id, an archive URL, an mbox, maildir or patch file, or git:TREE#A..B"


def fetch(spec: str, *, limit: float = FETCH_SECONDS) -> Series:
    """The series that ``spec`` names. ``limit`` in seconds bounds all waiting for an archive.

    :class:`UsageError`: nothing (or too much) is there, or it is incomplete. :class:`InfraError`: the
    archive does not answer. :class:`PatchError`: it is not to be trusted.
    """
    path, wanted = as_path(spec)
    with tempfile.TemporaryDirectory(prefix="xdna-fetch-") as folder:
        work = _Work(spec, Path(folder), b4.Clock(limit))
        if path is not None:
            return _from_path(work, path, wanted)
        if spec.startswith("git:"):
            return _from_git(work, spec[len("git:") :])
        return _from_archive(work, archive_name(spec))


def write_mbox(series: Series, path: Path) -> None:
    """The series as an mbox for git am; fetched again it has the same patch-ids, base-commit and
    change-id. UsageError: ``path`` cannot be written."""
    mails = [_with_headers(patch) for patch in series.patches]
    footers = [("base-commit", series.base_commit), ("change-id", series.change_id)]
    known = read_mail(mails[0], str(path))
    plain = not re.search(rb"^content-transfer-encoding: *(?:base64|quoted)", mails[0], re.IGNORECASE | re.MULTILINE)
    new = [f"{key}: {value}\n" for key, value in footers if value and not known.footers(key)]
    if new and plain:
        mails[0] = mails[0].rstrip(b"\n") + b"\n\n" + "".join(new).encode()
    try:
        path.write_bytes(join_mbox(mails))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}", hint="name another --out") from error


@dataclass(frozen=True)
class _Work:
    spec: str
    scratch: Path
    clock: b4.Clock


def as_path(spec: str) -> tuple[Path | None, str | None]:
    """(path, message-id in it) when ``spec`` names something that exists."""
    if "\0" in spec or not spec:
        raise UsageError(f"not a series: {one_line(spec) or 'nothing given'}", hint=f"name {_KINDS}")
    try:
        if Path(spec).exists():
            return Path(spec), None
        before, mark, after = spec.rpartition("#")
        if mark and Path(before).exists() and "@" in after:
            return Path(before), after.strip("<>")
    except OSError:
        pass  # longer than a path may be
    return None, None


def archive_name(spec: str) -> str:
    """The message-id or URL for b4. Which words are which is decided here and nowhere else."""
    if re.match(r"https?://", spec):
        url = urllib.parse.urlsplit(spec)
        parts = [urllib.parse.unquote(part).strip("<>") for part in url.path.split("/")]
        at = next((n for n, part in enumerate(parts) if re.fullmatch(_MESSAGE_ID, part)), None)
        if at is not None:
            # Cut to the mail's own address, with the @ as b4 looks for it.
            path = "/".join(urllib.parse.quote(part, safe="@") for part in parts[: at + 1])
            return f"{url.scheme}://{url.netloc}{path}/"
        raise UsageError(
            f"no message-id in {one_line(spec)}",
            hint="copy the address of one mail: https://HOST/LIST/MESSAGE-ID/",
        )
    bare = spec[1:-1] if spec.startswith("<") and spec.endswith(">") else spec
    if re.fullmatch(_MESSAGE_ID, bare) and ("/" not in bare or bare != spec):
        return f"<{bare}>"
    raise UsageError(f"no such file, and no message-id: {one_line(spec)}", hint=f"name {_KINDS}")


def _from_archive(work: _Work, where: str) -> Series:
    raw, notes = b4.fetch_thread(where, work.scratch, work.clock)
    mails = [read_mail(part, "the archive") for part in raw]
    asked = _message_id_in(where, mails)
    found = groups(mails)
    group = holding(found, asked, mails) if asked else None
    if group is None or not group.patches:
        group, more = choose(found, "the thread", "name the mail of a patch or a cover letter")
        notes += more
    ready = b4.make_ready(raw, work.scratch, work.clock, revision=group.revision, message_id=asked, offline=False)
    if ready is None:
        raise UsageError(f"b4 found no patches at {one_line(where)}", hint="name the mail of a patch or cover letter")
    newest = max((g.revision for g in found if g.patches), default=group.revision)
    return _from_b4(work, group, ready, notes, newest)


def _from_path(work: _Work, path: Path, wanted: str | None) -> Series:
    mails = mailfile.read(path)
    mailfile.refuse_cut(path, mails)
    found = groups(mails)
    notes: list[str] = []
    if wanted is None:
        group, notes = choose(found, str(path), f"{path}#MESSAGE-ID, or a file for each")
    else:
        chosen = holding(found, wanted, mails)
        if chosen is None or not chosen.patches:
            raise UsageError(f"{path} holds no series with {one_line(wanted)}", hint="check the message-id")
        group = chosen
    if any(mail.message_id is None for mail in group.patches):
        return _from_mails(work, group, [*notes, "no Message-ID: taken by git mailinfo, b4 skipped"])
    ready = b4.make_ready(
        [mail.raw for mail in mails],
        work.scratch,
        work.clock,
        revision=group.revision,
        message_id=wanted if wanted is not None else (group.message_id if not group.loose else None),
        offline=True,
    )
    if ready is None:
        return _from_mails(work, group, [*notes, "b4 sees no patches here: taken by git mailinfo, b4 skipped"])
    newest = max(g.revision for g in found if g.patches)
    return _from_b4(work, group, ready, notes, newest)


def _from_git(work: _Work, rest: str) -> Series:
    tree, mark, span = rest.rpartition("#")
    first, dots, last = span.partition("..")
    if not mark or not dots or not first or not last or last.startswith("."):
        raise UsageError(f"not a range of commits: git:{one_line(rest)}", hint="write git:TREE#A..B")
    top = Path(tree).expanduser()
    if not top.is_dir():
        raise UsageError(f"no such folder: {one_line(tree)}", hint="the tree of a series is a local one: git:PATH#A..B")
    base, head = (commits.find(top, name) for name in (first, last))
    out = work.scratch / "patches"
    commits.write_patches(top, base, head, out, limit=MAX_PATCHES)
    mails = [read_mail(path.read_bytes(), path.name) for path in sorted(out.iterdir())]
    if not mails:
        raise UsageError(f"there are no commits in git:{one_line(rest)}", hint="write the older end first: A..B")
    notes = ["taken from git commits by git format-patch, b4 skipped"]
    if skipped := commits.merges(top, base, head):
        notes.append(f"{skipped} merge commits in the range were left out")
    patches = [_patch(mail) for mail in mails]
    series = _series(work, mails, patches, notes, base_commit=commits.merge_base(top, base, head) or base)
    return replace(series, revision=None)


def _from_b4(work: _Work, group: Group, ready: b4.Ready, notes: list[str], newest: int) -> Series:
    if ready.missing:
        raise _incomplete(work.spec, group, list(ready.missing))
    patches = [_patch(read_mail(part, work.spec)) for part in ready.mails]
    notes = [*notes, *ready.notes, *(f"added from an answer: {trailer}" for trailer in ready.added)]
    return _series(
        work,
        group.mails,
        patches,
        notes,
        attestation=ready.attestation,
        newer=newest if newest > group.revision else None,
    )


def _from_mails(work: _Work, group: Group, notes: list[str]) -> Series:
    if missing := group.missing():
        raise _incomplete(work.spec, group, [f"{number}/{group.total}" for number in missing])
    return _series(work, group.mails, [_patch(mail) for mail in group.patches], notes)


def _series(
    work: _Work,
    mails: Sequence[Mail],
    patches: list[Patch],
    notes: list[str],
    *,
    attestation: str = "",
    newer: int | None = None,
    base_commit: str | None = None,
) -> Series:
    """Put together what the mails as they were sent say, and the patches as they will be applied."""
    first = mails[0]
    title = first.title if len(patches) == 1 or first.is_cover else f"{first.title} (and {len(patches) - 1} more)"
    needed = [value for mail in mails for value in mail.footers("prerequisite-patch-id")]
    if needed:
        notes = [
            *notes,
            f"needs {len(needed)} other patches first (prerequisite-patch-id); name them with --base-patch",
        ]
    if newer is not None:
        notes = [*notes, f"a newer revision is there: v{newer}"]
    return Series(
        spec=work.spec,
        title=one_line(title),
        patches=tuple(patches),
        revision=first.revision if first.prefixed else None,
        message_id=first.message_id,
        base_commit=base_commit or _footer(mails, "base-commit"),
        change_id=_footer(mails, "change-id"),
        trailers=tuple(
            dict.fromkeys(one_line(t) for p in patches for t in read_mail(_with_headers(p), work.spec).trailers)
        ),
        attestation=attestation,
        newer_revision=newer,
        notes=tuple(notes),
    )


def _patch(mail: Mail) -> Patch:
    diff = git.diff_of(mail.raw)
    return Patch(
        subject=one_line(mail.title),
        author=one_line(mail.author),
        message_id=mail.message_id,
        patch_id=git.patch_id(diff),
        files=paths_of(read_diff(diff)),
        mail=mail.raw,
    )


def _with_headers(patch: Patch) -> bytes:
    """A bare diff as the body of a mail; git am wants a sender."""
    if has_headers(patch.mail):
        return patch.mail
    author = patch.author if "@" in patch.author else f"{patch.author} <unknown@example.invalid>"
    return f"From: {author}\nSubject: [PATCH] {patch.subject}\n\n---\n".encode() + patch.mail


def _footer(mails: Sequence[Mail], name: str) -> str | None:
    return next((one_line(value) for mail in mails for value in mail.footers(name)), None)


def _message_id_in(where: str, mails: Sequence[Mail]) -> str | None:
    """The message-id that a URL or <...> names, when the thread has it."""
    text = urllib.parse.unquote(where)
    names = [m.message_id for m in mails if m.message_id and m.message_id in text]
    return max(names, key=len) if names else None


def _incomplete(spec: str, group: Group, missing: list[str]) -> UsageError:
    have, gone = f"{len(group.patches)} of {group.total} patches", ", ".join(missing[:10])
    return UsageError(
        f"{one_line(spec)} is incomplete: '{one_line(group.title)}' has {have}, missing: {gone}",
        hint="wait for the missing mails, or save the whole thread; its message-id lets b4 fetch all of it",
    )
