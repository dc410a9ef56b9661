# SPDX-License-Identifier: GPL-2.0-only
"""The programs that build a kernel: which there are, and which are missing."""

from __future__ import annotations

import functools
import platform
import shutil
from pathlib import Path

from harness.errors import InfraError
from harness.host import proc
from harness.host.sandbox import TOOL_PATH

PACKAGES = {  # program: Debian package
    "make": "make",
    "gcc": "gcc",
    "ld": "binutils",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "perl": "perl",
    "lz4": "lz4",
    "awk": "mawk",
    "ccache": "ccache",
    "bwrap": "bubblewrap",
}
OPTIONAL = ("ccache", "bwrap")
ELF_HEADER, ELF_PACKAGE = "gelf.h", "libelf-dev"  # objtool is built from the kernel tree and reads ELF files


def missing(*, optional: bool = True) -> tuple[str, ...]:
    """The Debian packages to install before a kernel can be built; with ``optional`` the useful ones, too."""
    packages = [
        package
        for program, package in PACKAGES.items()
        if (optional or program not in OPTIONAL) and shutil.which(program, path=TOOL_PATH) is None
    ]
    include = Path("/usr/include")
    if not (include / ELF_HEADER).exists():
        packages.append(ELF_PACKAGE)
    return tuple(packages)


@functools.cache
def version() -> str:
    """What compiles, links and steers: a line for each. Part of every kernel's key."""
    lacking = missing(optional=False)
    if lacking:
        raise InfraError(
            f"a kernel cannot be built here: {', '.join(lacking)} is missing",
            hint=f"apt-get install {' '.join(lacking)}",
        )
    lines = [platform.machine()]
    for program in ("gcc", "ld", "make"):
        done = proc.run(
            [program, "--version"], what=f"{program} --version", timeout=30, env={"PATH": TOOL_PATH, "LC_ALL": "C"}
        )
        lines.append(done.stdout.partition("\n")[0])
    return "\n".join(lines)
