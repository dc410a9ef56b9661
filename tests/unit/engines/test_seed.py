# SPDX-License-Identifier: GPL-2.0-only
import pytest

from harness.engines.seed import (
    ABSENT,
    MOST_CHANGED,
    Seed,
    changed,
    choose,
    headers,
    hiding,
    is_document,
    is_doubtful,
    only_lists_objects,
    orphans,
    runs_at_build,
    shadows,
)

GEM = "drivers/accel/amdxdna/amdxdna_gem.c"
CTX = "drivers/accel/amdxdna/aie2_ctx.c"
MAKEFILE = "drivers/accel/amdxdna/Makefile"


def seed(key: str, *touched: str) -> Seed:
    return Seed(key, dict.fromkeys(touched, key))


def new(*touched: str) -> dict[str, str]:
    return dict.fromkeys(touched, "new")


def test_the_seed_that_leaves_least_to_build_is_taken() -> None:
    same_ctx = Seed("d", {CTX: "new"})
    seeds = [seed("a", "drivers/iommu/x.c"), seed("b"), same_ctx, seed("c", GEM, CTX, "drivers/iommu/x.c")]
    assert choose(seeds, new(GEM, CTX)) == same_ctx


def test_without_a_seed_everything_is_built() -> None:
    assert choose([], new(GEM)) is None


def test_what_the_seed_changed_differs_too() -> None:
    assert changed(seed("a", GEM), new(CTX)) == {GEM, CTX}
    assert changed(seed("a", GEM), {}) == {GEM}


def test_what_is_the_same_in_both_does_not_differ() -> None:
    assert changed(Seed("a", {GEM: "x", CTX: "y"}), {GEM: "x", CTX: "z"}) == {CTX}


def test_documents_are_shown_as_new_and_cost_no_seed() -> None:
    """A file may include one, and its times would not tell."""
    documents = {"Documentation/accel/x.rst", "MAINTAINERS"}
    assert changed(seed("a"), new(*documents, GEM)) == {*documents, GEM}
    assert choose([seed("a")], new(*documents)) == seed("a")


@pytest.mark.parametrize("name", ["table.txt", "table.md", "table.rst", "table.yaml"])
def test_a_text_beside_code_may_be_included(name: str) -> None:
    path = f"drivers/accel/amdxdna/{name}"
    assert not is_document(path)
    assert changed(seed("a"), new(path)) == {path}


@pytest.mark.parametrize(
    "path",
    [MAKEFILE, "Makefile", "scripts/Makefile.build", "drivers/accel/Kconfig", "tools/objtool/check.c",
     "include/uapi/linux/elf.h",
     "drivers/gpu/drm/radeon/mkregtable.c", "Documentation/Kconfig",
     "kernel/x.sh", "lib/gen_crc32table.c"],
)  # fmt: skip
def test_who_changes_what_make_executes_is_nobodys_seed(path: str) -> None:
    assert runs_at_build(path)
    assert choose([seed("a", path)], new(GEM)) is None


@pytest.mark.parametrize("path", [GEM, "include/uapi/drm/amdxdna_accel.h", "drivers/iommu/amd/iommu.c"])
def test_code_that_is_only_compiled_may_be_a_seed(path: str) -> None:
    assert not runs_at_build(path)
    assert choose([seed("a", path)], new(CTX)) is not None


@pytest.mark.parametrize(
    "path",
    ["Makefile", "Kbuild", "scripts/mod/modpost.c", "arch/x86/Makefile", "arch/x86/boot/main.c", "a.sh",
     "arch/x86/entry/syscalls/syscall_64.tbl", "arch/x86/lib/x86-opcode-map.txt", "drivers/accel/amdxdna/table.txt",
     "drivers/accel/README.md", "include/asm-generic/Kbuild", "kernel/x.lds", "usr/gen.c"],
)  # fmt: skip
def test_when_in_doubt_everything_is_built(path: str) -> None:
    assert is_doubtful(path)
    assert choose([seed("a")], new(path)) is None


@pytest.mark.parametrize("path", [MAKEFILE, "drivers/accel/Kconfig", GEM, "include/drm/drm_mm.h", "Documentation/a.sh"])
def test_what_kbuild_watches_itself_is_beyond_doubt(path: str) -> None:
    assert not is_doubtful(path)


def test_a_huge_change_is_built_in_full() -> None:
    many = new(*(f"drivers/accel/a{number}.c" for number in range(MOST_CHANGED + 1)))
    assert choose([seed("a")], many) is None


def test_an_object_whose_source_is_gone_goes_too() -> None:
    assert "drivers/accel/amdxdna/amdxdna_gem.o" in orphans([GEM])
    assert "drivers/accel/amdxdna/.amdxdna_gem.o.cmd" in orphans([GEM])
    assert orphans(["include/drm/x.h"]) == ()


def test_a_new_header_with_a_known_name_is_doubtful() -> None:
    cmd = b"deps_x := \\\n  /src/include/drm/gem.h \\\n"
    assert shadows(["drivers/accel/amdxdna/gem.h"], [b"", cmd])
    assert not shadows(["drivers/accel/amdxdna/em.h"], [cmd])
    assert not shadows(["drivers/accel/amdxdna/gem.c"], [cmd])


def test_whether_the_seed_had_a_file() -> None:
    one = Seed("a", {GEM: "hash", CTX: ABSENT})
    assert one.had(GEM, in_source=False)
    assert not one.had(CTX, in_source=True)
    assert one.had(MAKEFILE, in_source=True)
    assert not one.had(MAKEFILE, in_source=False)


def test_the_names_of_headers_once_read_tell_the_same() -> None:
    cmd = (
        b"deps_x := \\\n  /src/include/drm/gem.h \\\n  /src/include/last.h\n  $(wildcard /build/own.h)\n  /src/a.c \\\n"
    )
    known = headers([cmd, b""])
    assert known == {"gem.h", "last.h", "own.h"}
    assert hiding(["drivers/accel/amdxdna/gem.h", "drivers/accel/amdxdna/em.h", "x/a.c"], known) == (
        "drivers/accel/amdxdna/gem.h",
    )


LIST = "# about\nnpu-y := \\\n\ta.o \\\n\tb.o\n\nnpu-$(CONFIG_X) += sub/c-d.o\nobj-$(CONFIG_NPU) = npu.o\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("b.o", "b.o \\\n\tnew.o"),
        ("\ta.o \\\n", ""),
        ("obj-", "npu-$(CONFIG_Y) += y.o\nobj-"),
        ("# about", "# about something else"),
    ],
)
def test_a_makefile_may_list_other_objects(old: str, new: str) -> None:
    assert LIST.replace(old, new) != LIST
    assert only_lists_objects(LIST, LIST.replace(old, new), "npu")


@pytest.mark.parametrize(
    "line",
    [
        "obj-y += evil.o",
        "obj-m += other.o",
        "ccflags-y += -DX",
        "npu-y += $(shell id).o",
        "npu-y += ../other/x.o",
        "npu-y += /etc/x.o",
        "npu-y += a.o # $(shell id)",
        "npu-m += a.o",
        "npuxy += a.o",
        "other-y += a.o",
        "x := $(shell echo '#'; id)",
        "\t# $(shell id)",
        "npu-y += a.o; id",
        "include x",
    ],
)
def test_any_other_word_in_a_makefile_may_do_anything(line: str) -> None:
    assert not only_lists_objects(LIST, f"{LIST}{line}\n", "npu")
    assert not only_lists_objects(f"{LIST}{line}\n", LIST, "npu")


def test_what_follows_a_number_sign_counts_too() -> None:
    assert not only_lists_objects(f"{LIST}x := $(shell echo '#')\n", f"{LIST}x := $(shell echo '#'; id)\n", "npu")
