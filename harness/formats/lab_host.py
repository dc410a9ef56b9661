# SPDX-License-Identifier: GPL-2.0-only
"""What a lab machine says of how it boots, in its own words: asked as root, before anything is installed there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from harness.model.lab_host import Grub, Installed, LabHost

HOME = "/boot/xdna-harness"
"""Where our kernels are on the machine: beside its own, and out of sight of grub-mkconfig, which would make the newest
of /boot its default."""
STATE = "/var/lib/xdna-harness"

PROBE = r"""
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
say() { printf '%s %s\n' "$1" "$2" | head -c 4000; }
say release "$(uname -r)"
say cmdline "$(cat /proc/cmdline)"
root=$(findmnt -nvo SOURCE /)
say root "$root"
say rootfs "$(findmnt -no FSTYPE /)"
say partuuid "$(lsblk -ndo PARTUUID "$root" 2>/dev/null)"
say below "$(lsblk -nso TYPE "$root" 2>/dev/null | tr '\n' ' ')"
[ -d /run/systemd/system ] && say systemd yes
command -v kexec >/dev/null && say kexec "$(cat /proc/sys/kernel/kexec_load_disabled)"
say lockdown "$(cat /sys/kernel/security/lockdown 2>/dev/null)"
for dir in /boot/grub /boot/grub2; do
  [ -f $dir/grub.cfg ] || continue
  say grub $dir
  say grubfs "$(findmnt -nvo FSTYPE -T $dir)"
  dev=$(findmnt -nvo SOURCE -T $dir)
  say grubbelow "$(lsblk -nso TYPE "$dev" 2>/dev/null | tr '\n' ' ')"
  say grubuuid "$(lsblk -ndo UUID "$dev" 2>/dev/null)"
  say grubmount "$(findmnt -no TARGET -T $dir)"
  grep -q 'save_env next_entry' $dir/grub.cfg && grep -q 'default="${next_entry}"' $dir/grub.cfg && say grubonce yes
  grep -q 'custom.cfg' $dir/grub.cfg && say grubcustom yes
  break
done
for tool in grub-reboot grub2-reboot; do command -v $tool >/dev/null && say grubreboot $tool; done
if command -v bootctl >/dev/null && bootctl is-installed >/dev/null 2>&1; then
  say sdboot "$(bootctl -x 2>/dev/null)"
fi
for tool in mkinitramfs dracut mkinitcpio; do command -v $tool >/dev/null && { say initramfs $tool; break; }; done
for dev in /sys/bus/pci/devices/*; do
  case "$(cat $dev/vendor $dev/device $dev/class | tr '\n' ' ')" in
    '0x8086 0x25ab '*) say watchdog i6300esb;;
    '0x1022 0x790b '*|'0x1022 0x780b '*|'0x1002 0x4385 '*) say watchdog sp5100_tco;;
    '0x8086 '*' 0x0c05'*) say watchdog iTCO_wdt;;
  esac
done
for dir in /boot /lib/modules /tmp /var/lib; do say free "$(df -Pk $dir | awk -v d=$dir 'END{print d, $4}')"; done
for file in HOME/vmlinuz-*; do
  [ -f "$file" ] && say ours "${file#*/vmlinuz-} $(du -k "$file" | cut -f1) $(stat -c %Y "$file")"
done
say known "$(cat STATE/known-good 2>/dev/null)"
say clock "$(date +%s.%N)"
for dev in /dev/accel/accel*; do
  [ -e "$dev" ] || continue
  for fd in /proc/[0-9]*/fd/*; do
    [ "$(readlink "$fd")" = "$dev" ] || continue
    pid=${fd#/proc/}; pid=${pid%%/*}
    case "$(readlink /proc/$pid/cwd)" in /tmp/xdna-*) ;; *) say user "$(cat /proc/$pid/comm) (process $pid)";; esac
  done
done 2>/dev/null
for left in $(find /tmp -maxdepth 1 -type d -mmin +10 -name 'xdna-????????' 2>/dev/null); do
  readlink /proc/[0-9]*/cwd | grep -q "^$left" || say left "$left"
done
say taint "$(cat /proc/sys/kernel/tainted)"
:
""".replace("HOME", HOME).replace("STATE", STATE)


GRUB_WRITES = ("ext2", "ext3", "ext4", "vfat", "xfs")
"""File systems on which GRUB's save_env can write grubenv in place (its manual, "Environment block"): no btrfs, no
zfs."""
PLAIN = {"part", "disk"}
"""lsblk's types of what GRUB writes through: no LVM, no RAID, no encryption."""


def read(output: str) -> LabHost:
    """The probe's output; what is missing or mangled reads as not there."""
    said: dict[str, list[str]] = {}
    for line in output.splitlines():
        key, _, value = line.partition(" ")
        said.setdefault(key, []).append(value.strip())
    one = {key: values[0] for key, values in said.items()}
    stacked = set(one.get("below", "").split()) - PLAIN
    lockdown = one.get("lockdown", "")
    return LabHost(
        release=one.get("release", ""),
        cmdline=one.get("cmdline", ""),
        rootfs=one.get("rootfs", ""),
        partuuid="" if stacked else one.get("partuuid", ""),
        systemd=one.get("systemd") == "yes",
        kexec=one.get("kexec") == "0" and ("[" not in lockdown or "[none]" in lockdown),
        grub=_grub(one),
        boot_partition=one.get("sdboot", ""),
        initramfs=one.get("initramfs", ""),
        watchdog=one.get("watchdog", ""),
        free=dict(_free(said.get("free", ()))),
        installed=tuple(_installed(said.get("ours", ()))),
        known_good=one.get("known", ""),
        clock=_number(one.get("clock", "")),
        users=tuple(said.get("user", ())),
        left=tuple(said.get("left", ())),
        tainted=int(_number(one.get("taint", ""))),
    )


def _grub(one: Mapping[str, str]) -> Grub | None:
    if not one.get("grub") or not one.get("grubreboot"):
        return None
    plain = one.get("grubfs") in GRUB_WRITES and not set(one.get("grubbelow", "").split()) - PLAIN
    return Grub(
        one["grub"],
        one["grubreboot"],
        one.get("grubonce") == "yes",
        one.get("grubcustom") == "yes",
        plain,
        one.get("grubuuid", ""),
        one.get("grubmount", ""),
    )


def _free(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    for words in map(str.split, lines):
        if len(words) == 2 and words[1].isdecimal():
            yield words[0], int(words[1])


def _installed(lines: Iterable[str]) -> Iterator[Installed]:
    for words in map(str.split, lines):
        if len(words) == 3 and words[1].isdecimal() and words[2].isdecimal():
            yield Installed(words[0], int(words[1]), int(words[2]))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
