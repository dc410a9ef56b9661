# SPDX-License-Identifier: GPL-2.0-only
"""The ways into a kernel once, done on the machine. Each is checked before the machine leaves: what is not sure to be
forgotten again is not tried."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from harness.errors import InfraError
from harness.formats import grub
from harness.host.leases import LeaseLost
from harness.model.boot_way import BootWay
from harness.model.lab_host import LabHost
from harness.targets.ssh.kernels import There
from harness.targets.ssh.machine import Machine

PATHS = "export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin\n"
LOAD_SECONDS = 180.0
ONE_SHOT = "/sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
"""systemd's boot loader interface: https://systemd.io/BOOT_LOADER_INTERFACE"""
LEAVE = "(sleep 1; %s) </dev/null >/dev/null 2>&1 & :"
"""Behind the back of our connection, which does not outlive it."""
BOOTED_ONCE = "xdna-harness-once"
"""The folder on systemd-boot's partition. Not that of our kernels, which is on the same partition where that is /boot.
"""


def prepare(machine: Machine, host: LabHost, way: BootWay, there: There, line: str) -> str:
    """Make the machine ready to boot this kernel once: the command that leaves. InfraError."""
    return WAYS[way](machine, host, there, line)


def leave(machine: Machine, command: str) -> None:
    """Go. An answer that does not come any more is none of our business. InfraError: it says no, or is another's."""
    try:
        machine.do("leaving its kernel", LEAVE % command)
    except InfraError as error:
        if isinstance(error, LeaseLost) or not error.transient:
            raise


def reboot(host: LabHost) -> str:
    """Into what the machine boots by default."""
    return "systemctl reboot" if host.systemd else "reboot"


def forget(machine: Machine, host: LabHost) -> None:
    """A kernel under test is no entry of the machine's boot menu for longer than it is needed. InfraError."""
    if top := host.boot_partition:
        machine.do("clearing the boot partition", f"rm -rf {top}/{BOOTED_ONCE} {top}/loader/entries/xdna-*.conf")
    if host.grub is not None:
        custom = f"{host.grub.folder}/custom.cfg"
        old = _read(machine, custom)
        if grub.entry_ids(old):
            _write(machine, custom, grub.with_entries(old, ()))


def _kexec(machine: Machine, host: LabHost, there: There, line: str) -> str:
    """kexec_file_load, or the older call where the kernel has not got it."""
    initrd = f"--initrd={there.initrd} " if there.initrd else ""
    words = f"-l {there.image} {initrd}--command-line={_quoted(line)}"
    machine.do("loading it by kexec", f"{PATHS}kexec -s {words} || kexec -c {words}", LOAD_SECONDS)
    if machine.do("asking kexec", "cat /sys/kernel/kexec_loaded").strip() != "1":
        raise InfraError(f"{machine.name}: kexec says it has loaded the kernel, and its own kernel says it has not")
    return "systemctl kexec" if host.systemd else "sync; kexec -e"


def _grub(machine: Machine, host: LabHost, there: There, line: str) -> str:
    """An entry in custom.cfg, and grubenv's next_entry, which GRUB forgets before it boots it."""
    assert host.grub is not None
    found = host.grub
    entry = grub.Entry(there.release, line, there.image, there.initrd, found.mount, found.uuid)
    custom = f"{found.folder}/custom.cfg"
    _write(machine, custom, grub.with_entries(_read(machine, custom), [entry]))
    machine.do("choosing its entry", f"{PATHS}{found.reboot} {entry.id} && sync")
    editenv = found.reboot.replace("reboot", "editenv")
    said = machine.do("reading grubenv", f"{PATHS}{editenv} {found.folder}/grubenv list")
    if grub.next_entry(said) != entry.id:
        raise InfraError(f"{machine.name}: {found.reboot} did not set next_entry: {said.strip()!r}")
    return reboot(host)


def _read(machine: Machine, custom: str) -> str:
    """custom.cfg, every byte of it, for :func:`_write`; nothing where there is none. InfraError: that is not known."""
    said = machine.do("reading custom.cfg", f"if [ -e {custom} ]; then base64 -w 0 {custom}; fi")
    return base64.b64decode(said).decode(errors="surrogateescape")


def _write(machine: Machine, custom: str, text: str) -> None:
    """The same with our entries, or without; an empty one is taken away."""
    script = f"cat > {custom}.part && sync && mv {custom}.part {custom}" if text else f"rm -f {custom}"
    machine.do("writing custom.cfg", script, 60.0, text.encode(errors="surrogateescape"))


def _systemd_boot(machine: Machine, host: LabHost, there: There, line: str) -> str:
    """A Type #1 entry beside the others, and bootctl's one-shot variable."""
    top = host.boot_partition
    folder, name = f"{top}/{BOOTED_ONCE}", f"xdna-{there.release}.conf"
    files = [there.image, *([there.initrd] if there.initrd else [])]
    # The partition is small, and only what boots next must be there.
    copies = "; ".join(f"cp {file} {folder}/" for file in files)
    machine.do(
        "copying it to the boot partition", f"set -e; rm -rf {folder}; mkdir -p {folder}; {copies}", LOAD_SECONDS
    )
    base = [f"title {there.release}", f"linux /{BOOTED_ONCE}/{there.image.rpartition('/')[2]}"]
    base += [f"initrd /{BOOTED_ONCE}/{there.initrd.rpartition('/')[2]}"] if there.initrd else []
    text = "\n".join([*base, f"options {line}", ""])
    entries = f"{top}/loader/entries"
    script = f"set -e; rm -f {entries}/xdna-*.conf; cat > {entries}/{name}; sync; {PATHS}bootctl set-oneshot {name}"
    machine.do("choosing its entry", script, 60.0, text.encode())
    machine.do("reading the one-shot variable", f"test -s {ONE_SHOT}")
    return reboot(host)


Way = Callable[[Machine, LabHost, There, str], str]
WAYS: Mapping[BootWay, Way] = {BootWay.KEXEC: _kexec, BootWay.GRUB: _grub, BootWay.SYSTEMD_BOOT: _systemd_boot}


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
