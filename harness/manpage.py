# SPDX-License-Identifier: GPL-2.0-only
"""xdna-harness(1), made from the parser: a verb that is added is in it. Pure; the macros are those of man(7)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Set
from datetime import date
from typing import Any

STATUS = (
    ("0", "GOOD: nothing got worse"),
    ("1", "BAD, or the author of the series must act"),
    ("2", "you must act: a wrong argument, a wrong base"),
    ("3", "UNKNOWN, or the lab failed"),
    ("70", "a bug of xdna-harness"),
)
ENVIRONMENT = (
    ("NO_COLOR", "if it is set, nothing is coloured"),
    ("XDG_CACHE_HOME", "where the cache is (~/.cache): kernels, sources, saved guests; all of it can be deleted"),
    ("XDG_STATE_HOME", "where lasting things are (~/.local/state): the history of the nights"),
    ("XDNA_HARNESS_MIRROR", "URI of the Debian mirror to use, if not the one of the system's apt"),
)


def render(info: Mapping[str, Any], version: str, day: date) -> str:
    """The page. ``info`` is what click's Context.to_info_dict() says of the program."""
    top = info["command"]
    lines = [
        f'.TH XDNA-HARNESS 1 "{day}" "xdna-harness {version}" "User Commands"',
        ".SH NAME",
        "xdna-harness \\- tests kernel patch series for the AMD NPU driver",
        ".SH SYNOPSIS",
        ".B xdna-harness",
        ".I VERB",
        "[\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        *_text(top["help"]),
        ".SH OPTIONS",
        "Every verb takes these, too.",
    ]
    for option in top["params"]:
        lines += _option(option)
    shared = {flag for option in top["params"] for flag in option["opts"]}
    lines.append(".SH VERBS")
    for name, command in sorted(top["commands"].items()):
        if not command["hidden"]:
            lines += _verb(name, command, shared)
    lines += [".SH EXIT STATUS", *_list(STATUS), ".SH ENVIRONMENT", *_list(ENVIRONMENT)]
    return "\n".join(lines) + "\n"


def _verb(name: str, command: Mapping[str, Any], shared: Set[str]) -> Iterator[str]:
    arguments = [p for p in command["params"] if p["param_type_name"] == "argument"]
    options = [p for p in command["params"] if p["param_type_name"] == "option" and not p["hidden"]]
    words = [_argument(p) for p in arguments]
    yield f'.SS "{name}"'
    yield f"\\fBxdna\\-harness {_escaped(name)}\\fR [\\fIOPTIONS\\fR] {' '.join(words)}".rstrip()
    yield ".PP"
    yield from _text(command["help"] or "")
    for option in options:
        if not shared & set(option["opts"]):
            yield from _option(option)


def _option(option: Mapping[str, Any]) -> Iterator[str]:
    flags = ", ".join(f"\\fB{_escaped(flag)}\\fR" for flag in (*option["opts"], *option["secondary_opts"]))
    yield ".TP"
    yield flags + ("" if option["is_flag"] else f" \\fI{_escaped(_value(option))}\\fR")
    yield from _text(option["help"] or "")


def _argument(argument: Mapping[str, Any]) -> str:
    name = _escaped((argument.get("metavar") or argument["name"].upper()).strip("[]").removesuffix("..."))
    more = " ..." if argument["nargs"] != 1 else ""
    return f"\\fI{name}\\fR{more}" if argument["required"] else f"[\\fI{name}\\fR{more}]"


def _value(option: Mapping[str, Any]) -> str:
    kind = option["type"]
    if "choices" in kind:
        return "|".join(map(str, kind["choices"]))
    return str(option.get("metavar") or kind["name"].upper().replace(" RANGE", ""))


def _list(rows: tuple[tuple[str, str], ...]) -> Iterator[str]:
    for name, text in rows:
        yield ".TP"
        yield f"\\fB{_escaped(name)}\\fR"
        yield from _text(text)


def _text(text: str) -> Iterator[str]:
    """Paragraphs of plain text; a line must not begin as a request does."""
    for place, paragraph in enumerate(filter(None, re.split(r"\n\s*\n", text.strip()))):
        if place:
            yield ".PP"
        for line in textwrap.wrap(" ".join(paragraph.split()), 72, break_on_hyphens=False):
            said = _escaped(line)
            yield f"\\&{said}" if said.startswith((".", "'")) else said


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")
