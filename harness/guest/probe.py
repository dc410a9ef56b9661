# SPDX-License-Identifier: GPL-2.0-only
"""What a lab machine says of how it boots, as one line of JSON: ``python3 -s - OURS STATE < probe.py``, as root.

Alone: nothing of the harness is there yet. One process rather than a shell script's hundreds: the machine may be slow.
What cannot be found out is left out.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

TOOL_SECONDS = 20
OLD_SECONDS = 600
PATHS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WATCHDOGS = {
    ("0x8086", "0x25ab"): "i6300esb",
    ("0x1022", "0x790b"): "sp5100_tco",
    ("0x1022", "0x780b"): "sp5100_tco",
    ("0x1002", "0x4385"): "sp5100_tco",
}
"""By the PCI device that the watchdog is in."""
LOADER = "/sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
"""Who booted this kernel, where it says so (https://systemd.io/BOOT_LOADER_INTERFACE): four bytes, then UTF-16."""
OURS = re.compile(r"xdna-[A-Za-z0-9]{8}")
"""As mktemp names an agent's folder."""
KEEPER = "harness/guest/keeper.py"
"""What it has, and nobody else's of such a name."""
INTEL, SMBUS = "0x8086", "0x0c05"


def main(ours: str, state: str) -> dict[str, object]:
    os.environ.update(PATH=PATHS, LC_ALL="C")
    root = tool("findmnt", "-nvo", "SOURCE", "/")
    return {
        "release": os.uname().release,
        "cmdline": text("/proc/cmdline"),
        "root": root,
        "rootfs": tool("findmnt", "-nvo", "FSTYPE", "/"),
        "partuuid": tool("lsblk", "-ndo", "PARTUUID", root) or tool("blkid", "-s", "PARTUUID", "-o", "value", root),
        "below": tool("lsblk", "-nso", "TYPE", root).split(),
        "systemd": os.path.isdir("/run/systemd/system"),
        "kexec": bool(shutil.which("kexec")) and text("/proc/sys/kernel/kexec_load_disabled") == "0",
        "lockdown": text("/sys/kernel/security/lockdown"),
        "grub": next((grub(folder) for folder in ("/boot/grub", "/boot/grub2") if text(f"{folder}/grub.cfg")), None),
        "loader": loader(),
        "sdboot": tool("bootctl", "-x") if tool("bootctl", "is-installed") == "yes" else "",
        "initramfs": next((name for name in ("mkinitramfs", "dracut", "mkinitcpio") if shutil.which(name)), ""),
        "watchdog": next(watchdogs(), ""),
        "free": {folder: free(folder) for folder in ("/boot", "/lib/modules", "/tmp") if os.path.isdir(folder)},
        "ours": [installed(path) for path in sorted(glob.glob(f"{ours}/vmlinuz-*")) if not path.endswith(".part")],
        "known": text(f"{state}/known-good"),
        "clock": time.time(),
        "users": sorted(users()),
        "left": sorted(left()),
        "taint": int(text("/proc/sys/kernel/tainted") or 0),
    }


def text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def loader() -> str:
    try:
        return Path(LOADER).read_bytes()[4:].decode("utf-16-le", "replace").rstrip("\0")
    except OSError:
        return ""


def tool(*argv: str) -> str:
    """What a program prints; nothing when it is not there or says no."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def grub(folder: str) -> dict[str, object]:
    """Whether GRUB boots something once, and where it would have to note that it did."""
    config = text(f"{folder}/grub.cfg")
    device = tool("findmnt", "-nvo", "SOURCE", "-T", folder)
    return {
        "folder": folder,
        "reboot": next((name for name in ("grub-reboot", "grub2-reboot") if shutil.which(name)), ""),
        "once": "save_env next_entry" in config and 'default="${next_entry}"' in config,
        "custom": "custom.cfg" in config,
        "fs": tool("findmnt", "-nvo", "FSTYPE", "-T", folder),
        "below": tool("lsblk", "-nso", "TYPE", device).split(),
        "uuid": tool("lsblk", "-ndo", "UUID", device) or tool("blkid", "-s", "UUID", "-o", "value", device),
        "mount": tool("findmnt", "-nvo", "TARGET", "-T", folder),
    }


def watchdogs() -> Iterator[str]:
    for device in sorted(glob.glob("/sys/bus/pci/devices/*")):
        vendor = text(f"{device}/vendor")
        if found := WATCHDOGS.get((vendor, text(f"{device}/device"))):
            yield found
        elif vendor == INTEL and text(f"{device}/class").startswith(SMBUS):
            yield "iTCO_wdt"


def free(folder: str) -> int:
    """KiB."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize >> 10


def installed(path: str) -> list[object]:
    """Release, KiB, when it was booted last."""
    found = os.stat(path)
    return [os.path.basename(path).removeprefix("vmlinuz-"), found.st_size >> 10, int(found.st_mtime)]


def users() -> set[str]:
    """Who has the NPU open and is not one of our agents."""
    found = set()
    for link in glob.glob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(link).startswith("/dev/accel/accel"):
                process = link.split("/")[2]
                if not os.readlink(f"/proc/{process}/cwd").startswith("/tmp/xdna-"):
                    found.add(f"{text(f'/proc/{process}/comm')} (process {process})")
        except OSError:
            continue
    return found


def left(top: str = "/tmp") -> set[str]:
    """Folders of agents that no process works in any more."""
    works = set()
    for link in glob.glob("/proc/[0-9]*/cwd"):
        try:
            works.add("/".join(os.readlink(link).split("/")[: top.count("/") + 2]))
        except OSError:
            continue
    return {path for path in glob.glob(f"{top}/xdna-*") if abandoned(path)} - works


def abandoned(path: str) -> bool:
    """Whether it was an agent's folder: anybody may make one in /tmp, and call it what he likes."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid in (os.getuid(), int(os.environ.get("SUDO_UID") or 0))
    named = OURS.fullmatch(os.path.basename(path)) is not None
    return ours and named and os.path.isfile(f"{path}/{KEEPER}") and found.st_mtime < time.time() - OLD_SECONDS


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:3])))
