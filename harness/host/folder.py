# SPDX-License-Identifier: GPL-2.0-only
"""Copies of a person's source folder in the store, so that edits made while we run change nothing.

A copy is named by its content. The next copy of the same folder hard-links what did not change from the last
one, so an edit-and-run loop costs a look at each file's time and size, not 1.5 GB. Ignored files stay out.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfraError, UsageError
from harness.host import notes, repository, tarball
from harness.host.store import Store, key_of

_PRODUCTS = (".config", "include/config", "include/generated", "arch/*/include/generated")

Stamp = tuple[int, int, int, int]
"""Inode, size, modification and change time (ns): another one when the file changes."""


@dataclass(frozen=True)
class Seen:
    """A file as it was when it was copied; ``digest`` covers content, executable bit or a link's target."""

    stamp: Stamp
    digest: str


def copy(path: Path, store: Store) -> tuple[str, Path]:
    """Copy the tree at ``path``; returns the hash of its content and the store's entry.

    Nothing is copied when nothing changed since the last time. UsageError: it was built in place, or holds
    something that is neither file nor link. InfraError: disk.
    """
    note = store.path("sources", f"dir-{key_of(path=str(path))}.json")
    with store.lock("sources", note.name):
        now = stamps(path, files_of(path))
        entry, last = _read(note, store)
        if entry and now == {name: seen.stamp for name, seen in last.items()}:
            store.used("sources", entry.name)
            return entry.name, entry
        with tempfile.TemporaryDirectory(prefix=".copy-", dir=note.parent) as scratch:
            try:
                digests = _copy(path, Path(scratch), now, (entry, last))
                key = content_key(digests)
                entry = store.get("sources", key, lambda root: _move(Path(scratch), root))
            except OSError as error:
                hint = "is the disk full, or the folder not readable?"
                raise InfraError(f"cannot copy {path}: {error}", hint=hint) from error
        files = {name: (*stamp, digests[name]) for name, stamp in now.items()}
        notes.write(note, json.dumps({"entry": key, "files": files}))
    return key, entry


def content_key(digests: Mapping[str, str]) -> str:
    """16 hexadecimal digits over names and contents, whatever the order and the times."""
    return key_of(files=dict(digests))


def files_of(path: Path) -> list[str]:
    """The files below ``path`` that are source; relative names.

    git knows them, where it is a working tree. (.gitignore alone is no help: Debian's ignores everything.)
    Elsewhere it is every file, and a tree that was built in place is refused, as the kernel's own
    Makefile does (outputmakefile), since its products would be taken for sources.
    """
    if (path / ".git").exists():
        return repository.working_files(path)
    for product in _PRODUCTS:
        if any(path.glob(product)):
            raise UsageError(
                f"{path} was built in place: there is {product}", hint=f"run 'make -C {path} mrproper' first"
            )
    start = len(str(path)) + 1
    return [os.path.join(place, name)[start:] for place, _, files in os.walk(path) for name in files]


def stamps(path: Path, names: Iterable[str]) -> dict[str, Stamp]:
    """Each file's stamp. A file that is gone (git lists it when it was only just deleted) is left out."""
    found: dict[str, Stamp] = {}
    for name in names:
        full = f"{path}/{name}"  # no Path: there are 96000 of them
        try:
            state = os.lstat(full)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(state.st_mode) and not stat.S_ISLNK(state.st_mode):
            raise UsageError(f"{full} is neither a file nor a link", hint="no kernel source has such: remove it")
        found[name] = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return found


def digest_of(path: str) -> str:
    """What makes the file: content and executable bit, or the link's target."""
    state = os.lstat(path)
    if stat.S_ISLNK(state.st_mode):
        return f"link {os.readlink(path)}"
    with open(path, "rb", buffering=0) as stream:
        return f"{'x' if state.st_mode & stat.S_IXUSR else '-'} {hashlib.sha256(stream.read()).hexdigest()}"


def _copy(
    path: Path, to: Path, now: Mapping[str, Stamp], before: tuple[Path | None, dict[str, Seen]]
) -> dict[str, str]:
    """Bring every file to ``to``, linked from the entry before or copied; returns the digests."""
    entry, last = before
    same = {name: last[name].digest for name in now if entry and name in last and last[name].stamp == now[name]}
    changed = [name for name in now if name not in same]
    for folder in {os.path.dirname(name) for name in same}:
        os.makedirs(f"{to}/{folder}", exist_ok=True)
    for name in same:
        os.link(f"{entry}/{name}", f"{to}/{name}", follow_symlinks=False)
    with tempfile.NamedTemporaryFile(prefix="xdna-files-") as names:
        names.write(b"".join(os.fsencode(name) + b"\0" for name in changed))
        names.flush()
        argv = ["tar", "--create", f"--directory={path}", "--null", "--verbatim-files-from", "--no-recursion"]
        tarball.unpack_output([*argv, "--mode=a+rX", f"--files-from={names.name}"], to)
    return same | {name: digest_of(f"{to}/{name}") for name in changed}


def _read(note: Path, store: Store) -> tuple[Path | None, dict[str, Seen]]:
    """What the last copy left; nothing when its entry is gone."""
    data = notes.read_json(note)
    if data is None:
        return None, {}
    entry = store.path("sources", data["entry"])
    if not entry.exists():
        return None, {}
    return entry, {name: Seen(tuple(values[:4]), values[4]) for name, values in data["files"].items()}


def content_of(path: Path) -> str:
    """The :func:`content_key` of a folder that holds nothing but source: about 8 s for a kernel."""
    start = len(str(path)) + 1
    names = (os.path.join(place, name) for place, _, files in os.walk(path) for name in files)
    return content_key({name[start:]: digest_of(name) for name in names})


def _move(scratch: Path, root: Path) -> None:
    for path in list(scratch.iterdir()):
        path.rename(root / path.name)
