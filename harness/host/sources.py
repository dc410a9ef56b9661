# SPDX-License-Identifier: GPL-2.0-only
"""From what a person writes (``debian:7.3``) to an unpacked kernel source in the store.

An entry is unpacked once and never written again: its files are read-only and others hard-link them. A commit, a
package and a tar file with the same content are the source that was here first, so that they share their kernels.

    sources/<place>              what a package, commit or tar file holds
    sources/<place>.content      the hash of that
    sources/content-<hash>       the first entry with this content
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError
from harness.formats.debian import version_key
from harness.host import folder, notes, repository, shipped, tarball
from harness.host.apt import PrivateApt
from harness.host.git import one_line
from harness.host.store import Store, hash_file, key_of
from harness.log import step
from harness.model.tree import Source

FORMS = "debian:VERSION, debian-bin:VERSION, git:URL-or-path#REF, dir:PATH or tar:PATH"
DRIVER = "drivers/accel/amdxdna"
LAYOUT = 1
"""Part of every key; to be raised when the way of unpacking changes what comes out."""


@dataclass(frozen=True)
class Offer:
    """A package with the wanted kernel: a binary ``linux-source-*``, or the source package's tarball."""

    package: str
    version: str
    is_source: bool


def resolve(spec: str, store: Store) -> Source:
    """The source that ``spec`` names (see ``FORMS``), unpacked.

    UsageError: no such form, version, reference or file, or a tree without the driver. InfraError: mirror,
    server or disk.
    """
    kind, rest = split(spec)
    return {"debian": _debian, "debian-bin": _shipped, "git": _git, "dir": _dir, "tar": _tar}[kind](spec, rest, store)


def identity(spec: str, store: Store) -> str:
    """What ``spec`` names today, as far as that can be told without unpacking it: package and version, commit, hash of
    a file; of a folder its content. Raises as :func:`resolve` does."""
    kind, rest = split(spec)
    if kind in ("debian", "debian-bin"):
        apt = PrivateApt(store)
        return repr(_offer(rest, apt) if kind == "debian" else choose(rest, shipped.images(apt), ()))
    if kind == "git":
        return _git_commit(spec, rest)[1]
    return hash_file(Path(rest).expanduser()) if kind == "tar" else resolve(spec, store).key


def split(spec: str) -> tuple[str, str]:
    """``debian:7.3`` as ("debian", "7.3"); UsageError when it is none of the known forms."""
    kind, colon, rest = spec.partition(":")
    if not colon or not rest or kind not in ("debian", "debian-bin", "git", "dir", "tar"):
        raise UsageError(f"not a kernel source: {one_line(spec)}", hint=f"write {FORMS}")
    if "\0" in rest or rest.startswith("-"):
        raise UsageError(f"not a name: {one_line(rest)}", hint=f"write {FORMS}")
    return kind, rest


def upstream(version: str) -> str:
    """The kernel's part of a Debian version: ``7.3.4-1~bpo13+1`` -> ``7.3.4``."""
    return version.rpartition("-")[0] or version


def choose(wanted: str, binaries: Mapping[str, Sequence[str]], sources: Sequence[str]) -> Offer | None:
    """The newest package whose version is ``wanted`` or begins so: ``7.3`` stands for every 7.3.x.

    ``binaries`` are the versions of each ``linux-source-*``; they win over source packages (``sources``).
    """
    offers = [Offer(name, version, False) for name, versions in binaries.items() for version in versions]
    for group in (offers, [Offer("linux", version, True) for version in sources]):
        fitting = [offer for offer in group if _fits(wanted, offer.version)]
        if fitting:
            return max(fitting, key=lambda offer: version_key(offer.version))
    return None


def _fits(wanted: str, version: str) -> bool:
    return wanted in (version, upstream(version)) or upstream(version).startswith(wanted + ".")


def nearest(wanted: str, versions: Sequence[str], count: int = 6) -> list[str]:
    """The upstream versions around ``wanted``, in order."""
    known = sorted({upstream(version) for version in versions}, key=version_key)
    place = sum(version_key(version) < version_key(wanted) for version in known)
    start = max(0, min(place - count // 2, len(known) - count))
    return known[start : start + count]


def makefile_version(text: str) -> str | None:
    """``7.3.4`` of the four lines at the top of a kernel's Makefile; None when they are not there."""
    found: dict[str, str] = dict(
        re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) *= *(\S*)$", text, re.MULTILINE)
    )
    if not found.get("VERSION") or "PATCHLEVEL" not in found:
        return None
    numbers = (found["VERSION"], found["PATCHLEVEL"], found.get("SUBLEVEL") or "0")
    return ".".join(numbers) + found.get("EXTRAVERSION", "")


def check_tree(root: Path, spec: str) -> str:
    """The version of the kernel tree at ``root``; UsageError when it is no kernel or lacks the driver."""
    try:
        version = makefile_version((root / "Makefile").read_text(errors="replace"))
    except OSError:
        version = None
    if version is None or not (root / "Kconfig").is_file():
        raise UsageError(f"{one_line(spec)} is not a kernel source tree", hint="name the folder with its Makefile")
    if not (root / DRIVER / "Makefile").is_file():
        raise UsageError(
            f"{one_line(spec)} is Linux {version}, which has no {DRIVER}",
            hint="the driver is there since 6.14",
        )
    return version


def _debian(spec: str, wanted: str, store: Store) -> Source:
    apt = PrivateApt(store)
    offer = _offer(wanted, apt)
    if offer is None and apt.refresh(older_than=60):
        offer = _offer(wanted, apt)
    if offer is None:
        known = [v for versions in _binaries(apt).values() for v in versions] + apt.source_versions("linux")
        raise UsageError(
            f"apt knows no kernel source of version {one_line(wanted)}",
            hint=f"the nearest are {', '.join(nearest(wanted, known))}" if known else "the mirror carries none",
        )
    key = key_of(package=offer.package, version=offer.version, source=offer.is_source, layout=LAYOUT)

    def make(root: Path) -> None:
        archive = (apt.download_source_tar if offer.is_source else apt.download)(offer.package, offer.version)
        with step(f"unpacking {offer.package} {offer.version}"):
            if offer.is_source:
                tarball.unpack(archive, root)
            else:
                tarball.unpack_deb_member(archive, "./usr/src/linux-source-*.tar.xz", root)
        archive.unlink()

    where = "upstream tarball of the source package" if offer.is_source else "package"
    return _entry(spec, f"{where} {offer.package} {offer.version}", key, store, make)


def _shipped(spec: str, wanted: str, store: Store) -> Source:
    apt = PrivateApt(store)
    offer = choose(wanted, shipped.images(apt), ())
    if offer is None and apt.refresh(older_than=60):
        offer = choose(wanted, shipped.images(apt), ())
    if offer is None:
        known = [version for versions in shipped.images(apt).values() for version in versions]
        raise UsageError(
            f"apt knows no kernel package of version {one_line(wanted)}",
            hint=f"the nearest are {', '.join(nearest(wanted, known))}" if known else "the mirror carries none",
        )
    root = shipped.unpacked(offer.package, offer.version, apt, store)
    origin = f"package {offer.package} {offer.version}, as shipped"
    return Source(spec, origin, upstream(offer.version), root.name, root, shipped=True)


def _offer(wanted: str, apt: PrivateApt) -> Offer | None:
    return choose(wanted, _binaries(apt), apt.source_versions("linux"))


def _binaries(apt: PrivateApt) -> dict[str, list[str]]:
    names = [name for name in apt.names("linux-source-") if re.fullmatch(r"linux-source-\d+\.\d+", name)]
    return apt.all_versions(names)


def _tar(spec: str, name: str, store: Store) -> Source:
    path = Path(name).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"no such file: {path}", hint="name a tar file of a kernel source")
    digest = hash_file(path)

    def make(root: Path) -> None:
        with step(f"unpacking {path.name}"):
            tarball.unpack(path, root)

    return _entry(spec, f"tar file, sha256 {digest}", key_of(tar=digest, layout=LAYOUT), store, make)


def _dir(spec: str, name: str, store: Store) -> Source:
    path = Path(name).expanduser().resolve()
    check_tree(path, spec)
    with step(f"taking a copy of {path}"):
        key, _ = folder.copy(path, store)
    return _source(spec, f"folder {path}, content {key}", _first(key, key, store), store)


def has_commit(commit: str, store: Store) -> bool:
    """Whether the source of a commit (its full hash) was unpacked before and is still there."""
    return store.has("sources", _commit_key(commit))


def _commit_key(commit: str) -> str:
    return key_of(commit=commit, layout=LAYOUT)


def _git_commit(spec: str, rest: str) -> tuple[Path | None, str]:
    """The repository, if it is a local one, and the full hash of the commit."""
    place, _, ref = rest.rpartition("#")
    if not place or not ref or ref.startswith("-"):
        raise UsageError(f"no commit in {one_line(spec)}", hint="write git:URL-or-path#REF, such as git:.#v7.3")
    local = None if repository.is_url(place) else repository.find(place)
    return local, repository.commit_of(local, ref) if local else repository.remote_commit_of(place, ref)


def _git(spec: str, rest: str, store: Store) -> Source:
    local, commit = _git_commit(spec, rest)
    place = rest.rpartition("#")[0]

    def make(root: Path) -> None:
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=root.parent) as scratch:
            if not local:
                repository.fetch(place, commit, Path(scratch))
            with step(f"unpacking commit {commit[:12]}"):
                tarball.unpack_output(repository.archive_argv(local or Path(scratch), commit), root)

    return _entry(spec, f"commit {commit}", _commit_key(commit), store, make)


def _entry(spec: str, origin: str, place: str, store: Store, make: Callable[[Path], None]) -> Source:
    """The source that ``make`` unpacks, unless it was before. What it unpacks is checked before it is kept."""

    def checked(root: Path) -> None:
        make(root)
        check_tree(root, spec)

    root = store.get("sources", place, checked)
    note = store.path("sources", f"{place}.content")
    content = notes.read(note)
    if not content:
        with step(f"what is in {spec}"):
            content = folder.content_of(root)
        notes.write(note, content)
    return _source(spec, origin, _first(place, content, store), store)


def _first(entry: str, content: str, store: Store) -> str:
    """The entry that was the first with this content and is still there."""
    note = store.path("sources", f"content-{content}")
    with store.lock("sources", note.name):
        first = notes.read(note)
        if first and store.has("sources", first):
            store.used("sources", first)
            return first
        notes.write(note, entry)
    return entry


def _source(spec: str, origin: str, key: str, store: Store) -> Source:
    root = store.path("sources", key)
    return Source(spec, origin, check_tree(root, spec), key, root)
