#!/usr/bin/python3 -IS
# SPDX-License-Identifier: GPL-2.0-only
"""PID 1 of the test guest: mounts what a test needs, asks the host for the rest, and hands over.

It is part of the read-only image, so it changes rarely; everything else (agent, suite, modules, firmware)
arrives through the port at each boot. If anything fails it says why on the console and powers off.
"""

import ctypes
import gc
import os
import sys
import time

PORT = "xdna"
PORTS = "/sys/class/virtio-ports"
HOME = "/run/xdna"
PORT_SECONDS = 20.0
POWER_OFF = 0x4321FEDC

NOSUID, NODEV, NOEXEC = 2, 4, 8
MOUNTS = (
    ("devtmpfs", "/dev", NOSUID, "mode=0755"),
    ("proc", "/proc", NOSUID | NODEV | NOEXEC, ""),
    ("sysfs", "/sys", NOSUID | NODEV | NOEXEC, ""),
    ("tmpfs", "/run", NOSUID | NODEV, "mode=0755"),
    ("tmpfs", "/tmp", NOSUID | NODEV, "mode=1777"),
    ("tmpfs", "/dev/shm", NOSUID | NODEV, "mode=1777"),
    ("devpts", "/dev/pts", NOSUID | NOEXEC, "mode=0620,ptmxmode=0666"),
    ("debugfs", "/sys/kernel/debug", NOSUID | NODEV | NOEXEC, ""),
    ("tracefs", "/sys/kernel/tracing", NOSUID | NODEV | NOEXEC, ""),
    ("cgroup2", "/sys/fs/cgroup", NOSUID | NODEV | NOEXEC, ""),
)
REQUIRED = {"devtmpfs", "proc", "sysfs", "tmpfs"}

libc = ctypes.CDLL(None, use_errno=True)


def mount(kind: str, where: str, flags: int, options: str) -> None:
    """mount(2). A file system that this kernel lacks is only an error if nothing works without it."""
    if where.startswith("/dev/"):
        os.makedirs(where, exist_ok=True)
    if libc.mount(kind.encode(), where.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()):
        number = ctypes.get_errno()
        if kind in REQUIRED:
            raise OSError(number, f"mounting {kind} on {where}: {os.strerror(number)}")
        say(f"no {kind} on {where}: {os.strerror(number)}")


def say(text: str) -> None:
    """One line on the console."""
    os.write(2, f"xdna-init: {text}\n".encode(errors="replace"))


def write(path: str, text: str) -> None:
    with open(path, "w") as stream:
        stream.write(text)


def prepare() -> None:
    """Mount, take the console, and set what the kernel wants to know before the modules are loaded."""
    mount(*MOUNTS[0])
    console = os.open("/dev/console", os.O_RDWR | os.O_NOCTTY)
    for number in (0, 1, 2):
        os.dup2(console, number)
    if console > 2:
        os.close(console)
    for entry in MOUNTS[1:]:
        mount(*entry)
    os.mkdir(HOME)
    os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/tmp", LANG="C.UTF-8", TERM="dumb")
    write("/sys/module/firmware_class/parameters/path", f"{HOME}/firmware")
    if os.path.exists("/sys/fs/cgroup/cgroup.subtree_control"):
        write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")


def open_port() -> int:
    """The virtio-serial port with our name; the kernel may still be finding it."""
    deadline = time.monotonic() + PORT_SECONDS
    while time.monotonic() < deadline:
        for entry in os.listdir("/sys/class/virtio-ports") if os.path.isdir("/sys/class/virtio-ports") else ():
            with open(f"/sys/class/virtio-ports/{entry}/name") as stream:
                if stream.read().strip() == PORT:
                    return os.open(f"/dev/{entry}", os.O_RDWR | os.O_CLOEXEC)
        time.sleep(0.01)
    raise TimeoutError(f"no virtio port named {PORT} after {PORT_SECONDS:.0f} s")


def receive(port: int, size: int) -> bytes:
    """Exactly ``size`` bytes, or a whole line without its end when ``size`` is 0."""
    data = bytearray()
    while len(data) < size or not size:
        piece = os.read(port, min(size - len(data), 1 << 15) if size else 1)
        if not piece:  # the host has not opened its end yet
            time.sleep(0.002)
        elif piece == b"\n" and not size:
            break
        else:
            data += piece
    return bytes(data)


def fetch(port: int) -> None:
    """Say hello and unpack the tar that the host answers with."""
    with open("/proc/uptime") as stream:
        uptime = stream.read().split()[0]
    python = ".".join(str(part) for part in sys.version_info[:3])
    hello = f'{{"event":"hello","release":"{os.uname().release}","python":"{python}","uptime":{uptime}}}\n'
    os.write(port, hello.encode())

    import io  # the host packs its tar while these are loaded
    import json
    import tarfile

    answer = json.loads(receive(port, 0))
    with tarfile.open(fileobj=io.BytesIO(receive(port, int(answer["put"])))) as tar:
        tar.extractall(HOME, filter="tar")


def payload_disk() -> str:
    """The disk that carries the payload when somebody boots by hand (xdna.payload=/dev/vdb), else empty."""
    with open("/proc/cmdline") as stream:
        words = stream.read().split()
    return next((word.partition("=")[2] for word in words if word.startswith("xdna.payload=")), "")


def main() -> None:
    gc.disable()  # nothing is garbage yet, and start-up is what everybody waits for
    prepare()
    disk = payload_disk()
    port = -1 if disk else open_port()
    if disk:
        import tarfile

        with tarfile.open(disk) as tar:
            tar.extractall(HOME, filter="tar")
    else:
        fetch(port)
    sys.path[:0] = [HOME]
    sys.path.append("/usr/lib/python3/dist-packages")
    from harness.guest import agent

    if disk:
        agent.by_hand()
    else:
        agent.main(port)


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        import traceback

        say(traceback.format_exc())
    finally:
        os.sync()
        libc.reboot(ctypes.c_int(POWER_OFF))
