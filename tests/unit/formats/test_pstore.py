# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

from pathlib import Path

from harness.formats.pstore import crash_text, dumps, read_part, since
from harness.formats.splat import find_splats
from harness.model.finding import Kind

DATA = Path(__file__).parents[2] / "data/pstore"
"""What ERST of a lab host kept of a panic, shortened."""
LAST = b"Panic#2 Part1\n<0>[   61.2] Kernel panic - not syncing: planted\n<0>[   61.3] ---[ end Kernel panic ]---\n"
BEFORE = b"Panic#2 Part2\n<6>[   60.9] amdxdna: here\n<4>[   61.1] last but one"


def test_parts_come_from_the_oldest_to_the_last_words() -> None:
    files = {
        "/sys/fs/pstore/dmesg-erst-2": LAST,
        "/sys/fs/pstore/dmesg-erst-1": BEFORE,
        "/sys/fs/pstore/console-1": b"x",
    }
    assert crash_text(files) == (
        "[   60.9] amdxdna: here\n[   61.1] last but one\n"
        "[   61.2] Kernel panic - not syncing: planted\n[   61.3] ---[ end Kernel panic ]---\n"
    )


def test_an_oops_comes_before_the_panic_that_it_led_to() -> None:
    oops = b"Oops#1 Part1\n<1>[   60.0] BUG: kernel NULL pointer dereference\n"
    text = crash_text({"a/dmesg-efi-9": LAST, "a/dmesg-efi-3": oops})
    assert text.index("NULL pointer") < text.index("Kernel panic")


def test_what_kdump_kept_whole_is_enough() -> None:
    whole = b"<6>[    0.0] Linux version\n<0>[    9.1] Kernel panic\n"
    assert crash_text({"/var/crash/2026/dmesg.2026": whole, "/sys/fs/pstore/dmesg-efi-1": LAST}) == (
        "[    0.0] Linux version\n[    9.1] Kernel panic\n"
    )


def test_nothing_was_left() -> None:
    assert crash_text({}) == ""


def test_hostile_text_is_only_text() -> None:
    assert read_part("Panic#x Part\n\xff").text == "Panic#x Part\n\xff"
    assert "\0" not in crash_text({"dmesg-1": b"\xff\0\0<3>[1] a\n"})


def test_a_real_panic() -> None:
    folder = "/var/lib/systemd/pstore/7712531352486150146"
    files = {f"{folder}/{path.name}": path.read_bytes() for path in DATA.iterdir()}
    files[f"{folder}/dmesg.txt"] = b"what systemd-pstore joins, with headers in between"
    text = crash_text(files)
    assert text.index("Mounting tmp.mount") < text.index("Kernel panic - not syncing: planted by a test")
    assert "Part" not in text
    assert "joins" not in text
    assert [splat.kind for splat in find_splats(text)] == [Kind.PANIC]


def test_what_came_before_the_test_is_not_its_doing() -> None:
    text = "[    9.0] WARNING: an earlier test\nno time\n[   10.5] here\nbacktrace\n"
    assert since(text, 10.0) == "[   10.5] here\nbacktrace\n"
    assert since(text, 0.0) == text
    assert since(text, 99.0) == "", "this boot said nothing any more"


def test_a_dump_is_the_folder_of_its_log() -> None:
    names = (
        "/var/crash/2/dmesg.2",
        "/var/crash/1/dmesg.1",
        "/var/crash/1/vmcore-dmesg.txt",
        "/sys/fs/pstore/dmesg-erst-1",
    )
    assert dumps(names) == ["/var/crash/1", "/var/crash/2"]
    assert dumps(["/var/crash/../dmesg", "/var/crash//dmesg", "/x/var/crash/1/dmesg"]) == []


def test_a_dump_tells_who_spoke_in_its_own_way() -> None:
    """makedumpfile has a space where the kernel has none (CONFIG_PRINTK_CALLER)."""
    text = "[   41.916671] [    T321] Kernel panic - not syncing: planted by a test\n[   41.917400] [    T321] CPU: 0\n"
    assert [splat.kind for splat in find_splats(crash_text({"/var/crash/1/dmesg.1": text.encode()}))] == [Kind.PANIC]
