# SPDX-License-Identifier: GPL-2.0-only
"""Which compiler, linker and make there are: they are part of every kernel's key."""

from __future__ import annotations

import functools
import platform

from harness.host import proc
from harness.host.sandbox import TOOL_PATH

PROGRAMS = ("gcc", "ld", "make")


@functools.cache
def version() -> str:
    """The machine, and each program's own words, a line each. InfraError when one is missing."""
    lines = [platform.machine()]
    for program in PROGRAMS:
        argv = [program, "--version"]
        done = proc.run(argv, what=" ".join(argv), timeout=30, env={"PATH": TOOL_PATH, "LC_ALL": "C"})
        lines.append(done.stdout.partition("\n")[0])
    return "\n".join(lines)
