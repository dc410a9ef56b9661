# SPDX-License-Identifier: GPL-2.0-only
"""Debian's order of versions, and what apt's programs print."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

TARGET_FIELDS = ("REPO_URI", "ORIGIN", "LABEL", "COMPONENT")
"""What ``choose_mirror`` wants of each of ``apt-get indextargets``'s lines, separated by tabs."""

_SUITES = ("bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable")


@dataclass(frozen=True)
class Package:
    """One binary package in one version; ``file`` is its name as apt downloads it."""

    name: str
    version: str
    arch: str

    @property
    def file(self) -> str:
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.arch}.deb"


def version_key(version: str) -> tuple[tuple[int | tuple[int, ...], ...], ...]:
    """A sort key in Debian's order (deb-version(7)): ``~`` before the end, letters before other signs."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, _, revision = rest.rpartition("-") if "-" in rest else (rest, "", "0")
    return ((int(epoch) if epoch.isdigit() else 0,), _part_key(upstream), _part_key(revision))


def _part_key(text: str) -> tuple[int | tuple[int, ...], ...]:
    key: list[int | tuple[int, ...]] = []
    for letters, digits in re.findall(r"(\D*)(\d*)", text):
        if letters or digits:
            orders = [-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in letters]
            key += [(*orders, 0), int(digits or 0)]
    return (*key, (0,))


def newest_first(versions: Iterable[str]) -> list[str]:
    """Each version once, the newest first."""
    return sorted(set(versions), key=version_key, reverse=True)


def parse_madison(text: str) -> list[tuple[str, str, bool]]:
    """``apt-cache madison`` output as (package, version, is it a source package)."""
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    return [(row[0], row[1], row[2].endswith(" Sources")) for row in rows if len(row) == 3]


def parse_uris(text: str) -> list[Package]:
    """The packages that ``apt-get --print-uris install`` would fetch, by name.

    A line is ``'URI' name_version_arch.deb size hash``; the colon of an epoch is ``%3a`` in the file's name.
    """
    found = re.findall(r"^'[^']*' ([^\s_]+)_([^\s_]+)_(\w+)\.deb \d+ ", text, re.MULTILINE)
    packages = (Package(name, version.replace("%3a", ":"), arch) for name, version, arch in found)
    return sorted(packages, key=lambda package: package.name)


def choose_mirror(targets: str) -> str | None:
    """The URI of the Debian main archive among ``apt-get indextargets`` lines (``TARGET_FIELDS``, by tabs).

    The security archive and everybody else's do not carry our suites.
    """
    for line in targets.splitlines():
        uri, *origin = line.split("\t")
        if origin == ["Debian", "Debian", "main"]:
            return uri
    return None


def choose_mirror_by_suite(uris: str) -> str | None:
    """The same from ``apt-get update --print-uris``, which also answers before the system's first update.

    Nothing tells origins there: the first archive whose component "main" has a suite of one of Debian's names.
    """
    for uri, suite in re.findall(r"^'(\S+?)dists/([^/\s]+)/main/binary-", uris, re.MULTILINE):
        if suite.removesuffix("-updates").removesuffix("-backports") in _SUITES:
            return str(uri)
    return None
