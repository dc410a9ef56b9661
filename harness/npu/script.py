# SPDX-License-Identifier: GPL-2.0-only
"""Rules that make the device misbehave: decided by the test, while the guest runs.

A rule names what it applies to, which of the matching occurrences, and what happens instead of a normal
answer:

    {"opcode": 0x115 | "ADD_HOST_BUFFER", "channel": "mgmt" | "ctx0", "context": 3,      mailbox messages
     "psp": 1 | "VALIDATE"}  {"smu": 8 | "SET_HARD_DPM"}  {"boot": "dead"}                the rest of the
     device "skip": 0, "count": 1 | null                  the skip-th to the (skip+count-1)-th occurrence,
     from 0; null: all "status": int, "delay": seconds, "malform": kind, "drop": true

Every rule counts the occurrences it matches from when it was set, on its own; the first rule that applies
is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.npu.codes import Opcode, PspCommand, SmuCommand

MALFORMS = ("size", "short", "id", "magic", "truncated", "zero", "tail", "tombstone", "garbage")
"""Kinds of malformed answers: messages.py, Message.garbage(); all others mailbox.py, Channel.answer()."""
BOOTS = ("dead",)
_KEYS = frozenset(
    {
        "opcode",
        "psp",
        "smu",
        "boot",
        "channel",
        "context",
        "skip",
        "count",
        "status",
        "delay",
        "malform",
        "drop",
    }
)
_ANSWER_KEYS = frozenset({"status", "delay", "malform", "drop"})


class BadRule(ValueError):
    """A rule that cannot be meant; the text says why."""


@dataclass(frozen=True)
class Occurrence:
    """Something that a rule may match: ``kind`` is opcode, psp, smu or boot, ``number`` which one."""

    kind: str
    number: int | str
    channel: str | None = None
    context: int | None = None


@dataclass
class Rule:
    """One rule; ``seen`` counts matching occurrences."""

    kind: str
    number: int | str
    channel: str | None = None
    context: int | None = None
    skip: int = 0
    count: int | None = 1
    status: int | None = None
    delay: float | None = None
    malform: str | None = None
    drop: bool = False
    seen: int = 0

    def matches(self, what: Occurrence) -> bool:
        """Whether this rule is about ``what``; counting is :meth:`applies`."""
        return (
            self.kind == what.kind
            and self.number == what.number
            and self.channel in (None, what.channel)
            and self.context in (None, what.context)
        )

    def applies(self) -> bool:
        """Count one matching occurrence, and say whether it is one that was meant."""
        at = self.seen
        self.seen += 1
        return at >= self.skip and (self.count is None or at < self.skip + self.count)


class Script:
    """The rules in force."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []

    def set(self, rules: list[Rule], append: bool = False) -> None:
        """Replace all rules, or add to them."""
        self.rules = [*self.rules, *rules] if append else list(rules)

    def find(self, what: Occurrence) -> Rule | None:
        """The rule for this occurrence, if any. Counts it in every rule that matches."""
        found: Rule | None = None
        for rule in self.rules:
            if rule.matches(what) and rule.applies() and found is None:
                found = rule
        return found


def parse_rule(raw: object) -> Rule:
    """A rule from JSON. Raises BadRule."""
    if not isinstance(raw, dict):
        raise BadRule(f"a rule is an object, not {type(raw).__name__}")
    unknown = raw.keys() - _KEYS
    if unknown:
        raise BadRule(f"a rule has no {', '.join(sorted(map(str, unknown)))}; it may have {', '.join(sorted(_KEYS))}")
    kinds = [key for key in ("opcode", "psp", "smu", "boot") if key in raw]
    if len(kinds) != 1:
        raise BadRule("a rule is about exactly one of opcode, psp, smu and boot")
    kind = kinds[0]
    if kind == "boot" and raw.keys() & _ANSWER_KEYS:
        raise BadRule("a boot rule says all in its value")
    if kind in ("psp", "smu") and raw.keys() & {"malform", "delay", "channel", "context"}:
        raise BadRule(f"a {kind} rule knows status and drop only")
    number = _number(kind, raw[kind])
    if kind != "boot" and not any(raw.get(key) not in (None, False) for key in _ANSWER_KEYS):
        raise BadRule("a rule must say what happens: status, delay, malform or drop")
    return Rule(
        kind,
        number,
        channel=_channel(raw.get("channel")),
        context=_integer(raw, "context"),
        skip=_integer(raw, "skip") or 0,
        count=_integer(raw, "count") if "count" in raw else 1,
        status=_integer(raw, "status"),
        delay=_delay(raw.get("delay")),
        malform=_malform(raw.get("malform")),
        drop=raw.get("drop") is True,
    )


def _number(kind: str, value: object) -> int | str:
    if kind == "boot":
        if value not in BOOTS:
            raise BadRule(f"boot is one of {', '.join(BOOTS)}, not {value!r}")
        return str(value)
    names = {"opcode": Opcode, "psp": PspCommand, "smu": SmuCommand}[kind].__members__
    if isinstance(value, str) and value in names:
        return int(names[value])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise BadRule(f"unknown {kind} {value!r}; known are {', '.join(sorted(names))}")


def _integer(raw: Mapping[str, Any], key: str) -> int | None:
    value = raw.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 32:
        raise BadRule(f"{key} is a number from 0 to 2^32 - 1, not {value!r}")
    return value


def _channel(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not (value == "mgmt" or (value[:3] == "ctx" and value[3:].isdigit())):
        raise BadRule(f"channel is mgmt, ctx0, ctx1 ..., not {value!r}")
    return value


def _delay(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 3600:
        raise BadRule(f"delay is a number of seconds up to 3600, not {value!r}")
    return float(value)


def _malform(value: object) -> str | None:
    if value is None:
        return None
    if value not in MALFORMS:
        raise BadRule(f"malform is one of {', '.join(MALFORMS)}, not {value!r}")
    return str(value)
