# SPDX-License-Identifier: GPL-2.0-only
"""Tar archives, in whatever they are packed, unpacked into folders of read-only files."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from harness.errors import InfraError, UsageError
from harness.host import proc
from harness.log import printable

UNPACK_SECONDS = 900.0

# Folders stay writable, or nobody but root could delete them again.
_UNTAR = """set -o pipefail; umask 0222
{ %s; } | tar --extract --file=- --directory="$1" --no-same-owner --no-same-permissions || exit
find "$1" -type d -exec chmod u+w {} +"""

# Debian packs in blocks (7.3: 69 of them), which xz reads with one thread each.
_XZ = "xz --decompress --stdout --threads=0"
_PACKED = {
    b"\xfd7zXZ\0": ("xz", f'{_XZ} "$2"'),
    b"\x1f\x8b": ("gzip", 'gzip --decompress --stdout "$2"'),
    b"BZh": ("bzip2", 'bzip2 --decompress --stdout "$2"'),
    b"\x28\xb5\x2f\xfd": ("zstd", 'zstd --decompress --stdout "$2"'),
}


class DamagedArchive(InfraError):
    """What came is no tar, or only a part of one."""


def unpack(archive: Path, root: Path) -> None:
    """Unpack a tar file. UsageError: it is not one, or its packer is not installed."""
    with archive.open("rb") as stream:
        magic = stream.read(6)
    reader = next((found for start, found in _PACKED.items() if magic.startswith(start)), ("cat", 'cat "$2"'))
    if not shutil.which(reader[0]):
        raise UsageError(f"{archive.name} needs {reader[0]}", hint=f"sudo apt-get install {reader[0]}")
    try:
        _untar(reader[1], root, archive)
    except DamagedArchive as error:
        raise UsageError(error.message, hint="is it the whole file, and a tar file?") from error
    _hoist(root)


def unpack_deb_member(deb: Path, pattern: str, root: Path) -> None:
    """Unpack the .tar.xz that a Debian package carries under a name like ``pattern``."""
    member = f"tar --extract --to-stdout --wildcards {shlex.quote(pattern)}"
    _untar(f'dpkg-deb --fsys-tarfile "$2" | {member} | {_XZ}', root, deb)
    _hoist(root)


def unpack_output(argv: list[str], root: Path) -> None:
    """Unpack the plain tar that a program writes."""
    _untar(shlex.join(argv), root, Path(argv[0]))


def _untar(reader: str, root: Path, archive: Path) -> None:
    argv = ["bash", "-c", _UNTAR % reader, "unpack", str(root), str(archive)]
    env = {name: value for name, value in os.environ.items() if name not in ("TAR_OPTIONS", "XZ_OPT")}
    what = f"unpacking {archive.name}"
    done = proc.run(argv, what=what, timeout=UNPACK_SECONDS, env={**env, "LC_ALL": "C"}, check=False)
    if done.status == 0:
        return
    first = printable((done.stderr.strip().splitlines() or [f"status {done.status}"])[0])
    if "No space left" in done.stderr or "Disk quota" in done.stderr:
        raise InfraError(f"{what}: {first}", hint="free some disk space: 'xdna-harness clean' empties the cache")
    raise DamagedArchive(f"{archive} cannot be unpacked: {first}", hint="is the network or the disk failing?")


def _hoist(root: Path) -> None:
    """Most archives have one folder around the tree: away with it."""
    inside = list(root.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink():
        around = inside[0].rename(root / ".around")
        for path in list(around.iterdir()):
            path.rename(root / path.name)
        around.rmdir()
