# SPDX-License-Identifier: GPL-2.0-only
"""The folder that make writes to. Its content is a stranger's: links are not followed, only plain files are
read."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.errors import InfraError
from harness.host import proc
from harness.model.tree import Tree

COPY_SECONDS = 600.0


def copy(seed: Path, build: Path) -> None:
    """A copy with all times and owners, so that make sees nothing new in it; shares blocks where the disk
    can."""
    proc.run(["cp", "-a", "--reflink=auto", "--", seed, build], what=f"copying {seed}", timeout=COPY_SECONDS)


def fresh_copies(tree: Tree, names: Iterable[str], into: Path) -> Iterator[tuple[Path, str]]:
    """Copy those of ``names`` that the tree has to ``into``; yields (copy, name). The copies are new: make
    takes them for changed, while the tree's own files, hard links to the pristine source, stay as old as they
    are."""
    for name in sorted(names):
        source = tree.file(name)
        if source.is_symlink() or not source.is_file():
            continue
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        target.chmod(0o755 if source.stat().st_mode & stat.S_IXUSR else 0o644)
        yield target, name


def is_from_the_future(record: Path) -> bool:
    """Whether what was written when a build was done is from a time that is still to come: the clock was put back, and
    no :func:`fresh_copies` would be newer than that build's objects. OSError: it is not there."""
    return record.stat().st_mtime > time.time()


def output(build: Path, name: str) -> Path:
    """A file that make has made. A link, a pipe, a missing file or one elsewhere is an :class:`InfraError`: the build
    lied."""
    path = build / name
    at = build
    for part in Path(name).parts:
        at /= part
        if part in ("/", ".."):
            raise InfraError(f"the build names a file outside of its folder: {name}", hint="look at its Makefiles")
        if at.is_symlink():
            raise InfraError(f"the build left a link where a file should be: {name}", hint="look at its Makefiles")
    if not path.is_file():
        raise InfraError(f"the build said it was done, but there is no {name}", hint="look at its log")
    return path


def content(build: Path, name: str, most: int = 256 << 20) -> bytes:
    """What is in an :func:`output`; one of more than ``most`` bytes is none of a build's. (A sparse file takes no room
    on the disk, and all of it in memory.)"""
    return _read(output(build, name), name, most)


def text_of(build: Path, name: str) -> str:
    """The same of a small text: a list, a release, a configuration."""
    return content(build, name, 64 << 20).decode(errors="replace")


def _read(path: Path, name: str, most: int) -> bytes:
    with path.open("rb") as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise InfraError(f"the build left more than {most >> 20} MiB in {name}", hint="look at its Makefiles")
    return data


def drop(build: Path, names: Iterable[str]) -> None:
    """Remove files, missing ones too."""
    for name in names:
        (build / name).unlink(missing_ok=True)


def dependency_files(build: Path) -> Iterator[bytes]:
    """The content of each ``.cmd`` file: the command that made a file, and all that it read."""
    return (text for _, text in named_dependency_files(build))


def named_dependency_files(build: Path) -> Iterator[tuple[str, bytes]]:
    """The same with their paths, relative to the build folder."""
    for place, _, files in os.walk(build):
        for name in files:
            path = Path(place, name)
            if name.endswith(".cmd") and not path.is_symlink() and path.is_file():
                named = str(path.relative_to(build))
                yield named, _read(path, named, 16 << 20)


def read_log(path: Path, limit: int = 64 << 20) -> str:
    """What make wrote, but not more than this: a Makefile may write without end."""
    with path.open("rb") as stream:
        return stream.read(limit).decode(errors="replace")


def copy_log(path: Path, target: Path) -> None:
    """All that make wrote, without holding it in memory."""
    shutil.copyfile(path, target)
