# SPDX-License-Identifier: GPL-2.0-only
"""From what a person writes (``debian:7.3``) to an unpacked kernel source in the store.

An entry is unpacked once and never written again: its files are read-only and others hard-link them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfraError, UsageError
from harness.formats.debian import version_key
from harness.host import folder, proc
from harness.host.apt import PrivateApt
from harness.host.git import clean_env, one_line
from harness.host.store import Store, hash_file, key_of
from harness.log import step
from harness.model.tree import Source

FORMS = "debian:VERSION, git:URL-or-path#REF, dir:PATH or tar:PATH"
DRIVER = "drivers/accel/amdxdna"
LAYOUT = 1
"""Part of every key; to be raised when the way of unpacking changes what comes out."""

UNPACK_SECONDS = 600.0
LS_REMOTE_SECONDS = 60.0
FETCH_SECONDS = 1800.0

_UNTAR = """set -o pipefail; umask 0222
{ %s; } | tar --extract --file=- --directory="$1" --no-same-owner --no-same-permissions || exit
find "$1" -type d -exec chmod u+w {} +"""
_READERS = {
    b"\xfd7zXZ\0": ("xz", 'xz --decompress --stdout --threads=0 "$2"'),
    b"\x1f\x8b": ("gzip", 'gzip --decompress --stdout "$2"'),
    b"BZh": ("bzip2", 'bzip2 --decompress --stdout "$2"'),
    b"\x28\xb5\x2f\xfd": ("zstd", 'zstd --decompress --stdout "$2"'),
}
_DEB = (
    "dpkg-deb --fsys-tarfile \"$2\" | tar --extract --to-stdout --wildcards './usr/src/linux-source-*.tar.xz'"
    " | xz --decompress --stdout --threads=0"
)


@dataclass(frozen=True)
class Offer:
    """A package that carries the wanted kernel: a binary ``linux-source-*`` or the source package's tarball."""

    package: str
    version: str
    is_source: bool


def resolve(spec: str, store: Store) -> Source:
    """The source that ``spec`` names (see ``FORMS``), unpacked.

    UsageError: no such form, version, reference or file, or a tree without the driver. InfraError: mirror,
    server or disk.
    """
    kind, rest = split(spec)
    return {"debian": _debian, "git": _git, "dir": _dir, "tar": _tar}[kind](spec, rest, store)


def split(spec: str) -> tuple[str, str]:
    """``debian:7.3`` as ("debian", "7.3"); UsageError when it is none of the known forms."""
    kind, colon, rest = spec.partition(":")
    if not colon or not rest or kind not in ("debian", "git", "dir", "tar"):
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
    found = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL|EXTRAVERSION) *= *(\S*)$", text, re.MULTILINE))
    if not found.get("VERSION") or "PATCHLEVEL" not in found:
        return None
    return f"{found['VERSION']}.{found['PATCHLEVEL']}.{found.get('SUBLEVEL') or 0}{found.get('EXTRAVERSION', '')}"


def check_tree(root: Path, spec: str) -> str:
    """The version of the kernel tree at ``root``; UsageError when it is no kernel or has no amdxdna driver."""
    try:
        version = makefile_version((root / "Makefile").read_text(errors="replace"))
    except OSError:
        version = None
    if version is None or not (root / "Kconfig").is_file():
        raise UsageError(
            f"{one_line(spec)} is not a kernel source tree", hint="name the folder with its Makefile"
        )
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
            hint=f"the nearest are {', '.join(nearest(wanted, known))}"
            if known
            else "the mirror carries none",
        )
    key = key_of(package=offer.package, version=offer.version, source=offer.is_source, layout=LAYOUT)

    def make(root: Path) -> None:
        archive = (apt.download_source_tar if offer.is_source else apt.download)(offer.package, offer.version)
        with step(f"unpacking {offer.package} {offer.version}"):
            _untar(root, _reader(archive) if offer.is_source else _DEB, archive)
        archive.unlink()

    where = "upstream tarball of the source package" if offer.is_source else "package"
    return _entry(spec, f"{where} {offer.package} {offer.version}", key, store, make)


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
            try:
                _untar(root, _reader(path), path)
            except proc.CommandFailed as error:
                raise UsageError(f"{path} cannot be unpacked: {error.message}", hint=error.hint) from error

    return _entry(spec, f"tar file, sha256 {digest}", key_of(tar=digest, layout=LAYOUT), store, make)


def _dir(spec: str, name: str, store: Store) -> Source:
    path = Path(name).expanduser().resolve()
    check_tree(path, spec)
    with step(f"taking a copy of {path}"):
        digest, root = folder.copy(path, store)
    origin = f"folder {path}, content {digest[:12]}"
    return Source(spec, origin, check_tree(root, spec), key_of(dir=digest, layout=LAYOUT), root)


def _git(spec: str, rest: str, store: Store) -> Source:
    place, _, ref = rest.rpartition("#")
    if not place or not ref or ref.startswith("-"):
        raise UsageError(
            f"no commit in {one_line(spec)}", hint="write git:URL-or-path#REF, such as git:.#v7.3"
        )
    is_url = "://" in place or re.match(r"[\w.-]+@[\w.-]+:", place) is not None
    repository = None if is_url else _local_repository(place)
    commit = _local_commit(repository, ref) if repository else _remote_commit(place, ref)

    def make(root: Path) -> None:
        if repository:
            _archive(repository, commit, root)
            return
        scratch = root / ".fetched"
        _fetch(place, commit, scratch)
        _archive(scratch, commit, root)
        shutil.rmtree(scratch)

    return _entry(spec, f"commit {commit}", key_of(commit=commit, layout=LAYOUT), store, make)


def _local_repository(place: str) -> Path:
    path = Path(place).expanduser().resolve()
    done = _run_git(path, "rev-parse", "--absolute-git-dir", what="git rev-parse") if path.is_dir() else None
    if done is None or done.status != 0:
        raise UsageError(f"no git repository at {path}", hint="write git:URL-or-path#REF")
    return Path(done.stdout.strip())


def _local_commit(repository: Path, ref: str) -> str:
    done = _run_git(repository, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", what="git rev-parse")
    if done.status != 0:
        raise UsageError(
            f"no commit {one_line(ref)} in {repository}", hint="name a tag, a branch or a commit"
        )
    return done.stdout.strip()


def _remote_commit(url: str, ref: str) -> str:
    """The commit behind a reference of a server; a whole commit id is taken as it is."""
    if re.fullmatch(r"[0-9a-f]{40}", ref):
        return ref
    argv = ("ls-remote", "--exit-code", "--", url, ref, f"{ref}^{{}}")
    done = _run_git(
        None, *argv, what=f"asking {one_line(url)} for {one_line(ref)}", timeout=LS_REMOTE_SECONDS
    )
    if done.status == 2:
        raise UsageError(
            f"{one_line(url)} has no {one_line(ref)}", hint="name a tag, a branch or a whole commit id"
        )
    if done.status != 0:
        raise _git_failed(url, done)
    found = {name: commit for commit, name in (line.split("\t") for line in done.stdout.splitlines())}
    for name in (f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", f"{ref}^{{}}", ref):
        if name in found:
            return found[name]
    return next(iter(found.values()))


def _fetch(url: str, commit: str, scratch: Path) -> None:
    with step(f"fetching {commit[:12]} from {one_line(url)}"):
        _run_git(None, "init", "--quiet", "--bare", str(scratch), what="git init")
        argv = ("fetch", "--quiet", "--depth=1", "--no-tags", "--", url, commit)
        done = _run_git(scratch, *argv, what=f"git fetch from {one_line(url)}", timeout=FETCH_SECONDS)
        if done.status != 0:
            raise _git_failed(url, done)


def _archive(repository: Path, commit: str, root: Path) -> None:
    with step(f"unpacking commit {commit[:12]}"):
        reader = f'git --git-dir="$2" -c safe.directory="*" archive --format=tar {commit}'
        _untar(root, reader, repository)


def _git_failed(url: str, done: proc.Completed) -> InfraError:
    lines = [line for line in done.stderr.splitlines() if line.startswith(("fatal: ", "error: "))]
    return InfraError(
        f"git cannot fetch from {one_line(url)}: {one_line((lines or [done.stderr])[0])}",
        hint="is the network up and the address right?",
        transient=True,
    )


def _run_git(place: Path | None, *argv: str, what: str, timeout: float = 30.0) -> proc.Completed:
    """git that asks nobody for a password and waits for no silent server. A person's own configuration
    (proxies, insteadOf) counts: the address is theirs."""
    env = {
        **os.environ,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    }
    words = ["git", "-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60", "-c", "safe.directory=*"]
    where = ["-C", str(place)] if place else []
    return proc.run([*words, *where, *argv], what=what, timeout=timeout, env=env, check=False)


def _entry(spec: str, origin: str, key: str, store: Store, make: Callable[[Path], None]) -> Source:
    """The store's entry as a Source; what ``make`` unpacks is checked before it is kept."""

    def checked(root: Path) -> None:
        make(root)
        _hoist(root)
        check_tree(root, spec)

    root = store.get("sources", key, checked)
    return Source(spec, origin, check_tree(root, spec), key, root)


def _reader(archive: Path) -> str:
    """The shell command that writes the plain tar of ``archive`` ("$2")."""
    with archive.open("rb") as stream:
        magic = stream.read(6)
    for start, (program, command) in _READERS.items():
        if magic.startswith(start):
            if not shutil.which(program):
                raise UsageError(
                    f"{program} is needed for {archive.name}", hint=f"sudo apt-get install {program}"
                )
            return command
    return 'cat "$2"'


def _untar(root: Path, reader: str, archive: Path) -> None:
    """Unpack with files read-only (folders stay writable, or nobody but root could delete them)."""
    argv = ["bash", "-c", _UNTAR % reader, "unpack", str(root), str(archive)]
    env = {**clean_env(root), "XZ_DEFAULTS": "", "TAR_OPTIONS": ""}
    del env["GIT_DIR"]
    proc.run(argv, what=f"unpacking {archive.name}", timeout=UNPACK_SECONDS, env=env)


def _hoist(root: Path) -> None:
    """Most tar files have one folder around the tree: away with it."""
    inside = list(root.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and not (root / "Makefile").exists():
        around = inside[0].rename(root / ".around")
        for path in list(around.iterdir()):
            path.rename(root / path.name)
        around.rmdir()
