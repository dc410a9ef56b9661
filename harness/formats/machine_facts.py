# SPDX-License-Identifier: GPL-2.0-only
"""What a machine says of itself before it is asked anything else, and why it may not do."""

from __future__ import annotations

from dataclasses import dataclass

from harness.formats.lab_host import STATE
from harness.model.lab_host import OURS

PROBE = f"""\
echo "own $(cat {STATE}/known-good 2>/dev/null || sudo -n cat {STATE}/known-good 2>/dev/null)"
echo "release $(uname -r)"
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
echo "taint $(cat /proc/sys/kernel/tainted)"
echo "uid $(id -u)"
[ "$(id -u)" = 0 ] || {{ sudo -n true 2>/dev/null && echo "sudo yes"; }}
python3 -s -c 'import sys; from importlib.util import find_spec as f
print("python", "%d.%d" % sys.version_info[:2]); print("pytest", "yes" if f("pytest") else "no")' 2>/dev/null
:
"""
"""A sh script; its output is what :func:`read` reads."""
OLDEST_PYTHON = (3, 11)
_TAINT_DIE = 1 << 7
"""Documentation/admin-guide/tainted-kernels: the kernel died recently, it met an oops or a BUG."""
_TAINT_WORN = _TAINT_DIE | 1 << 5 | 1 << 9 | 1 << 14
"""The same, a bad page, a WARN, a lockup."""


@dataclass(frozen=True)
class Facts:
    """``root`` is what a command must begin with to run as root; None: it cannot. ``python``: (0, 0) where none is.
    ``oopsed``: the kernel died in part; ``worn``: it complained at least, and nothing new begins in it if it can be
    booted. ``own``: the release of the machine's own kernel, where a run has recorded it."""

    release: str
    boot_id: str
    oopsed: bool
    root: str | None
    python: tuple[int, ...]
    pytest: bool
    worn: bool = False
    own: str = ""

    @property
    def away(self) -> bool:
        """Whether it is in a kernel under test that a run has booted it into. One that no run has booted is its own."""
        return OURS in self.release and self.own not in ("", self.release)


def read(output: str) -> Facts:
    """The probe's output; what is missing or mangled reads as not there."""
    said = {key: value.strip() for key, _, value in (line.partition(" ") for line in output.splitlines())}
    taint, python = said.get("taint", ""), said.get("python", "").split(".")
    tainted = int(taint) if taint.isascii() and taint.isdecimal() else 0
    root = "" if said.get("uid") == "0" else "sudo -n " if said.get("sudo") == "yes" else None
    return Facts(
        said.get("release", ""),
        said.get("boot", ""),
        bool(tainted & _TAINT_DIE),
        root,
        tuple(int(part) for part in python) if all(part.isdecimal() for part in python) else (0, 0),
        said.get("pytest") == "yes",
        bool(tainted & _TAINT_WORN),
        said.get("own", ""),
    )


def unusable(facts: Facts) -> tuple[str, str] | None:
    """Why nothing of ours can run there, whatever its kernel, and what to do; None when it can."""
    if not facts.release or not facts.boot_id:
        return "does not say what it runs", "it must be a Linux machine with a POSIX shell"
    if facts.python < OLDEST_PYTHON or not facts.pytest:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return f"has no Python {oldest} with pytest", "install python3 and python3-pytest there"
    if facts.root is None:
        return "lets this user load no driver", "log in as root, or allow sudo without a password"
    return None


def unfit(facts: Facts, release: str) -> tuple[str, str] | None:
    """Why the suite cannot run there on this kernel, and what to do; None when it can."""
    if wrong := unusable(facts):
        return wrong
    if facts.release != release:
        return (
            f"runs {facts.release}, not {release}",
            "install and boot that kernel, or leave both to us: without '--boot never'",
        )
    if facts.oopsed:
        return "has a kernel that died in part (an oops or BUG)", "boot it anew"
    return None
