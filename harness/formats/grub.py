# SPDX-License-Identifier: GPL-2.0-only
"""custom.cfg, which GRUB reads beside what grub-mkconfig made: our kernels have their entries there, between two marks.

What a person wrote there stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

BEGIN, END = "# xdna-harness begins here", "# xdna-harness ends here"
_BLOCK = re.compile(rf"^{BEGIN}\n.*?^{END}\n", re.M | re.S)
_ENTRY = re.compile(r"^menuentry .*?--id (?P<id>\S+) \{\n(?P<body>.*?)^\}\n", re.M | re.S)


@dataclass(frozen=True)
class Entry:
    """``image`` and ``initrd`` as the machine knows them, ``mount`` where the file system with them is mounted and
    ``uuid`` its name."""

    release: str
    line: str
    image: str
    initrd: str = ""
    mount: str = "/"
    uuid: str = ""

    @property
    def id(self) -> str:
        return f"xdna-{self.release}"

    def text(self) -> str:
        """Hidden from whom the words of a kernel's command line would mean something to GRUB."""
        words = " ".join(_quoted(word) for word in self.line.split())
        lines = [f"menuentry '{self.id}' --unrestricted --id {self.id} {{"]
        if self.uuid:
            lines.append(f"  search --no-floppy --fs-uuid --set=root {self.uuid}")
        lines.append(f"  linux {self._path(self.image)} {words}")
        if self.initrd:
            lines.append(f"  initrd {self._path(self.initrd)}")
        return "\n".join([*lines, "}", ""])

    def _path(self, path: str) -> str:
        """What GRUB calls it: from the top of its file system."""
        return "/" + path.removeprefix(self.mount.rstrip("/")).lstrip("/")


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w./:,=@%+-]+", word) else "'" + word.replace("'", "'\\''") + "'"


def with_entries(custom: str, entries: Iterable[Entry]) -> str:
    """custom.cfg with these entries of ours and no others; nothing of ours is left without any."""
    rest = _BLOCK.sub("", custom)
    texts = [entry.text() for entry in entries]
    if not texts:
        return rest
    gap = "" if not rest or rest.endswith("\n") else "\n"
    return f"{rest}{gap}{BEGIN}\n{''.join(texts)}{END}\n"


def entry_ids(custom: str) -> tuple[str, ...]:
    """The entries of ours in it."""
    block = _BLOCK.search(custom)
    return tuple(match["id"] for match in _ENTRY.finditer(block[0])) if block else ()


def next_entry(environment: str) -> str:
    """What ``grub-editenv list`` says will be booted once; empty: nothing."""
    found = re.search(r"^next_entry=(.*)$", environment, re.M)
    return found[1].strip() if found else ""
