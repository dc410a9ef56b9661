# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from shutil import which

import pytest

from harness.formats.grub import Entry, entry_ids, next_entry, with_entries

ENTRY = Entry(
    "7.3.4-xdna-0a",
    "root=PARTUUID=8d3c-01 ro memmap=640M$0x30000000 dyndbg=\"file x +p\" a='b'",
    "/boot/xdna-harness/vmlinuz-7.3.4-xdna-0a",
    mount="/",
    uuid="0f-1",
)
PERSONS = "menuentry 'my own' { linux /boot/mine }\n"


def test_an_entry() -> None:
    text = ENTRY.text()
    assert "menuentry 'xdna-7.3.4-xdna-0a' --unrestricted --id xdna-7.3.4-xdna-0a {" in text
    assert "search --no-floppy --fs-uuid --set=root 0f-1" in text
    assert "  linux /boot/xdna-harness/vmlinuz-7.3.4-xdna-0a root=PARTUUID=8d3c-01 ro 'memmap=640M$0x30000000'" in text


def test_a_boot_partition_of_its_own() -> None:
    text = replace(ENTRY, mount="/boot", initrd="/boot/xdna-harness/initrd-1").text()
    assert "  linux /xdna-harness/vmlinuz-" in text
    assert "  initrd /xdna-harness/initrd-1\n" in text


def test_what_a_person_wrote_stays() -> None:
    first = with_entries(PERSONS, [ENTRY])
    assert first.startswith(PERSONS)
    assert entry_ids(first) == (ENTRY.id,)
    other = replace(ENTRY, release="7.3.4-xdna-0b")
    second = with_entries(first + "# more of mine\n", [other])
    assert entry_ids(second) == (other.id,)
    assert "# more of mine" in second
    assert with_entries(second, ()) == PERSONS + "# more of mine\n"
    assert with_entries(with_entries("", [ENTRY]), ()) == ""
    assert entry_ids(PERSONS) == ()


@pytest.mark.skipif(not which("grub-script-check"), reason="needs grub-common")
def test_grub_itself_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "custom.cfg"
    path.write_text(with_entries(PERSONS, [ENTRY]))
    subprocess.run(["grub-script-check", path], check=True, timeout=30)


def test_what_is_booted_next() -> None:
    assert next_entry("saved_entry=0\nnext_entry=xdna-7.3.4-xdna-0a\n") == ENTRY.id
    assert next_entry("saved_entry=0\nnext_entry=\n") == ""
    assert next_entry("") == ""
