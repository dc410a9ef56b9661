# SPDX-License-Identifier: GPL-2.0-only
"""Whose it is: the driver's from before the tests, everybody's since."""

from __future__ import annotations

from harness.formats.lost_memory import halves, lost_memory


def lost(function: str, born: int, module: str = " [amdxdna]") -> str:
    return (
        f'unreferenced object 0xffff888105a3c000 (size 1024):\n  comm "python3", pid 312, jiffies {born}\n'
        "  hex dump (first 32 bytes):\n    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................\n"
        f"  backtrace (crc 8fdb9d11):\n    __kmalloc_cache_noprof+0x25e/0x380\n    {function}+0x4c/0x8f0{module}\n"
    )


def test_what_was_lost_since_the_tests_began_is_theirs() -> None:
    text = lost("aie2_load", 90) + lost("aie2_hwctx_init", 110) + lost("aie2_hwctx_init", 120)
    found = lost_memory({"unreferenced": text, "since": 100})
    assert [(f.fingerprint, f.count) for f in found.then] == [("KMEMLEAK:aie2_hwctx_init", 2)]
    assert [f.fingerprint for f in found.before] == ["KMEMLEAK:aie2_load"]


def test_what_others_lost_before_is_nobodys_here() -> None:
    assert lost_memory({"unreferenced": lost("acpi_init", 90, ""), "since": 100}).before == ()


def test_nothing_was_lost() -> None:
    assert lost_memory({"unreferenced": "", "since": 100}) == lost_memory({})


def test_a_kernel_that_shows_no_clock_blames_the_tests() -> None:
    assert lost_memory({"unreferenced": lost("aie2_load", 90), "since": 0}).then


def test_a_group_is_asked_again_in_halves() -> None:
    assert halves(["a", "b", "c"]) == [("a",), ("b", "c")]
    assert halves(["a"]) == halves([]) == []
