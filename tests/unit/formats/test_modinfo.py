# SPDX-License-Identifier: GPL-2.0-only
import struct

import pytest

from harness.formats.modinfo import (
    NotAModule,
    build_id,
    depends_of,
    files_of,
    load_order,
    modinfo,
    section,
    versions,
    wrong_versions,
)


def elf(sections: dict[str, bytes]) -> bytes:
    """A file with these sections and nothing else."""
    contents = {"": b"", **sections, ".shstrtab": b""}
    names = b"".join(name.encode() + b"\0" for name in contents)
    contents[".shstrtab"] = names
    body, table, at = b"", b"", 64
    for name, content in contents.items():
        offset = names.index(name.encode() + b"\0") if name else 0
        table += struct.pack("<IIQQQQIIQQ", offset, 1, 0, 0, at + len(body), len(content), 0, 0, 1, 0)
        body += content
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(ident, 1, 62, 1, 0, 0, at + len(body), 0, 64, 0, 0, 64, len(contents), len(contents) - 1),
    )
    return header + body + table


def module(depends: str) -> bytes:
    return elf({".text": b"code", ".modinfo": f"license=GPL\0depends={depends}\0name=x\0".encode()})


def test_modinfo_is_read() -> None:
    assert modinfo(module("gpu-sched,drm")) == {"license": "GPL", "depends": "gpu-sched,drm", "name": "x"}


def test_depends_are_names_as_the_kernel_has_them() -> None:
    assert depends_of(module("gpu-sched,drm_shmem_helper")) == ("gpu_sched", "drm_shmem_helper")
    assert depends_of(module("")) == ()


@pytest.mark.parametrize("cut", [0, 3, 63, 64, 100])
def test_a_file_that_is_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(NotAModule):
        modinfo(module("a")[:cut])


def test_something_else_is_refused() -> None:
    with pytest.raises(NotAModule, match="not an ELF"):
        section(b"MZ" + bytes(200), ".modinfo")
    with pytest.raises(NotAModule, match=r"no section \.modinfo"):
        modinfo(elf({".text": b""}))


def test_what_is_needed_comes_first() -> None:
    needs = {"amdxdna": ("shmem", "sched"), "sched": ("drm",), "shmem": ("drm",), "drm": (), "other": ()}
    assert load_order("amdxdna", needs) == ("drm", "shmem", "sched", "amdxdna")


def test_a_missing_module_is_named() -> None:
    with pytest.raises(NotAModule, match="module b was not built, a needs it"):
        load_order("a", {"a": ("b",)})


def test_a_circle_is_named() -> None:
    with pytest.raises(NotAModule, match="a -> b -> a"):
        load_order("a", {"a": ("b",), "b": ("a",)})


def note(content: bytes, size: int | None = None) -> bytes:
    return elf({".note.gnu.build-id": struct.pack("<III", 4, size or len(content), 3) + b"GNU\0" + content})


def wants(**symbols: int) -> bytes:
    entries = [struct.pack("<Q", crc) + name.encode().ljust(56, b"\0") for name, crc in symbols.items()]
    return elf({"__versions": b"".join(entries)})


def test_the_build_id_is_read() -> None:
    assert build_id(note(bytes(range(20)))) == bytes(range(20)).hex()


@pytest.mark.parametrize("damaged", [note(b"abcd", 20), note(b""), elf({".note.gnu.build-id": b"GNU"}), elf({})])
def test_a_damaged_build_id_proves_nothing(damaged: bytes) -> None:
    with pytest.raises(NotAModule):
        build_id(damaged)


SYMVERS = "0x0000000a\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n0xffffffff\tdrm_open\tdrivers/gpu/drm/drm\tEXPORT_SYMBOL\tNS\n"


def test_the_versions_a_module_wants() -> None:
    assert versions(wants(printk=10, drm_open=0xFFFFFFFF)) == {"printk": 10, "drm_open": 0xFFFFFFFF}
    assert versions(module("")) == {}
    assert wrong_versions(wants(printk=10, drm_open=0xFFFFFFFF), SYMVERS) == []


def test_a_symbol_of_another_version_or_of_none_is_wrong() -> None:
    assert wrong_versions(wants(printk=11, drm_open=0xFFFFFFFF, gone=1), SYMVERS) == ["gone", "printk"]


def test_a_list_of_versions_that_a_stranger_wrote_is_no_traceback() -> None:
    assert wrong_versions(wants(printk=10), "evil\tprintk\n\n0x\tprintk\n") == ["printk"]


def test_modules_by_their_names() -> None:
    order = "drivers/gpu/drm/scheduler/gpu-sched.o\ndrivers/accel/amdxdna/amdxdna.ko\n"
    assert files_of(order) == {
        "gpu_sched": "drivers/gpu/drm/scheduler/gpu-sched.ko",
        "amdxdna": "drivers/accel/amdxdna/amdxdna.ko",
    }


@pytest.mark.parametrize("line", [".", "/", "./", "//"])
def test_a_list_of_modules_that_names_no_file(line: str) -> None:
    with pytest.raises(NotAModule, match="names no file"):
        files_of(f"a.o\n{line}\n")


def test_modules_that_need_one_another_without_end() -> None:
    with pytest.raises(NotAModule, match="a thousand"):
        load_order("m0", {f"m{n}": (f"m{n + 1}",) for n in range(5000)})
