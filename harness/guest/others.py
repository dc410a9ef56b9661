# SPDX-License-Identifier: GPL-2.0-only
"""What belongs to others on a machine that is not ours alone: their processes and shared memory come and go, and say
nothing of the driver."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from harness.guest.sysfs import entries, read, target

_TMPFS = re.compile(r"^\S+ /(\S*) (?:dev)?tmpfs ", re.MULTILINE)
_NAMELESS = ("/memfd:", "/dev/zero (deleted)", "/SYSV")
"""Shared memory that is in no file system: memfd_create(2), MAP_SHARED | MAP_ANONYMOUS, shmget(2)."""
_MAPPED = re.compile(rf"^(?:\S+ ){{4}}(\d+) +(?:{'|'.join(map(re.escape, _NAMELESS))})", re.MULTILINE)


def alone(root: str = "/") -> bool:
    """Whether all processes are ours: the first one is this Python, or nobody can tell."""
    first = target(f"{root}proc/1/exe")
    return not first or first == os.readlink("/proc/self/exe")


def living(root: str = "/") -> int:
    """Processes with an address space, which has a size (proc(5), statm); threads of the kernel have none."""
    sizes = (read(f"{process}/statm").split() for process in _processes(root))
    return sum(bool(size) and size[0] != "0" for size in sizes)


def shared_files(root: str = "/") -> int:
    """Files of shared memory that somebody can be seen to have: in a tmpfs of any mount namespace, or nameless and held
    by a process. A file that only a driver holds is not among them."""
    running = programs(root)
    return _in_tmpfs(running) + len(set(nameless(running)))


def _in_tmpfs(processes: Sequence[str]) -> int:
    """Each file there is one (Documentation/filesystems/tmpfs.rst, nr_inodes). systemd's units and udev's nodes are
    such; some services have a /tmp of their own."""
    namespaces = {target(f"{process}/ns/mnt"): process for process in processes}
    used: dict[int, int] = {}
    for process in namespaces.values():
        for folder in _TMPFS.findall(read(f"{process}/mounts")):
            with suppress(OSError):
                there = os.statvfs(f"{process}/root/{folder}")
                used[os.stat(f"{process}/root/{folder}").st_dev] = there.f_files - there.f_ffree
    return sum(used.values())


def nameless(processes: Sequence[str]) -> Iterator[int]:
    """Files that processes hold or map, by number. systemd keeps its state in one whenever it reads its units again."""
    for process in processes:
        for name in entries(f"{process}/fd"):
            with suppress(OSError):
                if target(f"{process}/fd/{name}").startswith(_NAMELESS):
                    yield os.stat(f"{process}/fd/{name}").st_ino
        yield from map(int, _MAPPED.findall(read(f"{process}/maps")))


def _processes(root: str) -> list[str]:
    return [f"{root}proc/{name}" for name in entries(f"{root}proc") if name.isdigit()]


def programs(root: str = "/") -> list[str]:
    """Processes in proc(5) without the threads of the kernel, which have no files, and are most of all."""
    return [process for process in _processes(root) if target(f"{process}/exe")]
