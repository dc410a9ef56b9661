# SPDX-License-Identifier: GPL-2.0-only
"""The cache: artefacts by key, made once, all of which can be deleted.

    $XDG_CACHE_HOME/xdna-harness/<kind>/<key>/

A key is a hash of everything that can change the artefact. An entry is made under a temporary name and renamed
when it is whole, so an entry that exists is complete; a second process that wants it waits for the first. It goes by
one rename, too: who is interrupted leaves ``.gone-...``, which the next one takes away.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from harness.errors import InfraError
from harness.host import notes
from harness.log import say, warn

KINDS = (
    "sources",
    "trees",
    "kernels",
    "modules",
    "images",
    "guests",
    "results",
    "packages",
    "prefixes",
    "lines",
    "footprints",
    "checks",
)
EXPENDABLE = ("guests", "lines", "footprints", "trees", "modules", "kernels", "sources")
"""What may go when the disk is full, in this order: the cheapest to make anew first."""
SPARED_SECONDS = 24 * 3600.0
LOCK_SECONDS = 3600.0
_GONE = ".gone-"


def key_of(**parts: object) -> str:
    """16 hexadecimal digits that name an artefact. ``parts`` must be plain JSON data."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_tree(root: Path, pattern: str = "*") -> str:
    """SHA-256 over the names and contents of the files below ``root``."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob(pattern) if p.is_file() and "__pycache__" not in p.parts):
        digest.update(f"{path.relative_to(root)}\0{hash_file(path)}\n".encode())
    return digest.hexdigest()


class Store:
    """The cache folder of one user."""

    def __init__(self, root: Path | None = None) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        self.root = (root or Path(base).expanduser() / "xdna-harness").resolve()

    def path(self, kind: str, key: str) -> Path:
        """Where the entry is, or would be."""
        if kind not in KINDS:
            raise ValueError(f"unknown kind of cache entry: {kind}")
        return self.root / kind / key

    def has(self, kind: str, key: str) -> bool:
        return self.path(kind, key).exists()

    def get(self, kind: str, key: str, make: Callable[[Path], None]) -> Path:
        """The entry's folder; ``make`` fills an empty folder if the entry is not there yet.

        A ``make`` that raises leaves nothing behind but what it moved elsewhere itself.
        """
        entry = self.path(kind, key)
        if entry.exists():
            self.used(kind, key)
            return entry
        with self.lock(kind, key):
            if entry.exists():
                return entry
            partial = Path(tempfile.mkdtemp(prefix=f".{key}.", dir=entry.parent))
            partial.chmod(0o755)
            try:
                make(partial)
                partial.rename(entry)
            except OSError as error:
                raise InfraError(
                    f"cannot store {kind}/{key}: {error.strerror or error} ({error.filename})",
                    hint="free some disk space: 'xdna-harness clean' empties the cache",
                ) from error
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return entry

    def record(self, kind: str, key: str, name: str, make: Callable[[Path], None]) -> tuple[Path, Any]:
        """The same, and what the JSON file ``name`` in it says. One that a power failure cut off vouches for nothing:
        the entry is made anew."""
        for _ in range(2):
            entry = self.get(kind, key, make)
            if (said := notes.read_json(entry / name)) is not None:
                return entry, said
            self.discard(kind, key)
        raise InfraError(f"{entry / name} cannot be read back", hint="is the disk whole?")

    def used(self, kind: str, key: str) -> None:
        """What is used stays (see :meth:`spare`); somebody else's cache is used all the same."""
        with suppress(OSError):
            os.utime(self.path(kind, key))

    def discard(self, kind: str, key: str) -> None:
        """Throw one entry away; one that is not there is no error."""
        _remove(self.path(kind, key))

    def trim(self, kind: str, most: int) -> int:
        """Throw away what was not used for longest, until the rest is at most ``most`` bytes: how many entries went.

        Another process may do the same at the same time.
        """
        used = []
        for _, path in self._by_age(kind):
            with suppress(FileNotFoundError, NotADirectoryError):
                used.append((size_of(path), path))
        gone, total = 0, sum(size for size, _ in used)
        for size, path in used:
            if total <= most:
                break
            total -= size
            gone += 1
            _remove(path)
        return gone

    def spare(self, wanted: int) -> int:
        """Throw entries away until ``wanted`` bytes are free on the cache's disk: what is made anew soonest goes first,
        of that what was not used for longest. What was used in the last day stays, so no run loses what it works with.
        How many entries went. Nothing is measured: to look at each of a cache's million files takes minutes."""
        gone = 0
        for kind in EXPENDABLE:
            for used, path in self._by_age(kind):
                if self.free_bytes() >= wanted:
                    return gone
                if time.time() - used > SPARED_SECONDS:
                    _remove(path)
                    gone += 1
        if self.free_bytes() < wanted:
            warn(f"{self.free_bytes() / 1e9:.1f} GB are free, not {wanted / 1e9:.1f}; all of the cache was used lately")
        return gone

    def _by_age(self, kind: str) -> list[tuple[float, Path]]:
        """When each entry was used last, and where it is; what was not used for longest first. What somebody began to
        throw away goes now."""
        for path in self.root.glob(f"{kind}/{_GONE}*"):
            shutil.rmtree(path, ignore_errors=True)
        found: list[tuple[float, Path]] = []
        for path in self.root.glob(f"{kind}/[!.]*"):
            with suppress(FileNotFoundError):
                if path.is_dir():  # else a note of ours about entries
                    found.append((path.stat().st_mtime, path))
        return sorted(found)

    @contextmanager
    def lock(self, kind: str, key: str) -> Iterator[None]:
        """Hold the entry's lock; says so when somebody else holds it, gives up after an hour."""
        folder = self.path(kind, key).parent
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f".{key}.lock").open("w") as handle:
            deadline = time.monotonic() + LOCK_SECONDS
            told = False
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not told:
                        say(f"somebody else is making {kind}/{key}: waiting")
                        told = True
                    if time.monotonic() > deadline:
                        raise InfraError(
                            f"somebody else has been making {kind}/{key} for an hour",
                            hint="end it, or wait for it",
                        ) from None
                    time.sleep(0.2)
            yield

    def free_bytes(self) -> int:
        """How much room is left where the cache is (or will be)."""
        there = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        return shutil.disk_usage(there).free

    def clean(self) -> int:
        """Delete everything; returns the number of bytes that were freed."""
        if not self.root.exists():
            return 0
        freed = size_of(self.root)
        for kind in KINDS:
            for _, path in self._by_age(kind):
                with suppress(OSError):
                    _put_away(path)
        shutil.rmtree(self.root)
        return freed


def _put_away(entry: Path) -> Path | None:
    """Rename an entry to what is none any more; None if it is not there."""
    gone = entry.with_name(f"{_GONE}{entry.name}.{os.getpid()}.{time.monotonic_ns()}")
    try:
        return entry.rename(gone)
    except FileNotFoundError:
        return None


def _remove(entry: Path) -> None:
    """Throw an entry away, at once for whoever looks."""
    try:
        gone = _put_away(entry)
    except OSError:  # on a disk so full that nothing can be renamed
        gone = entry
    if gone is not None:
        shutil.rmtree(gone, ignore_errors=True)


def size_of(folder: Path) -> int:
    """Bytes on disk, holes not counted."""
    return sum(p.lstat().st_blocks * 512 for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
