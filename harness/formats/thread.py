# SPDX-License-Identifier: GPL-2.0-only
"""Which mails of a pile are which series. Pure.

A series is told apart by the thread it hangs in and by its revision; without threads (patch files, mails
whose archive lost them) by the numbers in the subjects. Revisions of one series are a family: the same
thread, title or change-id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.errors import UsageError
from harness.formats.mail import Mail


@dataclass
class Group:
    """One revision of one series. ``root`` is the oldest mail of its thread that is at hand, if any; the
    mails of a ``loose`` one do not refer to each other."""

    revision: int
    root: str | None
    total: int | None
    loose: bool
    cover: Mail | None = None
    patches: list[Mail] = field(default_factory=list)

    @property
    def mails(self) -> list[Mail]:
        """The cover letter, if any, and the patches."""
        return [*([self.cover] if self.cover else []), *self.patches]

    @property
    def title(self) -> str:
        return self.mails[0].title

    @property
    def message_id(self) -> str | None:
        """By which people name the series."""
        return self.mails[0].message_id

    def missing(self) -> list[int]:
        """Numbers of patches that the subjects promise and that are not there."""
        have = {mail.counter for mail in self.patches}
        numbered = self.total is not None and self.total > 0
        return [n for n in range(1, (self.total or 0) + 1) if n not in have] if numbered else []


def groups(mails: Sequence[Mail]) -> list[Group]:
    """The series among the mails, in the order in which they begin. Patches are in the order of their
    numbers."""
    parents = {mail.message_id: mail.references for mail in mails if mail.message_id}
    ours = [mail for mail in mails if mail.is_cover or mail.is_patch]
    named = {reference for mail in ours for reference in mail.references}
    found: list[Group] = []
    for mail in ours:
        root = _root(mail, parents)
        loose = root == mail.message_id and root not in named
        group = next((g for g in found if _belongs(g, mail, root, loose)), None)
        if group is None:
            group = Group(mail.revision, root, mail.total, loose)
            found.append(group)
        if mail.is_cover:
            group.cover = mail
        else:
            group.patches.append(mail)
    for group in found:
        group.patches.sort(key=lambda mail: mail.counter or 0)
    return found


def same_family(one: Group, two: Group) -> bool:
    """Whether two groups are revisions of the same series."""
    if one.revision == two.revision:
        return False
    if one.root is not None and one.root == two.root:
        return True
    ids = [{value for mail in g.mails for value in mail.footers("change-id")} for g in (one, two)]
    return bool(ids[0] & ids[1]) or one.title == two.title


def holding(found: Iterable[Group], message_id: str, mails: Sequence[Mail]) -> Group | None:
    """The series that a message-id belongs to: of a patch, a cover letter, or an answer to one."""
    mail = next((m for m in mails if m.message_id == message_id), None)
    if mail is None:
        return None
    for wanted in (message_id, *reversed(mail.references)):
        for group in found:
            if any(m.message_id == wanted for m in group.mails):
                return group
    return None


def before(found: Iterable[Group], own: Group) -> Group | None:
    """The revision before ``own`` among the series found, as far as its patches are there."""
    older = [g for g in found if g.patches and g.revision < own.revision and same_family(g, own)]
    return max(older, key=lambda group: group.revision, default=None)


def choose(found: Sequence[Group], name: str, how_to_pick: str) -> tuple[Group, list[str]]:
    """The series that a file is about, and notes on what was left: the latest revision when there are
    several.

    :class:`UsageError` when there is none, or several that are not revisions of each other; ``how_to_pick``
    is its hint then.
    """
    full = [group for group in found if group.patches]
    if not full:
        if found:
            raise UsageError(
                f"{name} holds the cover letter '{found[0].title}' but no patch", hint="save the whole thread"
            )
        raise UsageError(f"{name} holds no patch", hint="name an mbox, a maildir or a patch file with the patches")
    best = max(full, key=lambda group: group.revision)
    others = [group for group in full if group is not best and not same_family(best, group)]
    if others:
        named = "; ".join(f"'{g.title}' <{g.message_id or 'no message-id'}>" for g in (best, *others)[:5])
        raise UsageError(
            f"{name} holds {len(others) + 1} series: {named}",
            hint=f"say which one: {how_to_pick}",
        )
    notes = []
    if len(full) > 1:
        revisions = ", ".join(f"v{number}" for number in sorted({group.revision for group in full}))
        notes.append(f"{name} holds {revisions}: v{best.revision} was taken")
    return best, notes


def _root(mail: Mail, parents: dict[str, tuple[str, ...]]) -> str | None:
    """The oldest ancestor of a mail that is at hand, or itself; None without message-ids."""
    seen: set[str] = set()
    current = mail.message_id
    while current is not None and current not in seen:
        seen.add(current)
        older = next((r for r in parents.get(current, ()) if r in parents and r not in seen), None)
        if older is None:
            return current
        current = older
    return current


def _belongs(group: Group, mail: Mail, root: str | None, loose: bool) -> bool:
    """Whether a mail is part of a group, by its thread or, where there is none, by its number."""
    if (group.revision, group.total) != (mail.revision, mail.total):
        return False
    if mail.counter is None:
        # Unnumbered patches without message-ids are taken as git am takes them: all, in the file's order.
        return root is None and group.root is None
    if mail.counter in {m.counter for m in group.mails}:
        return False
    return (loose and group.loose) or (root is not None and root == group.root)
