# SPDX-License-Identifier: GPL-2.0-only
"""Copies of a person's source folder in the store, so that edits made while we run change nothing.

What git would not look at (build products, by the tree's own .gitignore files, and .git itself) is left out. A
copy is named by its content. The next copy of the same folder hard-links what did not change from the last one,
so an edit-and-run loop costs a look at each file's time and size, not 1.5 GB.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfraError, UsageError
from harness.host import proc
from harness.host.git import clean_env
from harness.host.store import Store, key_of

LIST_SECONDS = 120.0


@dataclass(frozen=True)
class Seen:
    """A file as it was when it was copied. ``stamp`` (inode, size, both times in ns) changes when the file does."""

    stamp: tuple[int, ...]
    digest: str


def copy(path: Path, store: Store) -> tuple[str, Path]:
    """Copy the tree at ``path``; returns the hash of its content and the store's entry.

    Nothing is copied when nothing changed since the last time.
    """
    note = store.path("sources", f"dir-{key_of(path=str(path))}.json")
    with store.lock("sources", note.name):
        names = files_of(path)
        last_entry, last = _read(note, store)
        now = {name: _stamp(path / name) for name in names}
        if last and last_entry and now == {name: seen.stamp for name, seen in last.items()}:
            return last_entry.name, last_entry
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=note.parent) as scratch:
            try:
                copied = _Copier(path, Path(scratch), last_entry, last).run(names)
            except OSError as error:
                raise InfraError(
                    f"cannot copy {path}: {error}", hint="is the disk full, the folder readable?"
                ) from error
            digest = content_hash(copied)
            entry = store.get("sources", digest, lambda root: _move(Path(scratch), root))
        note.write_text(
            json.dumps({"entry": digest, "files": {n: [*s.stamp, s.digest] for n, s in copied.items()}})
        )
    return digest, entry


def content_hash(files: dict[str, Seen]) -> str:
    """16 hexadecimal digits over names and contents, whatever the order and the times."""
    return key_of(files={name: seen.digest for name, seen in files.items()})


def files_of(path: Path) -> list[str]:
    """The files below ``path`` that are source, sorted; relative names.

    Asked of git with an empty repository of our own: it knows .gitignore files, and the folder need not be a
    repository. (A kernel has no file that is tracked and ignored: ``make misc-check`` sees to that.)
    """
    with tempfile.TemporaryDirectory(prefix="xdna-git-") as empty:
        env = {**clean_env(path), "GIT_DIR": empty}
        proc.run(["git", "init", "--quiet", "--bare", empty], what="git init", timeout=LIST_SECONDS, env=env)
        argv = ["git", f"--git-dir={empty}", f"--work-tree={path}", "-c", "core.bare=false"]
        argv += ["ls-files", "-z", "--others", "--exclude-standard"]
        done = proc.run(argv, what=f"listing {path}", timeout=LIST_SECONDS, env=env, cwd=path)
    return sorted(name for name in done.stdout.split("\0") if name and not name.endswith("/"))


class _Copier:
    """One copy of one folder."""

    def __init__(self, path: Path, to: Path, last_entry: Path | None, last: dict[str, Seen]) -> None:
        self.path, self.to, self.last_entry, self.last = path, to, last_entry, last
        self._made: set[str] = set()

    def run(self, names: list[str]) -> dict[str, Seen]:
        return {name: self._file(name) for name in names}

    def _file(self, name: str) -> Seen:
        source, target = self.path / name, self.to / name
        parent = os.path.dirname(name)
        if parent not in self._made:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(parent)
        stamp = _stamp(source)
        before = self.last.get(name)
        if before and before.stamp == stamp and self.last_entry:
            os.link(self.last_entry / name, target, follow_symlinks=False)
            return before
        if source.is_symlink():
            link = os.readlink(source)
            target.symlink_to(link)
            return Seen(stamp, "link " + link)
        data = source.read_bytes()
        target.write_bytes(data)
        runs = bool(source.stat().st_mode & stat.S_IXUSR)
        target.chmod(0o555 if runs else 0o444)
        os.utime(target, ns=(stamp[2], stamp[2]))
        return Seen(stamp, f"{'x' if runs else '-'} {hashlib.sha256(data).hexdigest()}")


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.lstat()
    except OSError as error:
        raise UsageError(f"{path} changed while it was copied", hint="run it again") from error
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISLNK(found.st_mode):
        raise UsageError(
            f"{path} is neither a file nor a link", hint="a kernel source has nothing else: remove it"
        )
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _read(note: Path, store: Store) -> tuple[Path | None, dict[str, Seen]]:
    """What the last copy left; nothing when its entry is gone."""
    if not note.exists():
        return None, {}
    data = json.loads(note.read_text())
    entry = store.path("sources", data["entry"])
    if not entry.exists():
        return None, {}
    return entry, {name: Seen(tuple(values[:-1]), values[-1]) for name, values in data["files"].items()}


def _move(scratch: Path, root: Path) -> None:
    for path in scratch.iterdir():
        shutil.move(path, root / path.name)
