# SPDX-License-Identifier: GPL-2.0-only
"""What was answered to a series on its list, as far as mails tell. Pure.

A mail says who answers whom, what it quotes and which trailers it gives. Whether the next revision does what somebody
asked for no mail says: that is left to a person, and said to be.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from email.utils import parseaddr

from harness.formats.mail import Mail
from harness.model.revision import KEPT, Remark

_QUOTED = re.compile(r"^> ?\S", re.MULTILINE)


def remarks(mails: Sequence[Mail], series: Sequence[Mail], now: Collection[str], name: str) -> tuple[Remark, ...]:
    """The answers among ``mails`` to ``series`` (cover letter and patches of one revision) that others wrote, in order.
    ``now``: trailers of the next revision, which ``name`` calls. An answer to that one, which its author sent as an
    answer to ``series``, is none to ``series``."""
    authors = {_address(mail.author) for mail in series}
    ids = {mail.message_id for mail in series if mail.message_id}
    sent = ids | {mail.message_id for mail in mails if mail.message_id and (mail.is_cover or mail.is_patch)}
    replies = [mail for mail in mails if mail.reply and _about(mail, sent) in ids]
    found = []
    for mail in replies:
        if _address(mail.author) in authors:
            continue
        back = mail.message_id is not None and any(
            mail.message_id in other.references and _address(other.author) in authors for other in replies
        )
        given = tuple(t for t in mail.trailers if t.partition(":")[0] in KEPT)
        state = _state(mail, given, back, now, name)
        quoted = len(_QUOTED.findall(mail.body))
        found.append(Remark(mail.author, mail.subject, mail.message_id or "", given, quoted, back, state))
    return tuple(found)


def given(found: Sequence[Remark]) -> tuple[str, ...]:
    """All trailers that answers give."""
    return tuple(dict.fromkeys(trailer for remark in found for trailer in remark.trailers))


def _about(mail: Mail, sent: Collection[str]) -> str | None:
    """Of the patches and cover letters that were ``sent`` the one that a mail answers: the nearest above it."""
    return next((reference for reference in reversed(mail.references) if reference in sent), None)


def _state(mail: Mail, trailers: Sequence[str], back: bool, now: Collection[str], name: str) -> str:
    later = [t.partition(":")[0] for t in now if t.partition(":")[0] in KEPT and _address(mail.author) in t.lower()]
    if trailers:
        return f"gives {', '.join(t.partition(':')[0] for t in trailers)}"
    if later:
        return f"its author gave {', '.join(later)} on {name}"
    if back:
        return f"answered on the list; whether {name} does what it asks, no mail says"
    return f"not answered on the list; whether {name} does what it asks, no mail says"


def _address(author: str) -> str:
    try:
        return parseaddr(author)[1].lower() or author.lower()
    except RecursionError:  # brackets in brackets, a thousand times: a stranger wrote it
        return author.lower()
