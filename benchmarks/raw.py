# SPDX-License-Identifier: GPL-2.0-only
"""The same by hand: make, QEMU, and virtme-ng as a developer would otherwise do it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.ours import command
from harness.host.vm import Machine, Sockets, escaped, qemu_argv

JOBS = f"-j{os.cpu_count()}"
DRIVER = "drivers/accel/amdxdna"
# In the order in which they need each other.
MODULES = ("drivers/gpu/drm/drm_shmem_helper.ko", "drivers/gpu/drm/scheduler/gpu-sched.ko", f"{DRIVER}/amdxdna.ko")
BOOT_SECONDS = 600
# What virtme-ng mounts the host's files with; all else of the configuration is ours.
VIRTME_SYMBOLS = (
    *("NETWORK_FILESYSTEMS", "NET_9P", "NET_9P_VIRTIO", "9P_FS", "9P_FS_POSIX_ACL", "OVERLAY_FS", "TMPFS_XATTR"),
    *("VIRTIO_CONSOLE", "BINFMT_SCRIPT", "BINFMT_ELF", "DEVTMPFS", "DEVTMPFS_MOUNT", "MULTIUSER"),
)


def make_kernel(source: Path, config: Path, build: Path) -> None:
    """make of a configuration, without a compiler cache."""
    build.mkdir()
    shutil.copy(config, build / ".config")
    make = ["make", "-C", str(source), f"O={build}", JOBS]
    command([*make, "olddefconfig"])
    command([*make, "bzImage", "modules"])


def own_kernel(build: Path, source: Path, copy: Path) -> Path:
    """A copy of a kernel's build folder that make finds its source from: ours was built at another path."""
    shutil.copytree(build, copy, symlinks=True)
    (copy / "Makefile").write_text(f"export KBUILD_OUTPUT = {copy}\ninclude {source / 'Makefile'}\n")
    return copy


def make_driver(kernel: Path, tree: Path, objects: Path) -> None:
    """make of a tree's driver against a built kernel."""
    objects.mkdir(exist_ok=True)
    command(["make", "-C", str(kernel), f"M={tree / DRIVER}", f"MO={objects}", JOBS, "modules"])


def boot(machine: Machine, scratch: Path) -> None:
    """QEMU from its start to the first program, which ends at once, and the guest with it."""
    console = scratch / "raw-console.log"
    bare = replace(machine, sockets=Sockets(scratch), console=console, plugged=False, parameters=("init=/bin/false",))
    argv = qemu_argv(bare)
    port = argv.index(f"socket,id=port,path={escaped(scratch / 'port')}")
    argv[port] = "null,id=port"
    subprocess.run(argv, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOOT_SECONDS)
    if "Attempted to kill init" not in console.read_text(errors="replace"):
        raise RuntimeError(f"the guest did not get to its first program: {console}")


class Virtme:
    """virtme-ng in a kernel tree, warm. ``qemu`` is the argv prefix of QEMU."""

    def __init__(self, tree: Path, config: Path, qemu: tuple[str, ...], kvm: bool, scratch: Path) -> None:
        self.tree = tree
        self.kvm = kvm
        self.program = str(Path(sys.executable).with_name("vng"))
        self.qemu = scratch / "qemu"
        self.qemu.write_text(f'#!/bin/sh\nexec {shlex.join(qemu)} "$@"\n')
        self.qemu.chmod(0o755)
        shutil.copy(config, tree / ".config")
        enable = [word for symbol in VIRTME_SYMBOLS for word in ("--enable", symbol)]
        command([str(tree / "scripts/config"), "--file", str(tree / ".config"), *enable])
        command(["make", "olddefconfig"], tree)

    def build(self) -> None:
        command([self.program, "--build"], self.tree)

    def boot(self) -> None:
        """Boot the kernel and load the driver, which finds no NPU.

        Without udev in the guest virtme-ng finds no port for the words of what it runs, which then go to the console
        and are seen with --verbose only.
        """
        load = " && ".join([*(f"insmod {module}" for module in MODULES), "echo loaded into $(uname -r)"])
        words = [
            self.program,
            "--verbose",
            "--run",
            ".",
            "--force-9p",
            "--qemu",
            str(self.qemu),
            "--memory",
            "2G",
            "--cpus",
            "2",
        ]
        words += ["--user", "root", *([] if self.kvm else ["--disable-kvm"]), "--exec", load]
        done = subprocess.run(
            words,
            cwd=self.tree,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOOT_SECONDS,
            check=False,
        )
        # Its status is 255 without such a port, whatever the guest did.
        if "loaded into " not in done.stdout + done.stderr:
            raise RuntimeError(f"virtme-ng loaded no driver: {shlex.join(words)}\n{done.stderr[-2000:]}")
