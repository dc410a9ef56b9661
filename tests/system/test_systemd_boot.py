# SPDX-License-Identifier: GPL-2.0-only
"""A lab machine with UEFI and systemd-boot: the kernel under test is booted once by the one-shot variable.

The machine is the lab host of the other tests, with a second disk that has the EFI partition."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import KERNEL, Harness
from harness.host import debs
from harness.host.apt import PrivateApt
from harness.host.lab_host import NAME, Hardware, LabHost
from harness.host.ssh_config import CONFIG
from harness.host.store import Store
from harness.targets.ssh.ways import BOOTED_ONCE, ONE_SHOT

DISK_BYTES = 300 << 20
UP_SECONDS = 600.0
INSTALL_SECONDS = 600.0
# GRUB stands where firmware ends: it replaces the IOMMU's table, as vm-images/lab-host does for GRUB's own boots.
INSTALL = """
set -e
echo 'type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B' | sfdisk --quiet --label gpt /dev/vdb
udevadm settle
mkfs.vfat -n ESP /dev/vdb1 >/dev/null
mkdir -p /efi
echo '/dev/disk/by-label/ESP /efi vfat umask=0077 0 0' >> /etc/fstab
mount /dev/vdb1 /efi
bootctl install --esp-path=/efi --no-variables
cp /boot/ivrs.aml /efi/
cat > /tmp/firmware.cfg <<'GRUB'
search.fs_label ESP root
acpi --exclude=IVRS /ivrs.aml
chainloader /EFI/systemd/systemd-bootx64.efi
boot
GRUB
grub-mkimage --format=x86_64-efi --output=/efi/EFI/BOOT/BOOTX64.EFI --prefix=/ --config=/tmp/firmware.cfg \
    acpi boot chain fat part_gpt search_label
cp /boot/vmlinuz-$(uname -r) /efi/vmlinuz
cp /boot/initrd.img-$(uname -r) /efi/initrd
printf 'default own.conf\\ntimeout 0\\n' > /efi/loader/loader.conf
printf 'title own\\nlinux /vmlinuz\\ninitrd /initrd\\noptions %s\\n' "$(sed 's/BOOT_IMAGE=[^ ]* //' /proc/cmdline)" \
    > /efi/loader/entries/own.conf
umount /efi
sync
"""

pytestmark = [pytest.mark.kernel, pytest.mark.qemu, pytest.mark.lab]


class UefiHost(LabHost):
    """Boots by UEFI from its second disk once ``firmware`` is there: code, and variables that live on."""

    firmware: tuple[Path, Path] | None = None

    def argv(self) -> list[str]:
        found = [*super().argv(), "-drive", f"file={self.folder}/esp.img,if=none,id=esp,format=raw"]
        found += ["-device", "virtio-blk-pci,drive=esp,bus=pcie.0,addr=0xd,bootindex=1"]
        if self.firmware is not None:
            code, variables = self.firmware
            found += ["-drive", f"if=pflash,format=raw,readonly=on,file={code}"]
            found += ["-drive", f"if=pflash,format=raw,file={variables}"]
        return found

    def run(self, script: str, seconds: float = 60.0) -> str:
        """Once it answers. AssertionError: the script fails."""
        there = self.log_in(UP_SECONDS)
        status, said = there.run(script, seconds)
        there.close()
        assert status == 0, said
        return said


def ovmf(store: Store, folder: Path) -> tuple[Path, Path]:
    """UEFI for QEMU, as Debian builds it: the code, and a machine's own variables."""
    apt = PrivateApt(store)
    deb = apt.download("ovmf", apt.versions("ovmf")[0])
    debs.unpack([deb], folder / "ovmf")
    found = folder / "ovmf/usr/share/OVMF"
    return found / "OVMF_CODE_4M.fd", Path(shutil.copy(found / "OVMF_VARS_4M.fd", folder))


@pytest.fixture
def host(tmp_path: Path) -> Iterator[UefiHost]:
    store = Store()
    machine = UefiHost(Hardware.prepare(store), tmp_path / "lab-host")
    with (machine.folder / "esp.img").open("wb") as disk:
        disk.truncate(DISK_BYTES)
    with machine:
        machine.run(INSTALL, INSTALL_SECONDS)
        machine.stop()
        machine.firmware = ovmf(store, tmp_path)
        machine.start()
        yield machine


def test_systemd_boot_boots_it_once(harness: Harness, host: UefiHost) -> None:
    assert host.run("bootctl is-installed").strip() == "yes"
    own = host.run("uname -r")
    words = ("--target", f"ssh:{NAME}", "--boot", "systemd-boot", "--boot-seconds", "600")
    ran = harness("run", "--kernel", KERNEL, *words, "-k", "e01", env={CONFIG: str(host.ssh_config)})
    assert ran.status == 0, ran
    found = {r["id"]: r["outcome"] for r in ran.report["lanes"]["head"]["results"] if "::" in r["id"]}
    assert {outcome for test, outcome in found.items() if "_e01_" in test} == {"PASS"}, ran
    assert "is booted by systemd-boot" in ran.stdout + ran.stderr, ran
    assert host.run("uname -r") == own
    assert host.run(f"ls {ONE_SHOT} /efi/{BOOTED_ONCE} 2>/dev/null; :") == ""
    assert host.run("ls /efi/loader/entries").split() == ["own.conf"]
