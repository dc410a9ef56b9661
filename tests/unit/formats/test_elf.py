# SPDX-License-Identifier: GPL-2.0-only
"""What the assembler of this machine made is read as binutils read it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.formats.elf import Elf, NotElf, Symbol

SOURCE = """
.text
.globl first
.type first, @function
first: ret
nop
inner:
.Lhidden: ret
.size first, . - first
.weak second
.type second, @function
second: nop
.size second, . - second
.section .text.unlikely, "ax"
.type cold.part.0, @function
cold.part.0: ud2
.size cold.part.0, . - cold.part.0
.data
.globl number
number: .long 7
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("elf") / "x.o"
    subprocess.run(["as", "-o", path, "-"], input=SOURCE.encode(), check=True, timeout=20)
    return path.read_bytes()


def test_labels_in_code(made: bytes) -> None:
    assert sorted(Elf(made).labels(), key=lambda label: label.name) == [
        Symbol("cold.part.0", ".text.unlikely", 0, 2, False),
        Symbol("first", ".text", 0, 3, False),
        Symbol("inner", ".text", 2, 0, False),
        Symbol("second", ".text", 3, 1, True),
    ]


def test_code_by_section(made: bytes) -> None:
    code = Elf(made).code()
    assert code == {".text": b"\xc3\x90\xc3\x90", ".text.unlikely": b"\x0f\x0b"}


def test_two_sections_of_one_name_are_no_answer(tmp_path: Path) -> None:
    text = '.section .a,"ax",@progbits,unique,1\nnop\n.section .a,"ax",@progbits,unique,2\nret\n'
    subprocess.run(["as", "-o", tmp_path / "x.o", "-"], input=text.encode(), check=True, timeout=20)
    assert ".a" not in Elf((tmp_path / "x.o").read_bytes()).code()


def test_no_cut_file_is_read_beyond_its_end(made: bytes) -> None:
    for cut in range(len(made)):
        with pytest.raises(NotElf):
            list(Elf(made[:cut]).labels())


@pytest.mark.parametrize("offset", [2**64 - 1, 2**63, 2**63 - 1, 2**40])
def test_a_table_of_sections_beyond_all_memory(made: bytes, offset: int) -> None:
    with pytest.raises(NotElf):
        Elf(made[:40] + offset.to_bytes(8, "little") + made[48:])
