# SPDX-License-Identifier: GPL-2.0-only
"""Kbuild's own dependency files decide what a change reaches."""

from __future__ import annotations

import pytest

from harness.formats.kbuild_deps import DRIVER, index, objects_of, reach, sources_of, target_of

MAKEFILE = "drivers/accel/npu/Makefile"


def cmd(target: str, *sources: str) -> tuple[str, bytes]:
    folder, _, name = target.rpartition("/")
    lines = [f"savedcmd_{target} := gcc -I/src/include -o {target} /src/{sources[0]}", ""]
    lines += [f"source_{target} := /src/{sources[0]}", "", f"deps_{target} := \\"]
    lines += [f"  /src/{source} \\\n    $(wildcard include/config/FOO) \\" for source in sources[1:]]
    lines += ["  include/generated/autoconf.h \\", "", f"{target}: $(deps_{target})"]
    return f"{folder}/.{name}.cmd", "\n".join(lines).encode()


KNOWN = index(
    [
        cmd("drivers/accel/npu/a.o", "drivers/accel/npu/a.c", "drivers/accel/npu/own.h", "include/drm/both.h"),
        cmd("kernel/fork.o", "kernel/fork.c", "include/drm/both.h"),
        cmd("scripts/mod/tool", "scripts/mod/tool.c", "include/linux/id.h"),
    ],
    objects_of("drivers/accel/npu/a.o\n./drivers/accel/npu/b.o\n"),
    "/src",
)


def test_a_dependency_file_names_its_target_and_what_was_read() -> None:
    name, text = cmd("drivers/x/y.o", "drivers/x/y.c", "include/linux/z.h")
    assert target_of(name) == "drivers/x/y.o"
    assert sources_of(text, "/src") == {"drivers/x/y.c", "include/linux/z.h"}


def test_the_index_tells_what_else_a_file_reaches() -> None:
    assert KNOWN["drivers/accel/npu/own.h"] == DRIVER
    assert KNOWN["include/drm/both.h"] == "kernel/fork.o"
    assert KNOWN["include/linux/id.h"] == "scripts/mod/tool"


@pytest.mark.parametrize("order", [1, -1])
def test_a_header_of_both_is_never_the_drivers_alone(order: int) -> None:
    files = [cmd("drivers/accel/npu/a.o", "x.c", "h.h"), cmd("kernel/k.o", "k.c", "h.h")][::order]
    assert index(files, frozenset({"drivers/accel/npu/a.o"}), "/src")["h.h"] == "kernel/k.o"


@pytest.mark.parametrize(
    ("changed", "driver", "doubt"),
    [
        ({"drivers/accel/npu/a.c": True, "drivers/accel/npu/own.h": True}, 2, ""),
        ({"drivers/accel/npu/a.c": True, "include/drm/both.h": True}, 0, "include/drm/both.h reaches kernel/fork.o"),
        ({"kernel/fork.c": True}, 0, "kernel/fork.c reaches kernel/fork.o"),
        ({"drivers/accel/npu/new.c": False, MAKEFILE: True}, 2, ""),
        ({"drivers/accel/npu/new.h": False}, 1, ""),
        ({"drivers/accel/npu/Kconfig": True}, 0, "no dependency file names drivers/accel/npu/Kconfig"),
        ({"drivers/accel/Makefile": True}, 0, "no dependency file names drivers/accel/Makefile"),
        ({"kernel/new.c": False}, 0, "no dependency file names kernel/new.c"),
        ({"scripts/thing.sh": True}, 0, "no dependency file names scripts/thing.sh"),
    ],
)
def test_when_in_doubt_in_full(changed: dict[str, bool], driver: int, doubt: str) -> None:
    found = reach(changed, KNOWN, MAKEFILE)
    assert (len(found.driver), found.doubt) == (driver, doubt)


def test_a_way_through_another_folder_leads_to_the_same_file() -> None:
    files = [cmd("drivers/accel/npu/a.o", "a.c", "drivers/pci/own.h"), cmd("x/k.o", "k.c", "drivers/pci/hot/../own.h")]
    assert index(files, frozenset({"drivers/accel/npu/a.o"}), "/src")["drivers/pci/own.h"] == "x/k.o"


@pytest.mark.parametrize("order", [1, -1])
def test_what_a_file_reaches_is_said_the_same_each_time(order: int) -> None:
    files = [cmd("x/b.o", "b.c", "h.h"), cmd("x/a.bin", "a.c", "h.h"), cmd("x/c.o", "c.c", "h.h")][::order]
    assert index(files, frozenset(), "/src")["h.h"] == "x/b.o"
