#!/usr/bin/python3 -IS
# SPDX-License-Identifier: GPL-2.0-only
"""PID 1 of a stand-in for a lab machine: mounts, brings up eth0, runs sshd, and lives on when that ends.

Who may log in comes on the kernel's command line, xdna.key=TYPE,BASE64 (a public key); the host key is made at each
boot and its public half is said on the console.
"""

import ctypes
import os
import subprocess
import sys
import time

RUN = "/run/ssh"
HOST_KEY = f"{RUN}/host_key"
ADDRESS, GATEWAY = "10.0.2.15/24", "10.0.2.2"  # QEMU's user networking
POWER_OFF = 0x4321FEDC
NOSUID, NODEV, NOEXEC, BIND = 2, 4, 8, 0x1000

MOUNTS = (
    ("devtmpfs", "/dev", NOSUID, "mode=0755"),
    ("proc", "/proc", NOSUID | NODEV | NOEXEC, ""),
    ("sysfs", "/sys", NOSUID | NODEV | NOEXEC, ""),
    ("tmpfs", "/run", NOSUID | NODEV, "mode=0755"),
    ("tmpfs", "/tmp", NOSUID | NODEV, "mode=1777"),
    ("tmpfs", "/var/tmp", NOSUID | NODEV, "mode=1777"),
    ("tmpfs", "/root", NOSUID | NODEV, "mode=0700"),
    ("tmpfs", "/dev/shm", NOSUID | NODEV, "mode=1777"),
    ("devpts", "/dev/pts", NOSUID | NOEXEC, "mode=0620,ptmxmode=0666"),
    ("debugfs", "/sys/kernel/debug", NOSUID | NODEV | NOEXEC, ""),
    ("tracefs", "/sys/kernel/tracing", NOSUID | NODEV | NOEXEC, ""),
    ("cgroup2", "/sys/fs/cgroup", NOSUID | NODEV | NOEXEC, ""),
)

# An unprivileged user: sshd's own, and one who may log in but not load a driver.
USERS = "sshd:*:100:65534:sshd:/run/sshd:/usr/sbin/nologin\nguest:*:1000:1000:guest:/tmp:/bin/bash\n"
CONFIG = f"""
HostKey {HOST_KEY}
AuthorizedKeysFile {RUN}/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
UseDNS no
PidFile {RUN}/sshd.pid
Subsystem sftp /usr/lib/openssh/sftp-server
"""

# The emulated NPU takes any content; a real machine has linux-firmware.
FIRMWARE = ("1502_00", "17f0_10", "17f0_11")

libc = ctypes.CDLL(None, use_errno=True)


def say(text: str) -> None:
    """One line on the console."""
    os.write(2, f"xdna-init: {text}\n".encode(errors="replace"))


def mount(kind: str, where: str, flags: int, options: str = "", source: str = "") -> None:
    """mount(2). What this kernel lacks is said; what needs it will complain."""
    if where.startswith("/dev/"):
        os.makedirs(where, exist_ok=True)
    words = (source or kind).encode(), where.encode(), kind.encode()
    if libc.mount(*words, ctypes.c_ulong(flags), options.encode()):
        say(f"no {kind} on {where}: {os.strerror(ctypes.get_errno())}")


def write(path: str, text: str) -> None:
    with open(path, "w") as stream:
        stream.write(text)


def prepare() -> None:
    """Mount, take the console, add the users."""
    mount(*MOUNTS[0])
    console = os.open("/dev/console", os.O_RDWR | os.O_NOCTTY)
    for number in (0, 1, 2):
        os.dup2(console, number)
    for entry in MOUNTS[1:]:
        mount(*entry)
    os.environ.update(PATH="/usr/sbin:/usr/bin:/sbin:/bin", HOME="/root", LANG="C.UTF-8", TERM="dumb")
    os.makedirs(RUN)
    os.makedirs("/run/sshd")
    with open("/etc/passwd") as stream:
        write(f"{RUN}/passwd", stream.read() + USERS)
    mount("none", "/etc/passwd", BIND, source=f"{RUN}/passwd")
    for name in FIRMWARE:
        os.makedirs(f"/run/firmware/amdnpu/{name}")
        write(f"/run/firmware/amdnpu/{name}/npu_7.sbin", "emulated firmware\n" * 64)
    write("/sys/module/firmware_class/parameters/path", "/run/firmware")
    if os.path.exists("/sys/fs/cgroup/cgroup.subtree_control"):
        write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")


def network() -> None:
    """lo and eth0, as a machine in a lab would have them."""
    for words in (
        "link set lo up",
        f"addr add {ADDRESS} dev eth0",
        "link set eth0 up",
        f"route add default via {GATEWAY}",
    ):
        subprocess.run(["ip", *words.split()], check=True, timeout=60)


def sshd() -> None:
    """A host key of this boot, the user's key, and the daemon."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", HOST_KEY], check=True, timeout=120)
    with open("/proc/cmdline") as stream:
        words = stream.read().split()
    allowed = [word.partition("=")[2] for word in words if word.startswith("xdna.key=")]
    write(f"{RUN}/authorized_keys", "".join(key.replace(",", " ") + "\n" for key in allowed))
    write(f"{RUN}/config", CONFIG)
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", f"{RUN}/config"])
    with open(f"{HOST_KEY}.pub") as stream:
        say("host key: " + " ".join(stream.read().split()[:2]))


def wait() -> None:
    """Reap all that ends, for ever."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            time.sleep(1)


if __name__ == "__main__":
    try:
        prepare()
        network()
        sshd()
        wait()
    except BaseException:
        import traceback

        say(traceback.format_exc())
    finally:
        sys.stdout.flush()
        os.sync()
        libc.reboot(ctypes.c_int(POWER_OFF))
