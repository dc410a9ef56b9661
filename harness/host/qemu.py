# SPDX-License-Identifier: GPL-2.0-only
"""A QEMU that is a vfio-user client: the system's, or one of a newer suite in a private prefix."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InfraError
from harness.host import debs, notes, proc
from harness.host.apt import PrivateApt
from harness.host.store import Store, hash_file, key_of
from harness.log import step

SUITE = "trixie-backports"
PACKAGES = ("qemu-system-x86",)
DEVICE = "vfio-user-pci"
"""In QEMU since 10.1; trixie has 10.0."""
ASK_SECONDS = 30.0

_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib")
_LOADER = "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
_DATA = ("usr/share/qemu", "usr/share/seabios")
"""Firmware and option ROMs; the links between the two folders are absolute, so both are named."""
_NOT_RUN = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info")
_POINTER = "qemu.json"


@dataclass(frozen=True)
class Qemu:
    """How to start QEMU: ``argv`` and then its options.

    ``origin`` is for the report ("the system's", "Debian package ..."); ``key`` stands for this very build in
    the keys of what depends on it.
    """

    argv: tuple[str, ...]
    version: str
    origin: str
    key: str


def find_qemu(store: Store) -> Qemu:
    """The QEMU to use. InfraError when there is none and none can be fetched."""
    program = shutil.which("qemu-system-x86_64")
    if program and has_device((program,)):
        version = _version((program,))
        return Qemu((program,), version, "the system's", key_of(version=version, binary=hash_file(Path(program))))
    return _private(store)


def has_device(argv: tuple[str, ...]) -> bool:
    """Whether this QEMU knows the device."""
    done = proc.run([*argv, "-device", "help"], what="asking QEMU for its devices", timeout=ASK_SECONDS, check=False)
    return f'name "{DEVICE}"' in done.stdout


def private_argv(root: Path) -> tuple[str, ...]:
    """How a QEMU unpacked below ``root`` is started with the libraries that came with it."""
    libraries = ":".join(str(root / folder) for folder in _LIBRARIES)
    program = str(root / "usr/bin/qemu-system-x86_64")
    data = [word for folder in _DATA for word in ("-L", str(root / folder))]
    return (str(root / _LOADER), "--library-path", libraries, program, *data)


def parse_version(text: str) -> str:
    """``11.1.3`` of what ``--version`` prints."""
    found = re.search(r"version (\d+(?:\.\d+)+)", text)
    if not found:
        raise InfraError(f"QEMU did not tell its version: {text[:80]!r}", hint="is it whole?")
    return found.group(1)


def _version(argv: tuple[str, ...]) -> str:
    return parse_version(proc.run([*argv, "--version"], what="qemu --version", timeout=ASK_SECONDS).stdout)


def _private(store: Store) -> Qemu:
    """The one in the store. It stays the same until the store is cleaned: the keys of guests contain it."""
    pointer = store.path("prefixes", _POINTER)
    if known := notes.read_json(pointer):
        root = store.path("prefixes", known["key"])
        if root.exists():
            return Qemu(private_argv(root), known["version"], known["origin"], known["key"])
    apt = PrivateApt(store)
    packages = apt.resolve(PACKAGES, SUITE)
    key = key_of(packages=[package.file for package in packages])

    def make(root: Path) -> None:
        files = apt.download_all(packages, "downloading QEMU")
        with step("unpacking QEMU"):
            debs.unpack(files, root)
            for folder in _NOT_RUN:
                shutil.rmtree(root / folder, ignore_errors=True)
            if not has_device(private_argv(root)):
                raise InfraError(f"the QEMU of {SUITE} has no {DEVICE}", hint="install QEMU 10.1 or later")
        for file in files:
            file.unlink()

    root = store.get("prefixes", key, make)
    package = next(p for p in packages if p.name == PACKAGES[0])
    qemu = Qemu(private_argv(root), _version(private_argv(root)), f"Debian package {package.version}", key)
    notes.write(pointer, json.dumps({"key": key, "version": qemu.version, "origin": qemu.origin}))
    return qemu
