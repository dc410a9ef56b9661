# SPDX-License-Identifier: GPL-2.0-only
"""Which compiler, linker and make there are, which are part of every kernel's key; and which other tools."""

from __future__ import annotations

import functools
import platform
import shutil

from harness.host import proc
from harness.host.sandbox import TOOL_PATH

PROGRAMS = ("gcc", "ld", "make")


@functools.cache
def version() -> str:
    """The machine, and each program's own words, a line each. InfraError when one is missing."""
    return "\n".join([platform.machine(), *map(words_of, PROGRAMS)])


@functools.cache
def words_of(program: str) -> str:
    """What a program says about itself in one line. Some end badly when they are asked (sparse knows no --version)."""
    argv = [program, "--version"]
    check = program in PROGRAMS
    done = proc.run(argv, what=" ".join(argv), timeout=30, env={"PATH": TOOL_PATH, "LC_ALL": "C"}, check=check)
    return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), program)


def has(program: str) -> bool:
    """Whether the sandbox would find it."""
    return shutil.which(program, path=TOOL_PATH) is not None
