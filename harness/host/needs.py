# SPDX-License-Identifier: GPL-2.0-only
"""What this machine must have: programs and headers, and the Debian packages they come from."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.errors import InfraError, UsageError
from harness.host import proc
from harness.log import say, step

UPDATE_SECONDS = 300.0
INSTALL_SECONDS = 1800.0
MAX_INDEX_AGE = 24 * 3600.0
LISTS = Path("/var/lib/apt/lists")


class Purpose(StrEnum):
    """What it is needed for."""

    BUILD = "build"
    RUN = "run"
    TEST = "test"
    BENCHMARK = "benchmark"
    REVIEW = "review"


@dataclass(frozen=True)
class Need:
    """One thing that has to be there, and the package that brings it.

    ``thing`` is a program, a header below an include folder ("gelf.h"), or a Perl module ("DBD::SQLite").
    """

    package: str
    thing: str

    @property
    def kind(self) -> str:
        if "::" in self.thing:
            return "perl"
        return "header" if self.thing.endswith(".h") else "program"


NEEDS: dict[Purpose, tuple[Need, ...]] = {
    Purpose.BUILD: (
        Need("make", "make"),
        Need("gcc", "gcc"),
        Need("binutils", "ld"),
        Need("libc6-dev", "stdio.h"),
        Need("flex", "flex"),
        Need("bison", "bison"),
        Need("bc", "bc"),
        Need("perl", "perl"),
        Need("libelf-dev", "gelf.h"),  # objtool
        Need("libssl-dev", "openssl/ssl.h"),  # certificates of signed modules
        Need("xz-utils", "xz"),
        Need("lz4", "lz4"),  # the kernel image (CONFIG_KERNEL_LZ4)
        Need("cpio", "cpio"),
        Need("rsync", "rsync"),
        Need("ccache", "ccache"),
    ),
    Purpose.RUN: (
        Need("bubblewrap", "bwrap"),
        Need("erofs-utils", "mkfs.erofs"),
        Need("git", "git"),
        Need("util-linux", "setpriv"),
        Need("xz-utils", "xz"),
        Need("bash", "bash"),
        Need("tar", "tar"),
        Need("dpkg", "dpkg-deb"),
    ),
    Purpose.TEST: (
        Need("public-inbox", "public-inbox-httpd"),
        Need("libdbd-sqlite3-perl", "DBD::SQLite"),
        Need("libsearch-xapian-perl", "Search::Xapian"),
        Need("libplack-perl", "Plack::Util"),
        Need("ipmitool", "ipmitool"),  # a BMC; the next one is one
        Need("openipmi", "ipmi_sim"),
        Need("mmdebstrap", "mmdebstrap"),  # the lab host's Debian
        Need("qemu-utils", "qemu-img"),  # its disk
        Need("mandoc", "mandoc"),  # the man page
        Need("postgresql", "psql"),  # leases of a lab
        Need("systemd", "systemd-analyze"),  # docs/ci
        Need("chromium-headless-shell", "chromium-headless-shell"),  # looks at the page
    ),
    Purpose.BENCHMARK: (Need("kmod", "depmod"),),  # virtme-ng
    Purpose.REVIEW: (
        Need("sparse", "sparse"),
        Need("coccinelle", "spatch"),
        Need("ocaml-nox", "ocamlopt"),  # some of the kernel's semantic patches have parts in OCaml
        Need("clang-19", "clang-19"),  # Linux 7.3 wants 17; Debian 12's own is 14
        Need("g++", "g++"),  # a header of the uAPI must be one for C++, too
        Need("python3", "python3"),  # kernel-doc; it runs in the sandbox, which has Debian's only
    ),
}

_INCLUDES = (Path("/usr/include"), Path("/usr/include/x86_64-linux-gnu"), Path("/usr/local/include"))
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def missing(*purposes: Purpose) -> list[str]:
    """The packages that would bring what is not there, each once, in a fixed order."""
    return absent((need for purpose in purposes for need in NEEDS[purpose]), present)


def absent(needs: Iterable[Need], there: Callable[[Need], bool]) -> list[str]:
    """The packages of the needs that are not ``there``."""
    return sorted({need.package for need in needs if not there(need)})


def present(need: Need) -> bool:
    """Whether it is there, whichever way it came. Ordinary users' PATH lacks the sbin folders."""
    if need.kind == "program":
        return shutil.which(need.thing, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}") is not None
    if need.kind == "header":
        return any((folder / need.thing).is_file() for folder in _INCLUDES)
    if not shutil.which("perl"):
        return False
    argv = ["perl", f"-M{need.thing}", "-e1"]
    return proc.run(argv, what=f"looking for Perl's {need.thing}", timeout=30, check=False).status == 0


def packages_of(programs: Iterable[str]) -> list[str]:
    """The packages that bring these programs, as far as they are known here."""
    known = {need.thing: need.package for needs in NEEDS.values() for need in needs}
    return sorted({known[program] for program in programs if program in known})


def command_line(packages: Iterable[str]) -> str:
    """What a person types to install them."""
    return f"sudo apt-get install {' '.join(packages)}"


def ensure(*purposes: Purpose, log: Path) -> None:
    """Have all that ``purposes`` need, installing it when we are root (see ``install``)."""
    install(missing(*purposes), log)


def install(packages: list[str], log: Path) -> None:
    """Install Debian packages; apt's words go to ``log``.

    UsageError with one copyable line when we are not root, InfraError when apt fails.
    """
    if not packages:
        return
    if os.geteuid() != 0:
        raise UsageError(f"this machine lacks {', '.join(packages)}", hint=command_line(packages))
    if not shutil.which("apt-get"):
        raise UsageError(
            f"this machine lacks {', '.join(packages)} (Debian's names), and has no apt-get",
            hint="install them its own way",
        )
    with step(f"installing {', '.join(packages)}"):
        if _index_age() > MAX_INDEX_AGE or not _known(packages):
            _apt(["update"], UPDATE_SECONDS, log)
        try:
            _apt(_install_words(packages), INSTALL_SECONDS, log)
        except InfraError:
            say("once more, with a fresh package index")
            _apt(["update"], UPDATE_SECONDS, log)
            _apt(_install_words(packages), INSTALL_SECONDS, log)


def _install_words(packages: list[str]) -> list[str]:
    return ["install", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", *packages]


def _apt(words: list[str], seconds: float, log: Path) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    argv = ["apt-get", "-o", "Acquire::Retries=1", *words]
    proc.run(argv, what=f"apt-get {words[0]}", timeout=seconds, env=env, log=log)


def _known(packages: list[str]) -> bool:
    """Whether the system's index has a candidate for each."""
    done = proc.run(["apt-cache", "policy", *packages], what="apt-cache policy", timeout=60, check=False)
    return done.stdout.count("  Candidate: ") - done.stdout.count("  Candidate: (none)") >= len(packages)


def _index_age() -> float:
    """Seconds since the system's package lists were fetched; infinite without any.

    The lists themselves have the server's times: the folder that apt fetches into has ours.
    """
    if not any(LISTS.glob("*_Packages*")):
        return float("inf")
    return time.time() - (LISTS / "partial").stat().st_mtime
