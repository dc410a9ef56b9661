# SPDX-License-Identifier: GPL-2.0-only
"""Reads patch mails: an mbox, one mail, or a bare diff. Pure, and everything read is hostile.

Formats: mbox as git-mailsplit(1) takes it, mails as git-format-patch(1) and mailing lists make them,
footers as ``git format-patch --base`` and ``b4 prep`` write them. The diff itself is left to git mailinfo.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from email.errors import HeaderParseError, MessageError
from email.header import decode_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32

from harness.errors import UsageError

MAX_HEADERS = 256 * 1024
MAX_MAIL = 32 * 1024 * 1024
MAX_DECODED = 4096
"""Longer headers stay as they are: decode_header() takes the square of their length. No subject is a page long."""

_HEADER = re.compile(rb"(?:>?From |[!-9;-~]+:)")
_FROM = re.compile(rb">*From \S")
_FROM_LINE = re.compile(rb"^>*From \S.*$", re.MULTILINE)
_TIME = re.compile(rb"\b\d{1,2}:\d\d\b")
_YEAR = re.compile(rb"\b\d{4}$")
_DIFF = re.compile(r"^(?:diff --git \S|--- \S[^\n]*\n\+\+\+ \S|Index: \S)", re.MULTILINE)
_REPLY = re.compile(r"\s*(?:re|aw|fwd?)\s*:\s*", re.IGNORECASE)
_BRACKET = re.compile(r"\s*\[([^\]]{0,200})\]\s*")
_TRAILER = re.compile(
    r"([A-Z][A-Za-z]*(?:-[A-Za-z]+)*-(?:by|to)|Link|Fixes|Closes|Cc|Message-I[Dd]|BugLink|Bug)"
    r"[ \t]*:[ \t]*(\S.*)$"
)
_FOOTER = re.compile(r"^(base-commit|change-id|prerequisite-patch-id):[ \t]*(\S+)[ \t]*$", re.MULTILINE)
_MESSAGE_ID = re.compile(r"<([^<>\s]{3,900})>")


@dataclass(frozen=True)
class Mail:
    """One mail, its texts decoded and on one line each where they are headers.

    ``title`` is the subject without ``Re:`` and ``[...]``. ``revision``, ``counter`` and ``total`` come
    from the prefix ([PATCH v2 3/5] gives 2, 3, 5; [PATCH] gives 1, None, None); ``prefixed`` says whether
    there was one at all. ``references`` are the message-ids it answers to, oldest
    first, that of In-Reply-To last. ``raw`` is the mail as it came, without the mbox line.
    """

    raw: bytes
    subject: str
    title: str
    author: str
    message_id: str | None
    references: tuple[str, ...]
    body: str
    reply: bool
    prefixed: bool
    revision: int = 1
    counter: int | None = None
    total: int | None = None

    @property
    def is_cover(self) -> bool:
        return self.counter == 0 and not self.reply

    @property
    def is_patch(self) -> bool:
        """Whether it carries a diff and is not an answer or a cover letter that quotes one."""
        return not self.reply and self.counter != 0 and _DIFF.search(self.body) is not None

    @property
    def trailers(self) -> tuple[str, ...]:
        """Trailers of the commit message, such as "Reviewed-by: A <a@b>", in order."""
        return tuple(
            f"{match.group(1)}: {match.group(2).strip()}"
            for line in _message_part(self.body).splitlines()
            if (match := _TRAILER.match(line))
        )

    def footers(self, name: str) -> tuple[str, ...]:
        """Values of ``base-commit``, ``change-id`` or ``prerequisite-patch-id`` lines."""
        return tuple(value for key, value in _FOOTER.findall(self.body) if key == name)


def has_headers(data: bytes) -> bool:
    """Whether ``data`` begins as a mail does; a bare diff, or a diff under free text, does not."""
    first = data.lstrip(b"\r\n").split(b"\n", 1)[0]
    return _HEADER.match(first) is not None and not first.startswith(b"Index: ")


def unix_lines(data: bytes) -> bytes:
    """``data`` with newlines for line ends when its first line has a carriage return; a mail in newlines
    may carry a diff of a file that has them."""
    return data.replace(b"\r\n", b"\n") if data.split(b"\n", 1)[0].endswith(b"\r") else data


def read_mails(data: bytes, name: str) -> list[Mail]:
    """The mails of an mbox, or the one mail or bare diff that ``data`` is. ``name`` stands in messages.

    :class:`UsageError` when there is nothing in it that could be a patch.
    """
    if not data.strip():
        raise UsageError(f"{name} is empty", hint="name an mbox, a maildir, a patch file or a message-id")
    data = unix_lines(data)
    if data.lstrip(b"\n").startswith(b"From "):
        return [read_mail(part, name) for part in split_mbox(data)]
    if has_headers(data):
        return [read_mail(data, name)]
    text = data.decode("utf-8", "replace")
    if not _DIFF.search(text):
        raise UsageError(f"{name} holds neither mails nor a diff", hint="name an mbox, a maildir or a patch file")
    short = name.rsplit("/", 1)[-1]
    return [Mail(data, short, short, "unknown", None, (), text, reply=False, prefixed=False)]


def split_mbox(data: bytes) -> list[bytes]:
    """The mails of an mbox without their ``From`` lines.

    A ``From`` line counts when it ends in a date and a header follows; so a commit message may hold one
    that does not. ``>From`` lines of that form lose their ``>``.
    """
    lines = re.findall(rb"[^\n]*\n|[^\n]+$", data)
    starts = [
        n
        for n, line in enumerate(lines)
        if line.startswith(b"From ") and _is_dated(line) and n + 1 < len(lines) and _HEADER.match(lines[n + 1])
    ]
    if not starts:
        return [b"".join(lines[1:])] if lines and lines[0].startswith(b"From ") else [b"".join(lines)]
    parts = (b"".join(lines[a + 1 : b]) for a, b in zip(starts, [*starts[1:], len(lines)], strict=True))
    return [_FROM_LINE.sub(_bared, part) for part in parts]


def join_mbox(mails: Iterable[bytes]) -> bytes:
    """An mbox that ``git am`` and :func:`split_mbox` take apart again into the same mails."""
    out = []
    for mail in mails:
        body = _FROM_LINE.sub(_escaped, unix_lines(mail))
        out.append(b"From " + b"0" * 40 + b" Mon Sep 17 00:00:00 2001\n" + body.rstrip(b"\n") + b"\n\n")
    return b"".join(out)


def _is_dated(line: bytes) -> bool:
    """Whether a line is ``From``, a word, and a date: a time and, last, a year. Each is looked for by itself: one
    pattern for all takes the square of the line's length, and a line may be the whole mail."""
    line = line.rstrip()
    begin, year = _FROM.match(line), _YEAR.search(line, max(0, len(line) - 5))
    return begin is not None and year is not None and _TIME.search(line, begin.end(), year.start()) is not None


def _bared(match: re.Match[bytes]) -> bytes:
    line: bytes = match.group()
    return line[1:] if line.startswith(b">") and _is_dated(line) else line


def _escaped(match: re.Match[bytes]) -> bytes:
    line: bytes = match.group()
    return b">" + line if _is_dated(line) else line


def read_mail(raw: bytes, name: str) -> Mail:
    """One mail. :class:`UsageError` when it is of a size or shape that no mailer makes."""
    raw = unix_lines(raw)
    if raw.startswith(b"From "):
        raw = raw.split(b"\n", 1)[-1]
    if len(raw) > MAX_MAIL:
        raise UsageError(f"{name}: a mail is larger than {MAX_MAIL >> 20} MiB", hint="no patch is that large")
    head = re.split(rb"\n\n", raw, maxsplit=1)[0]
    if len(head) > MAX_HEADERS:
        raise UsageError(
            f"{name}: a mail's headers are larger than {MAX_HEADERS >> 10} KiB", hint="this is no patch mail"
        )
    try:
        message = BytesParser(policy=compat32).parsebytes(raw)
        body = _body(message)
    except (MessageError, RecursionError, ValueError, LookupError) as error:
        raise UsageError(f"{name}: a mail cannot be read: {error}", hint="save it again as an mbox") from error
    return _mail(raw, message, body)


def _mail(raw: bytes, message: Message, body: str) -> Mail:
    subject = _text(message, "Subject") or "(no subject)"
    rest, reply = subject, False
    if match := _REPLY.match(rest):
        rest, reply = rest[match.end() :], True
    prefix, title = _prefix(rest)
    revision, counter, total = _numbers(prefix)
    own = _MESSAGE_ID.search(_text(message, "Message-ID"))
    parents = dict.fromkeys(_MESSAGE_ID.findall(_text(message, "In-Reply-To")))
    older = [each for each in _MESSAGE_ID.findall(_text(message, "References")) if each not in parents]
    author = _text(message, "From") or "unknown"
    if match := re.match(r"\s*From: ([^\n]{3,300})\n", body):
        author = " ".join(match.group(1).split())
    return Mail(
        raw,
        subject,
        title or subject,
        author,
        own.group(1) if own else None,
        tuple(dict.fromkeys([*older, *parents])),
        body,
        reply,
        bool(prefix),
        revision,
        counter,
        total,
    )


def _prefix(subject: str) -> tuple[str, str]:
    """("PATCH v2 3/5", title). Brackets that say nothing of a patch belong to the title."""
    words, rest = [], subject
    while match := _BRACKET.match(rest):
        words.append(match.group(1))
        rest = rest[match.end() :]
    prefix = " ".join(words)
    if re.search(r"\b(?:PATCH|RFC)", prefix, re.IGNORECASE) or re.search(r"\b\d+/\d+\b", prefix):
        return prefix, rest
    return "", subject


def _numbers(prefix: str) -> tuple[int, int | None, int | None]:
    revision = re.search(r"(?:^|[\s,]|PATCH|RFC)v(\d{1,4})\b", prefix, re.IGNORECASE)
    counts = re.search(r"\b(\d{1,4})/(\d{1,4})\b", prefix)
    return (
        int(revision.group(1)) if revision else 1,
        int(counts.group(1)) if counts else None,
        int(counts.group(2)) if counts else None,
    )


def _text(message: Message, name: str) -> str:
    """A header, decoded, on one line."""
    value = message.get(name)
    if value is None:
        return ""
    text = str(value)
    if len(text) <= MAX_DECODED:
        with suppress(HeaderParseError, ValueError):
            text = "".join(_decoded(part, charset) for part, charset in decode_header(value))
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


_SLOW = ("punycode", "idna")
"""Of host names; no mail is in them, and their decoders take the square of a text's length."""


def _decoded(data: bytes | str, charset: str | None) -> str:
    """Bytes as text, by the charset that a mail names: a stranger's word, and some codecs refuse what they are told to
    replace (idna, punycode, undefined)."""
    if isinstance(data, str):
        return data
    if (charset or "").lower().replace("_", "-") in _SLOW:
        charset = "utf-8"
    try:
        return data.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):
        return data.decode("utf-8", "replace")


def _body(message: Message) -> str:
    """The text of a mail: its text parts one after the other, with newlines as line ends."""
    texts = []
    for part in message.walk():
        if part.is_multipart() or part.get_content_maintype() != "text":
            continue
        payload = part.get_payload(decode=True)
        if not isinstance(payload, bytes):
            continue
        texts.append(_decoded(payload, part.get_content_charset()))
    return "\n".join(texts).replace("\r\n", "\n")


def _message_part(body: str) -> str:
    """What becomes the commit message: all before the diffstat's or the diff's first line."""
    return re.split(r"^(?:---\s*$|diff --git |--- a/|Index: )", body, maxsplit=1, flags=re.MULTILINE)[0]
