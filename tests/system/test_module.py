# SPDX-License-Identifier: GPL-2.0-only
"""The driver alone, against the kernel in the user's cache. Builds no other; each test begins without any driver."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from conftest import Edit, mail
from harness.engines.kbuild import Kbuild
from harness.engines.make import BuildFailed
from harness.engines.module import Modules
from harness.engines.reach import reach_of
from harness.formats import modinfo
from harness.host.data import data_folder
from harness.host.sandbox import Sandbox
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.model.kernel import Kernel, Module, Profile
from harness.model.series import Patch
from harness.model.tree import Source, Tree

DRIVER = "drivers/accel/amdxdna"
MAKEFILE = f"{DRIVER}/Makefile"
SOLVER = f"{DRIVER}/aie2_solver.c"
COMMENT = "/* only a comment */\n"
UNUSED = "static int xdna_unused(void) { return 1; }\n"
END = r"\Z"


class Lab:
    """Kernels and sources are the user's, drivers and trees the test's."""

    def __init__(self, folder: Path, source: Source) -> None:
        user, self.source = Store(), source
        folder.mkdir()
        self.store = Store(folder)
        for kind in ("kernels", "sources", "ccache"):
            (folder / kind).symlink_to(user.root / kind)
        self.engine = Modules(self.store, Sandbox.detect(), data_folder("jobs") / "kconfig")
        self.pristine = make_tree(source, (), self.store)

    def tree(self, *changes: Edit | bytes) -> Tree:
        """The source with an edit, or a diff, on top of another."""
        diffs = [mail(self.source, "a change", [c]).encode() if isinstance(c, Edit) else c for c in changes]
        return make_tree(self.source, [Patch("a change", "me", None, "", (), diff) for diff in diffs], self.store)

    def build(self, *changes: Edit | bytes) -> Module:
        return self.engine.build(self.tree(*changes), Profile.PLAIN)

    def forget(self, module: Module) -> None:
        self.store.discard("modules", module.key)


def end_of(name: str, text: str) -> Edit:
    return Edit(f"{DRIVER}/{name}", END, text)


def added(path: str, *lines: str) -> bytes:
    body = "".join(f"+{line}\n" for line in lines)
    head = f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n"
    return f"{head}@@ -0,0 +1,{len(lines)} @@\n{body}".encode()


def deleted(source: Source, path: str) -> bytes:
    lines = (source.path / path).read_text().splitlines()
    head = f"diff --git a/{path} b/{path}\ndeleted file mode 100644\n--- a/{path}\n+++ /dev/null\n"
    return f"{head}@@ -1,{len(lines)} +0,0 @@\n{''.join(f'-{line}{chr(10)}' for line in lines)}".encode()


def compiled(module: Module) -> set[str]:
    return set(re.findall(r"^  CC \[M\]  (\S+)\.o", module.log.read_text(), re.M)) - {"amdxdna.mod", ".module-common"}


@pytest.fixture
def lab(tmp_path: Path, source: Source, kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> Lab:
    lab = Lab(tmp_path / "cache", source)
    if not lab.engine.sandbox.isolated:
        pytest.skip(f"only in the sandbox: {lab.engine.sandbox.reason}")
    assert lab.engine.kernels.has(lab.pristine, Profile.PLAIN), kernel
    real = Kbuild.build

    def never(engine: Kbuild, tree: Tree, profile: Profile) -> Kernel:
        if tree.touched:
            raise KernelAsked
        return real(engine, tree, profile)

    monkeypatch.setattr(Kbuild, "build", never)
    return lab


class KernelAsked(Exception):
    """A kernel would have been built."""


def test_a_comment_changes_nothing_and_costs_one_file(lab: Lab) -> None:
    assert lab.engine.cached(lab.pristine, Profile.PLAIN) is None
    source = lab.build()
    assert [path.name for path in source.files] == ["gpu-sched.ko", "drm_shmem_helper.ko", "amdxdna.ko"]
    assert source.build_id == modinfo.build_id(source.files[-1].read_bytes())
    assert source.how == ""
    tree = lab.tree(end_of("aie2_pm.c", COMMENT))
    assert lab.engine.cached(tree, Profile.PLAIN) is None
    module = lab.engine.build(tree, Profile.PLAIN)
    assert compiled(module) == {"aie2_pm"}
    assert module.key != source.key
    assert (module.kernel, module.digest, module.build_id) == (source.kernel, source.digest, source.build_id)
    assert module.how == f"the driver alone (aie2_pm.c), against {source.kernel.release}"
    assert lab.engine.cached(tree, Profile.PLAIN) == module


def test_a_document_compiles_nothing(lab: Lab) -> None:
    plain = lab.build()
    changed = lab.build(Edit("MAINTAINERS", END, "\n"))
    assert compiled(changed) == set()
    assert changed.digest == plain.digest


def test_a_document_that_the_driver_includes_is_part_of_it(lab: Lab) -> None:
    """Whether it is built in full or from the driver that had another one."""
    name = "Documentation/accel/amdxdna/xdna_limit.h"
    uses = end_of(
        "aie2_solver.c",
        f'#include "../../../{name}"\nint xdna_limit(void);\nint xdna_limit(void) {{ return LIMIT; }}\n',
    )
    one = lab.build(added(name, "#define LIMIT 1"), uses)
    other = lab.build(added(name, "#define LIMIT 2"), uses)
    assert one.digest != other.digest
    assert compiled(other) == {"aie2_solver"}


def test_an_edit_comes_out_the_same_from_a_seed_and_in_full(lab: Lab) -> None:
    edit = end_of("aie2_solver.c", "int xdna_new(void);\nint xdna_new(void) { return 1; }\n")
    in_full = lab.build(edit)
    assert len(compiled(in_full)) > 20
    lab.forget(in_full)
    source = lab.build()
    from_source = lab.build(edit)
    assert compiled(from_source) == {"aie2_solver"}
    assert source.digest != from_source.digest == in_full.digest
    lab.forget(source)
    lab.forget(from_source)
    lab.build(end_of("aie2_solver.c", COMMENT), end_of("aie2_pm.c", COMMENT))
    from_other = lab.build(edit)
    assert compiled(from_other) == {"aie2_solver", "aie2_pm"}
    assert from_other.digest == in_full.digest
    lab.forget(from_other)
    assert lab.build().digest == source.digest


def test_the_uapi_header_reaches_nothing_but_the_driver(lab: Lab) -> None:
    lab.build()
    module = lab.build(Edit("include/uapi/drm/amdxdna_accel.h", END, COMMENT))
    assert len(compiled(module)) > 10
    assert module.how.startswith("the driver alone (include/uapi/drm/amdxdna_accel.h)")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (Edit("include/linux/iova.h", END, COMMENT), r"include/linux/iova\.h reaches \S+\.o"),
        (Edit("include/linux/sched.h", END, COMMENT), r"include/linux/sched\.h reaches \S+\.o"),
        (Edit("drivers/gpu/drm/drm_gem.c", END, COMMENT), r"drm_gem\.c reaches drivers/gpu/drm/drm_gem\.o"),
        (Edit("include/drm/gpu_scheduler.h", END, COMMENT), r"gpu_scheduler\.h reaches drivers/gpu/drm/scheduler/\S+"),
        (Edit(f"{DRIVER}/Kconfig", END, "\n"), r"no dependency file names .*Kconfig"),
        (Edit("Makefile", END, "\n"), r"no dependency file names Makefile"),
        (Edit(MAKEFILE, END, "ccflags-y += -DX\n"), r"Makefile changes more than the list"),
        (added(f"{DRIVER}/list.h", "x"), r"list\.h may hide another header"),
        (added("kernel/new.c", "x"), r"no dependency file names kernel/new\.c"),
    ],
)
def test_what_reaches_more_is_told_to_need_a_kernel(lab: Lab, change: Edit | bytes, why: str) -> None:
    kernel = lab.engine.kernels.build(lab.pristine, Profile.PLAIN)
    tree = lab.tree(change)
    assert re.search(why, reach_of(tree, kernel, lab.store, make=True).doubt)
    with pytest.raises(KernelAsked):
        lab.engine.build(tree, Profile.PLAIN)
    assert lab.engine.cached(tree, Profile.PLAIN) is None


def test_what_the_makefile_puts_into_vmlinux_is_not_lost(lab: Lab) -> None:
    lab.build()
    with pytest.raises(KernelAsked):
        lab.build(Edit(MAKEFILE, END, "obj-y += xdna_new.o\n"), added(f"{DRIVER}/xdna_new.c", "int xdna_new;"))


def test_a_new_file_of_the_driver_is_linked(lab: Lab) -> None:
    source = lab.build()
    new = added(f"{DRIVER}/xdna_new.c", "int xdna_new(void);", "int xdna_new(void) { return 1; }")
    module = lab.build(Edit(MAKEFILE, r"\taie_psp\.o \\", r"\g<0>\n\txdna_new.o \\"), new)
    assert compiled(module) == {"xdna_new"}
    assert b"xdna_new" in module.files[-1].read_bytes()
    assert lab.build().digest == source.digest


def test_a_deleted_file_that_is_still_listed_does_not_build(lab: Lab) -> None:
    lab.build()
    with pytest.raises(BuildFailed, match=r"No rule to make target 'aie2_solver\.o'"):
        lab.build(deleted(lab.source, SOLVER))


def test_a_compile_error_is_named_and_leaves_nothing_but_its_log(lab: Lab) -> None:
    source = lab.build()
    tree = lab.tree(end_of("aie2_pm.c", "int xdna = nonsense;\n"))
    with pytest.raises(BuildFailed) as caught:
        lab.engine.build(tree, Profile.PLAIN)
    error = caught.value
    assert error.first is not None
    assert error.first.file == f"{DRIVER}/aie2_pm.c"
    assert error.first.line == len((lab.source.path / DRIVER / "aie2_pm.c").read_text().splitlines()) + 1
    assert error.log is not None
    assert "nonsense" in error.log.read_text()
    assert {path.parent.name for path in (lab.store.root / "modules").glob("*/module.json")} == {source.key}


def test_warnings_are_of_the_whole_driver_from_whatever_seed(lab: Lab) -> None:
    lab.build()
    header = Edit(f"{DRIVER}/aie2_solver.h", r"(?=#endif\b(?!.*#endif))", UNUSED)
    text = f"{DRIVER}/aie2_solver.h: 'xdna_unused' defined but not used [-Wunused-function]"
    later = lab.tree(header, end_of("aie2_pm.c", COMMENT))  # applied first: make goes by time
    warned = lab.build(header)
    assert warned.warnings == (text,)
    further = lab.engine.build(later, Profile.PLAIN)
    assert compiled(further) == {"aie2_pm"}
    assert further.warnings == (text,)
    users = sorted(compiled(warned))
    use = "static int (*xdna_use)(void) __attribute__((used)) = xdna_unused;\n"
    quiet = lab.build(header, *(end_of(f"{name}.c", use) for name in users))
    assert quiet.warnings == ()


def test_the_series_taken_out_is_the_driver_alone(lab: Lab, real_series: Path) -> None:
    lab.build()
    module = lab.build((real_series / "expandable-heap.reverse.patch").read_bytes())
    assert module.how.startswith("the driver alone (")
    assert module.kernel.release in module.how
    assert module.digest != lab.build().digest


def test_a_driver_that_does_not_fit_is_built_with_its_kernel_and_asked_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = lab.build()
    own = replace(source.kernel, key="own")
    real = Kbuild.build
    tree = lab.tree(end_of("aie2_pm.c", COMMENT))
    monkeypatch.setattr(modinfo, "wrong_versions", lambda *_: ["printk"])
    monkeypatch.setattr(Kbuild, "build", lambda *args: own if args[1].touched else real(*args))
    module = lab.engine.build(tree, Profile.PLAIN)
    assert module.how.startswith("kernel and driver: the driver wants other versions of printk")
    assert module.files == own.modules

    def fail(*_: object) -> NoReturn:
        pytest.fail("something was run")

    monkeypatch.setattr(Sandbox, "argv", fail)
    assert lab.engine.build(tree, Profile.PLAIN) == module


def test_who_needs_a_kernel_gets_the_driver_for_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    source = lab.build()
    own = replace(source.kernel, key="own")
    real: Callable[..., Kernel] = Kbuild.build
    monkeypatch.setattr(Kbuild, "build", lambda *args: own if args[1].touched else real(*args))
    module = lab.build(Edit("include/linux/iova.h", END, COMMENT))
    assert module.how.startswith("kernel and driver: include/linux/iova.h reaches ")
    assert module.kernel == own
    assert lab.store.root in module.files[-1].parents
    assert len(compiled(module)) > 20
