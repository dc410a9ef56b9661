# SPDX-License-Identifier: GPL-2.0-only
"""Kernel configuration fragments: what is asked of a kernel, why, and whether it was granted.

A fragment is a list of ``CONFIG_NAME=value`` lines, and above each one a comment that says why. A comment
that begins with ``optional:`` marks a symbol that some kernel versions do not have::

    # the driver's trace points, events/amdxdna
    CONFIG_FTRACE=y
    # optional: 7.2 and later count shared pages with it
    CONFIG_SOMETHING=y
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.errors import UsageError

_LINE = re.compile(r'CONFIG_(?P<symbol>[A-Z0-9a-z_]+)=(?P<value>[ymn]|-?[0-9]+|0x[0-9a-fA-F]+|"[^"\\]*")')
_UNSET = re.compile(r"# CONFIG_(?P<symbol>[A-Z0-9a-z_]+) is not set")
_OPTIONAL = "optional:"


@dataclass(frozen=True)
class Setting:
    """One symbol that is asked for. ``symbol`` has no ``CONFIG_``; ``value`` is as in a .config, ``n`` for
    off; ``where`` is ``file:line``; ``optional`` means that a kernel without it will do."""

    symbol: str
    value: str
    reason: str
    where: str
    optional: bool = False


@dataclass(frozen=True)
class Mismatch:
    """A symbol that did not come out as asked; ``got`` is ``n`` when it is off, unmet or unknown."""

    setting: Setting
    got: str

    def __str__(self) -> str:
        return f"CONFIG_{self.setting.symbol}: asked {self.setting.value}, got {self.got}"


def parse_fragment(text: str, name: str) -> tuple[Setting, ...]:
    """The settings of one fragment, in its order. :class:`UsageError` names the file and line that is
    wrong."""
    settings: dict[str, Setting] = {}
    reason: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line, where = raw.strip(), f"{name}:{number}"
        if not line:
            reason = []
        elif line.startswith("#"):
            if _UNSET.fullmatch(line):
                raise UsageError(
                    f"{where}: '{line}' would be read as a comment",
                    hint="write CONFIG_NAME=n to switch it off",
                )
            reason.append(line.lstrip("# "))
        else:
            setting = _setting(line, where, " ".join(reason))
            if setting.symbol in settings:
                raise UsageError(f"{where}: CONFIG_{setting.symbol} is already set", hint="keep one of the two")
            settings[setting.symbol] = setting
            reason = []
    return tuple(settings.values())


def _setting(line: str, where: str, reason: str) -> Setting:
    match = _LINE.fullmatch(line)
    if match is None:
        raise UsageError(f"{where}: cannot read '{line}'", hint='write CONFIG_NAME= and y, m, n, a number or "text"')
    optional = reason.startswith(_OPTIONAL)
    reason = reason.removeprefix(_OPTIONAL).strip()
    if not reason:
        raise UsageError(
            f"{where}: no reason above CONFIG_{match['symbol']}",
            hint="say why it is asked for in a comment above it",
        )
    return Setting(match["symbol"], match["value"], reason, where, optional)


def merge(*fragments: Iterable[Setting]) -> tuple[Setting, ...]:
    """One list of settings; where two fragments ask for the same symbol, the later one is taken."""
    merged = {setting.symbol: setting for fragment in fragments for setting in fragment}
    return tuple(merged.values())


def render(settings: Iterable[Setting]) -> str:
    """The settings as ``KCONFIG_ALLCONFIG`` takes them, without reasons: these do not change the kernel."""
    return "".join(f"CONFIG_{setting.symbol}={setting.value}\n" for setting in settings)


def parse_config(text: str) -> Mapping[str, str]:
    """The symbols of a .config that are on, with their values."""
    found = (_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return {match["symbol"]: match["value"] for match in found if match}


def verify(settings: Iterable[Setting], config: str) -> tuple[Mismatch, ...]:
    """What is asked and did not come out in ``config``, the text of a .config. An optional symbol may be
    off."""
    granted = parse_config(config)
    mismatches = (Mismatch(setting, granted.get(setting.symbol, "n")) for setting in settings)
    return tuple(
        miss
        for miss in mismatches
        if miss.got != miss.setting.value and not (miss.setting.optional and miss.got == "n")
    )
