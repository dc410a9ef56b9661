# SPDX-License-Identifier: GPL-2.0-only
"""Kbuild's own dependency files decide what a change reaches."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.formats.kbuild_deps import (
    DRIVER,
    index,
    members_of,
    objects_of,
    reach,
    sources_of,
    target_of,
    with_debug_info,
)

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


CMD = (
    "savedcmd_drivers/x/y.o := gcc -Wp,-MMD,drivers/x/.y.o.d -O2 -DKBUILD_MODFILE='\"drivers/x/y\"' -DA='$(pound)$$1' "
    "-c -o drivers/x/y.o /src/drivers/x/y.c   ; ./tools/objtool/objtool --hacks=noinstr   drivers/x/y.o\n\n"
    "source_drivers/x/y.o := /src/drivers/x/y.c\n"
)


def test_the_kept_command_with_debug_info() -> None:
    assert with_debug_info(CMD, "drivers/x/y.o", "/lines/object.o") == (
        "gcc -Wp,-MMD,/lines/object.o.d -O2 -DKBUILD_MODFILE='\"drivers/x/y\"' -DA='#$1' "
        "-g -c -o /lines/object.o /src/drivers/x/y.c   ; ./tools/objtool/objtool --hacks=noinstr   /lines/object.o"
    )


@pytest.mark.parametrize(
    ("cmd", "target"),
    [(CMD, "drivers/x/z.o"), ("savedcmd_a.o := ld -r -o a.o b.o c.o\n", "a.o"), ("", "a.o")],
)
def test_what_compiles_nothing_is_refused(cmd: str, target: str) -> None:
    with pytest.raises(ValueError):
        with_debug_info(cmd, target, "/lines/object.o")


def test_a_thin_archive_names_the_members_of_nested_ones(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    names = ["a/one.o", "a/b/a-rather-long-name-of-an-object.o", "top.o"]
    for name in names:
        (tmp_path / name).write_bytes(b"x" * 33)
    for archive, members in (("a/built-in.a", names[:2]), ("built-in.a", ["a/built-in.a", "top.o"])):
        subprocess.run(["ar", "cDPrST", archive, *members], cwd=tmp_path, check=True, timeout=20)
    assert members_of((tmp_path / "built-in.a").read_bytes()) == names
    assert members_of(b"!<thin>\n") == members_of(b"!<arch>\n") == []  # ar makes an empty one so
    with pytest.raises(ValueError):
        members_of(b"!<arch>\na.o/")
