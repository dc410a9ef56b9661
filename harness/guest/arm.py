# SPDX-License-Identifier: GPL-2.0-only
"""Arm a machine's watchdog so that it outlives its kernel: ``python3 -s - SECONDS MODULE < arm.py``, as root. Alone, as
probe.py is.

Every one of these drivers stops its watchdog when the kernel goes down, by kexec too. One that may not be stopped
(nowayout), and whose driver is gone before, ticks on. A driver that is given the device back stops it: SECONDS 0 does
that for a machine which did not leave.
"""

from __future__ import annotations

import fcntl
import glob
import os
import struct
import subprocess
import sys

SETTIMEOUT = 0xC0045706  # _IOWR('W', 6, int), linux/watchdog.h
CLASS = "/sys/class/watchdog"
MODULES = "/sys/module"
DEVICES = "/dev"
RELEASED = (
    "busctl set-property org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager "
    "RuntimeWatchdogUSec t 0"
)
"""systemd holds the watchdog where RuntimeWatchdogSec= is set."""


def main(seconds: int, module: str) -> str:
    """What was done; exits with a line that says why not."""
    for words in (["/sbin/modprobe", module], RELEASED.split()):
        try:
            subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
        except (OSError, subprocess.SubprocessError):
            continue
    driver, device = bound(module) or bound_again(module)
    name = watchdog_of(driver, device)
    fd = os.open(f"{DEVICES}/{name}", os.O_WRONLY)
    if not seconds:
        os.write(fd, b"V")  # the magic close
        os.close(fd)
        return "stopped"
    granted = struct.unpack("i", fcntl.ioctl(fd, SETTIMEOUT, struct.pack("i", seconds)))[0]
    os.write(fd, b"\0")
    write(f"{CLASS}/{name}/nowayout", "1")
    os.close(fd)
    write(f"{driver}/unbind", os.path.basename(device))
    return f"armed for {granted} s"


def write(path: str, text: str) -> None:
    with open(path, "w") as stream:
        stream.write(text)


def bound(module: str) -> tuple[str, str] | None:
    """The folders of the module's driver and of the device that it has."""
    for driver in sorted(glob.glob(f"{MODULES}/{module}/drivers/*")):
        for link in sorted(glob.glob(f"{driver}/*")):
            if os.path.islink(link) and os.path.basename(link) != "module":
                return os.path.realpath(driver), os.path.realpath(link)
    return None


def bound_again(module: str) -> tuple[str, str]:
    """The same, where the device was taken away: each driver is offered what nobody drives, and takes only its own."""
    for driver in sorted(map(os.path.realpath, glob.glob(f"{MODULES}/{module}/drivers/*"))):
        for device in sorted(glob.glob(f"{os.path.dirname(os.path.dirname(driver))}/devices/*")):
            if not os.path.exists(f"{device}/driver"):
                try:
                    write(f"{driver}/bind", os.path.basename(device))
                except OSError:
                    continue
    found = bound(module)
    return found if found is not None else sys.exit(f"{module} drives no device")


def watchdog_of(driver: str, device: str) -> str:
    """The name of its watchdog. Not every driver says whose it is: then it is the one that is called as the driver is,
    or the only one."""
    names = sorted(os.listdir(CLASS))
    for name in names:
        if os.path.realpath(f"{CLASS}/{name}/device") == device:
            return name
    for name in names:
        with open(f"{CLASS}/{name}/identity") as stream:
            if stream.read().strip() == os.path.basename(driver) or len(names) == 1:
                return name
    sys.exit(f"no watchdog is that of {device}")


if __name__ == "__main__":
    print(main(int(sys.argv[1]), sys.argv[2]))
