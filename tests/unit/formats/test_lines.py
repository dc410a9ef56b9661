# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import pytest

from harness.formats import lines
from harness.model.frame import Frame, Place

CALL = Frame("amdxdna_gem_obj_open", 0x1F, 0x80, "amdxdna")
PLACES = (
    Place("kmalloc", "include/linux/slab.h", 9),
    Place("amdxdna_gem_obj_open", "drivers/accel/amdxdna/amdxdna_gem.c", 123),
)


@pytest.mark.parametrize(
    ("line", "frame"),
    [
        (" amdxdna_gem_obj_open+0x1f/0x80 [amdxdna]", CALL),
        (" amdxdna_gem_obj_open+0x1f/0x80 [amdxdna 0123abcd]", CALL),
        ("[   12.345678] [  T312]  amdxdna_gem_obj_open+0x1f/0x80 [amdxdna]", CALL),
        ("kmemleak:     amdxdna_gem_obj_open+0x1f/0x80 [amdxdna]", CALL),
        ("RIP: 0010:x.isra.0.cold+0x0/0x12", Frame("x.isra.0.cold", 0, 0x12, exact=True)),
        (" ? amdxdna_gem_obj_open+0x1f/0x80 [amdxdna]", None),
        ("WARNING: x.c:1 at amdxdna_gem_obj_open+0x1f/0x80 [amdxdna], CPU#0: python3/312", None),
        ("RIP: 0033:0x7f2d4c1a9e4b", None),
    ],
)
def test_what_is_a_frame(line: str, frame: Frame | None) -> None:
    assert lines.frame_of(line) == frame


def test_a_return_address_means_the_call_before_it() -> None:
    assert (CALL.at, Frame("f", 0x1F, 0x80, exact=True).at) == (0x1E, 0x1F)


def test_lines_stand_behind_their_frames_and_nothing_else_changes() -> None:
    text = "WARNING: x\n amdxdna_gem_obj_open+0x1f/0x80 [amdxdna]\n other+0x1/0x2\n ? amdxdna_gem_obj_open+0x1f/0x80"
    assert lines.annotated(text, {}) == text
    got = lines.annotated(text, {CALL: PLACES, Frame("other", 1, 2): ()}).split("\n")
    where = "(include/linux/slab.h:9 drivers/accel/amdxdna/amdxdna_gem.c:123)"
    assert got[1] == f" amdxdna_gem_obj_open+0x1f/0x80 [amdxdna] {where}"
    assert [got[0], *got[2:]] == [text.split("\n")[0], *text.split("\n")[2:]]


def test_the_same_offset_of_a_call_and_of_an_instruction_are_two_things() -> None:
    exact = Frame(CALL.function, CALL.offset, CALL.size, CALL.module, exact=True)
    known = {CALL: PLACES, exact: PLACES[:1]}
    assert lines.load(lines.dump(known)) == known
    assert lines.annotated("RIP: 0010:amdxdna_gem_obj_open+0x1f/0x80 [amdxdna]", {CALL: PLACES}).endswith("]")


def test_a_damaged_file_is_refused() -> None:
    for text in ("{", '[{"frame": "x"}]', '[{"frame": "x", "exact": false, "places": []}]'):
        with pytest.raises((ValueError, KeyError)):
            lines.load(text)


PRINTED = """\
0x000000000000001e
kmalloc
/src/drivers/accel/amdxdna/../../../include/linux/slab.h:9 (discriminator 3)
amdxdna_gem_obj_open
/src/drivers/accel/amdxdna/amdxdna_gem.c:123
0x0000000000000040
generated
/build/./include/generated/x.h:7
0x0000000000000050
??
??:0
0x0000000000000060
outside
/usr/include/x.h:4
outer
/src/kernel/fork.c:?
"""


def test_addr2line() -> None:
    found = lines.addr2line(PRINTED, {"/src/": "", "/build/": ""})
    assert found[0x1E] == PLACES
    assert found[0x40] == (Place("generated", "include/generated/x.h", 7),)
    assert found[0x50] == found[0x60] == ()
