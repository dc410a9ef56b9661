# SPDX-License-Identifier: GPL-2.0-only
"""QEMU's command line is decided purely."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.host.vm import Machine, Sockets, kernel_command_line, qemu_argv, qemu_script
from harness.model.kernel import Profile
from harness.model.variant import AddressMode, Variant

MACHINE = Machine(
    qemu=("/opt/q e/qemu",),
    accel=("-accel", "tcg,thread=multi", "-cpu", "max,-hypervisor"),
    image=Path("/k/bzImage"),
    initrd=Path("/k/initrd"),
    root=Path("/i/root.erofs"),
    variant=Variant(),
    sockets=Sockets(Path("/tmp/xdna-1")),
    console=Path("/out/console.log"),
)


def option(argv: list[str], name: str) -> list[str]:
    return [argv[i + 1] for i, word in enumerate(argv) if word == name]


def test_npu_is_a_vfio_user_device_on_the_root_bus() -> None:
    devices = [json.loads(d) for d in option(qemu_argv(MACHINE), "-device") if d.startswith("{")]
    assert devices[0]["driver"] == "vfio-user-pci"
    assert devices[0]["socket"]["path"] == "/tmp/xdna-1/npu"


def test_guest_memory_is_shared_with_the_npu() -> None:
    assert any("share=on" in o for o in option(qemu_argv(MACHINE), "-object"))


def test_disks_are_read_only() -> None:
    assert all(json.loads(b)["read-only"] for b in option(qemu_argv(MACHINE), "-blockdev"))


@pytest.mark.parametrize("mode", list(AddressMode))
def test_a_panic_ends_qemu_in_every_mode(mode: AddressMode) -> None:
    machine = replace(MACHINE, variant=Variant(address_mode=mode))
    assert "panic=-1" in kernel_command_line(machine)
    assert "-no-reboot" in qemu_argv(machine)


def test_the_debug_kernel_gets_more_memory() -> None:
    debug = replace(MACHINE, variant=Variant(profile=Profile.DEBUG))
    assert option(qemu_argv(debug), "-m") == ["3712M"]


def test_kasan_goes_on_after_its_first_report() -> None:
    debug = replace(MACHINE, variant=Variant(profile=Profile.DEBUG))
    assert "kasan_multi_shot" in kernel_command_line(debug)
    assert "kasan" not in kernel_command_line(MACHINE), "the plain kernel does not know the word"


def test_script_repeats_the_boot_with_a_console() -> None:
    script = qemu_script("/venv/bin/python", MACHINE, Path("/out/payload.tar"))
    words = shlex.split(script, comments=True)
    assert "stdio,id=console,signal=off" in words
    assert "/out/payload.tar" in script
    assert "'/opt/q e/qemu'" in script
    assert "/SOCKETS" not in script
    assert '"$sockets"/npu' in script


def test_what_a_saved_guest_depends_on_is_the_same_for_every_mode_and_npu() -> None:
    line = MACHINE.saved_line()
    for mode in AddressMode:
        for npu in ("npu1", "npu4"):
            other = replace(MACHINE, variant=replace(MACHINE.variant, npu=npu, address_mode=mode))
            assert other.saved_line() == line
    assert replace(MACHINE, image=Path("/another/bzImage")).saved_line() != line
    assert replace(MACHINE, variant=Variant(profile=Profile.DEBUG)).saved_line() != line
    upgraded = replace(MACHINE, qemu_key="another build, of the same path")
    assert upgraded.saved_line() != line
    assert qemu_argv(upgraded) == qemu_argv(MACHINE)


def test_a_restored_guest_has_its_npu_and_waits_for_its_state() -> None:
    saved, restored = (qemu_argv(replace(MACHINE, plugged=plug, incoming=plug)) for plug in (False, True))
    assert not any("vfio-user-pci" in word for word in saved)
    assert any("vfio-user-pci" in word for word in restored)
    assert "-incoming" in restored
    script = qemu_script("python", replace(MACHINE, incoming=True, memory="/proc/self/fd/9"), Path("/p"))
    assert "-incoming" not in script
    assert "/proc/self/fd" not in script


LENT = replace(MACHINE, lent="0000:c5:00.1", variant=Variant("passthrough", address_mode=AddressMode.CARVEOUT))


def test_a_lent_npu_is_the_hosts_device_in_the_same_slot() -> None:
    argv = qemu_argv(LENT)
    devices = [json.loads(d) for d in option(argv, "-device") if d.startswith("{")]
    assert devices[0] == {"driver": "vfio-pci", "host": "0000:c5:00.1", "id": "npu", "bus": "pcie.0", "addr": "0x5"}
    assert "amd-iommu,pci-id=iommupci0,dma-remap=on" in option(argv, "-device")


def test_a_lent_npu_needs_no_process_by_hand_but_the_right_driver() -> None:
    script = qemu_script("python3", LENT, Path("/out/payload.tar"))
    assert "harness.npu" not in script
    assert "bind 0000:c5:00.1 to vfio-pci first" in script
    subprocess.run(["sh", "-n"], input=script, text=True, check=True, timeout=20)


def test_a_comma_in_a_path_ends_no_option() -> None:
    machine = replace(MACHINE, console=Path("/runs/a,b/c"), memory="/m,n", sockets=Sockets(Path("/tmp/x,y")))
    argv = qemu_argv(machine)
    options = [word for name in ("-chardev", "-object", "-qmp") for word in option(argv, name)]
    values = [part.replace("\0", ",") for word in options for part in word.replace(",,", "\0").split(",")]
    assert {"path=/runs/a,b/c", "mem-path=/m,n", "unix:/tmp/x,y/qmp", "path=/tmp/x,y/port"} <= set(values)
