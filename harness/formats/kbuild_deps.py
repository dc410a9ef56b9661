# SPDX-License-Identifier: GPL-2.0-only
"""What Kbuild knows about who was made from what: ``.cmd`` and ``.mod`` files. Pure.

A ``.cmd`` file stands beside each thing that was made and names every file that was read for it
(``scripts/basic/fixdep``), those of the source below the folder where make found it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

DRIVER = ""
"""In an index: everything that was made from the file is part of the driver."""


@dataclass(frozen=True)
class Reach:
    """What a change reaches. ``driver``: its files that the driver is made from. ``doubt``: why more than the driver
    has to be built; empty when nothing but the driver, or nothing at all, is reached."""

    driver: tuple[str, ...] = ()
    doubt: str = ""


def target_of(cmd_file: str) -> str:
    """``drivers/x/.y.o.cmd`` tells about ``drivers/x/y.o``."""
    path = PurePosixPath(cmd_file)
    return str(path.with_name(path.name.removeprefix(".").removesuffix(".cmd")))


def sources_of(text: bytes, root: str) -> set[str]:
    """The files of the source, relative to it, that a ``.cmd`` file names as read; ``..`` is resolved."""
    pattern = re.compile(rb"^(?:  |source_\S+ := )" + re.escape(root.encode()) + rb"/(\S+)(?: \\)?$", re.MULTILINE)
    found = {path.decode(errors="replace") for path in pattern.findall(text)}
    return {posixpath.normpath(path) if "./" in path else path for path in found}


def objects_of(mod: str) -> frozenset[str]:
    """The objects that a ``.mod`` file lists as a module's."""
    return frozenset(line.strip().removeprefix("./") for line in mod.splitlines() if line.strip())


def index(cmd_files: Iterable[tuple[str, bytes]], driver: frozenset[str], root: str) -> dict[str, str]:
    """Each file of the source that was read, with something it was made into that is not part of the driver (of several
    the first object by name), or :data:`DRIVER`. ``cmd_files`` are paths relative to the build folder, and contents."""
    reached: dict[str, str] = {}
    for name, text in cmd_files:
        target = target_of(name)
        ours = target in driver
        for path in sources_of(text, root):
            known = reached.get(path, DRIVER)
            if ours:
                reached.setdefault(path, DRIVER)
            elif known == DRIVER or _rank(target) < _rank(known):
                reached[path] = target
    return reached


def _rank(target: str) -> tuple[bool, str]:
    return not target.endswith(".o"), target


def reach(changed: Mapping[str, bool], known: Mapping[str, str], own_makefile: str) -> Reach:
    """What the ``changed`` files reach; the value says whether the source has the file, too. ``known`` is the
    :func:`index` of a build of the source. ``own_makefile`` is the driver's: what came of its change shows
    afterwards."""
    driver = []
    for path, in_source in sorted(changed.items()):
        target = known.get(path)
        if target == DRIVER or path == own_makefile:
            driver.append(path)
        elif target is not None:
            return Reach(doubt=f"{path} reaches {target}")
        elif not in_source and path.endswith(".h"):
            driver.append(path)  # only what changed can include it, unless it shadows another: see seed.shadows()
        elif not in_source and path.endswith(".c") and path.startswith(f"{PurePosixPath(own_makefile).parent}/"):
            driver.append(path)  # only a Makefile can name it
        else:
            return Reach(doubt=f"no dependency file names {path}")
    return Reach(tuple(driver))


def with_debug_info(cmd: str, target: str, into: str) -> str:
    """The command of a ``.cmd`` file, for a shell, changed to make ``target`` with debug info as ``into``. ValueError:
    it does not compile the target.

    ``$(pound)`` and ``$$`` are how make keeps ``#`` and ``$`` (scripts/Kbuild.include, make-cmd).
    """
    found = re.match(rf"savedcmd_{re.escape(target)} := (.+)$", cmd, re.MULTILINE)
    if found is None:
        raise ValueError(f"no command makes {target}")
    command = found[1].replace("$(pound)", "#").replace("$$", "$")
    command = re.sub(r"(?<!\S)-Wp,-MMD,\S+", f"-Wp,-MMD,{into}.d", command)
    command = re.sub(rf"(?<!\S){re.escape(target)}(?!\S)", into, command)  # objtool takes it, too
    command, count = re.subn(rf"(?<!\S)-c -o {re.escape(into)}(?!\S)", f"-g -c -o {into}", command)
    if count != 1:
        raise ValueError(f"what makes {target} is no compiler")
    return command


def members_of(archive: bytes) -> list[str]:
    """The paths that a thin archive names (built-in.a, lib.a): objects, those of nested archives too. ValueError: it is
    none."""
    if archive == _EMPTY:
        return []
    if not archive.startswith(_THIN):
        raise ValueError("not a thin archive")
    at, names = len(_THIN), b""
    while at + 60 <= len(archive):  # a member: its header, of a thin archive the tables' contents only
        name, size = archive[at : at + 16].rstrip(), int(archive[at + 48 : at + 58])
        at += 60
        if name == b"//":
            names = archive[at : at + size]
        if name in (b"/", b"//", b"/SYM64/"):
            at += size + size % 2
    return [name.decode(errors="replace") for name in names.split(b"/\n") if name.strip(b"\n")]


_THIN = b"!<thin>\n"
_EMPTY = b"!<arch>\n"
