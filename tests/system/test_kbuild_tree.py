# SPDX-License-Identifier: GPL-2.0-only
"""The kernel engine with a real make, compiler and sandbox, on a tiny source with a kernel's targets."""

import difflib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engines.kbuild import BuildFailed, Kbuild
from harness.errors import InfraError, UsageError
from harness.host import toolchain
from harness.host.sandbox import Sandbox
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.model.kernel import Kernel, Profile
from harness.model.series import Patch
from harness.model.tree import Source, Tree

DRIVER = "drivers/accel/amdxdna"
MAKEFILE = f"""\
ifneq ($(wildcard /src/.config),)
$(error The source tree is not clean)
endif
vpath %.c $(CURDIR)
include {DRIVER}/Makefile
objs := $(addprefix $(O)/{DRIVER}/,$(drv-y))
allnoconfig:
	@cp $(KCONFIG_ALLCONFIG) $(O)/.config
bzImage: FORCE
	@mkdir -p $(O)/arch/x86/boot $(O)/include/config
	@echo 7.3.4$(LOCALVERSION) > $(O)/include/config/kernel.release
	@echo image$(LOCALVERSION) > $(O)/arch/x86/boot/bzImage
$(O)/%.o: %.c
	@echo '  CC [M]  $*.o'
	@mkdir -p $(dir $@)
	@gcc -c -Iinclude -MMD -MP -MF $(@D)/.$(*F).o.d -o $@ $<
	@sed -i 's# $<##' $(@D)/.$(*F).o.d
	@echo "deps := `cat $(@D)/.$(*F).o.d`" > $(@D)/.$(*F).o.cmd
-include $(wildcard $(O)/{DRIVER}/.*.o.d)
$(O)/{DRIVER}/amdxdna.ko: $(objs) FORCE
	@echo '  LD [M]  amdxdna.ko'
	@ld -r -o $@ $(objs)
$(O)/drivers/gpu-sched.ko: $(O)/drivers/sched.o
	@cp $< $@
modules: $(O)/{DRIVER}/amdxdna.ko $(O)/drivers/gpu-sched.ko
	@printf '%s\\n' {DRIVER}/amdxdna.o drivers/gpu-sched.o > $(O)/modules.order
FORCE:
.PHONY: FORCE
"""
GEM = f"{DRIVER}/gem.c"
CTX = f"{DRIVER}/ctx.c"
HEADER = f"{DRIVER}/gem.h"
FILES = {
    "Makefile": MAKEFILE,
    f"{DRIVER}/Makefile": "drv-y := gem.o ctx.o\n",
    GEM: '#include "gem.h"\nconst char gem[] = "pristine gem " HEAP;\n'
    'const char info[] __attribute__((section(".modinfo"))) = "depends=gpu-sched";\n',
    CTX: 'const char ctx[] = "pristine ctx";\n',
    HEADER: '#define HEAP "pristine heap"\n',
    "drivers/sched.c": 'const char info[] __attribute__((section(".modinfo"))) = "depends=";\n',
}


class Lab:
    """A source, a store and an engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "cache")
        self.source = Source("dir:x", "a small source", "7.3.4", "smallsource", folder / "source")
        for name, text in FILES.items():
            path = self.source.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        fragments = folder / "fragments"
        fragments.mkdir()
        (fragments / "plain.config").write_text("# it must\nCONFIG_A=y\n")
        self.engine = Kbuild(self.store, Sandbox.detect(), fragments)

    def tree(self, **changes: str | None) -> Tree:
        """The source with some of the driver's files replaced, ``__`` for a dot; None deletes."""
        layers = []
        for name, text in changes.items():
            path = f"{DRIVER}/{name.replace('__', '.')}"
            layers.append(patch(path, FILES.get(path), text))
        return make_tree(self.source, layers, self.store)

    def build(self, tree: Tree) -> Kernel:
        return self.engine.build(tree, Profile.PLAIN)

    def forget(self, kernel: Kernel) -> None:
        shutil.rmtree(self.store.path("kernels", kernel.key))


def patch(path: str, old: str | None, new: str | None) -> Patch:
    lines = difflib.unified_diff(
        (old or "").splitlines(True),
        (new or "").splitlines(True),
        "/dev/null" if old is None else f"a/{path}",
        "/dev/null" if new is None else f"b/{path}",
    )
    kind = "new file mode 100644\n" if old is None else "deleted file mode 100644\n" if new is None else ""
    diff = f"diff --git a/{path} b/{path}\n{kind}{''.join(lines)}"
    return Patch(f"change {path}", "me", None, "", (path,), diff.encode())


def compiled(kernel: Kernel) -> set[str]:
    """What make compiled for this kernel."""
    return {line.split()[-1] for line in kernel.log.read_text().splitlines() if line.startswith("  CC")}


def driver(kernel: Kernel) -> bytes:
    return kernel.modules[-1].read_bytes()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    if not all(shutil.which(program) for program in toolchain.PROGRAMS):
        pytest.skip(f"needs {', '.join(toolchain.PROGRAMS)}")
    return Lab(tmp_path)


@pytest.fixture
def seeded(lab: Lab) -> Lab:
    if not lab.engine.sandbox.isolated:
        pytest.skip(f"only in the sandbox: {lab.engine.sandbox.reason}")
    return lab


ALL = {f"{DRIVER}/gem.o", f"{DRIVER}/ctx.o", "drivers/sched.o"}


def test_a_kernel_says_what_it_is(lab: Lab) -> None:
    kernel = lab.build(lab.tree())
    assert kernel.release == f"7.3.4-xdna-{kernel.key}"
    assert kernel.image.read_text() == f"image-xdna-{kernel.key}\n"
    assert [path.name for path in kernel.modules] == ["gpu-sched.ko", "amdxdna.ko"]
    assert compiled(kernel) == ALL


def test_a_key_that_is_built_is_never_built_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = lab.build(lab.tree())
    monkeypatch.setattr(Sandbox, "argv", lambda *_: pytest.fail("something was run"))
    assert lab.build(lab.tree()) == kernel
    assert lab.engine.has(lab.tree(), Profile.PLAIN)


def test_only_what_differs_is_compiled_there_and_back_again(seeded: Lab) -> None:
    lab = seeded
    pristine = lab.build(lab.tree())
    first = driver(pristine)
    before = {path: path.stat().st_mtime_ns for path in lab.source.path.rglob("*")}

    patched = lab.build(lab.tree(ctx__c='const char ctx[] = "patched ctx";\n'))
    assert compiled(patched) == {f"{DRIVER}/ctx.o"}
    assert b"patched ctx" in driver(patched)
    assert b"pristine gem" in driver(patched)

    other = lab.build(lab.tree(gem__h='#define HEAP "patched heap"\n'))
    assert b"patched heap" in driver(other)
    assert b"pristine ctx" in driver(other)

    lab.forget(pristine)
    lab.forget(other)
    again = lab.build(lab.tree())  # from the patched one, the only one left
    assert compiled(again) == {f"{DRIVER}/ctx.o"}
    assert driver(again) == first
    assert {path: path.stat().st_mtime_ns for path in lab.source.path.rglob("*")} == before


def test_from_one_patched_tree_to_another(seeded: Lab) -> None:
    lab = seeded
    one = lab.build(lab.tree(ctx__c='const char ctx[] = "one ctx";\n'))
    two = lab.build(lab.tree(gem__h='#define HEAP "two heap"\n'))
    assert compiled(two) == {f"{DRIVER}/ctx.o", f"{DRIVER}/gem.o"}
    assert b"pristine ctx" in driver(two)
    assert b"two heap" in driver(two)
    lab.forget(one)
    lab.forget(two)
    assert driver(lab.build(lab.tree(gem__h='#define HEAP "two heap"\n'))) == driver(two)


def test_a_file_that_the_seed_added_is_gone_without_a_trace(seeded: Lab) -> None:
    lab = seeded
    new = lab.build(lab.tree(new__h='#define NEW "new"\n', ctx__c='#include "new.h"\nconst char ctx[] = NEW;\n'))
    assert b"new" in driver(new)
    pristine = lab.build(lab.tree())
    assert compiled(pristine) == {f"{DRIVER}/ctx.o"}
    with pytest.raises(BuildFailed, match=r"new\.h"):
        lab.build(lab.tree(ctx__c='#include "new.h"\nconst char ctx[] = "x";\n'))


def test_a_deleted_source_that_is_still_listed_does_not_build(seeded: Lab) -> None:
    lab = seeded
    lab.build(lab.tree())
    with pytest.raises(BuildFailed) as caught:
        lab.build(lab.tree(ctx__c=None))
    assert "No rule to make target" in caught.value.message


def test_a_new_header_with_a_known_name_builds_in_full(seeded: Lab) -> None:
    lab = seeded
    header = lab.source.path / "include" / "gem.h"
    header.parent.mkdir()
    header.write_text('#define HEAP "from include"\n')
    lab.build(lab.tree())
    layers = [patch("include/drm/gem.h", None, "\n")]
    kernel = lab.build(make_tree(lab.source, layers, lab.store))
    assert compiled(kernel) == ALL


def test_a_compile_error_is_named_and_leaves_nothing_but_its_log(lab: Lab) -> None:
    lab.build(lab.tree())
    tree = lab.tree(gem__c="int gem = nonsense;\n")
    with pytest.raises(BuildFailed) as caught:
        lab.build(tree)
    error = caught.value
    assert error.first is not None
    assert (error.first.file, error.first.line) == (GEM, 1)
    assert "nonsense" in error.message
    assert error.log is not None
    assert "nonsense" in error.log.read_text()
    assert not lab.engine.has(tree, Profile.PLAIN)
    assert len(list((lab.store.root / "kernels").glob("[!.]*"))) == 1


def test_who_changes_a_makefile_is_nobodys_seed(seeded: Lab) -> None:
    lab = seeded
    changed = lab.tree(Makefile="drv-y := gem.o ctx.o  # changed\n")
    kernel = lab.build(changed)
    pristine = lab.tree()
    assert lab.engine.has(pristine, Profile.PLAIN), "the source was to be built first, as a seed for both"
    assert compiled(kernel) == set()
    lab.forget(lab.build(pristine))
    assert lab.engine.seed_for(pristine, Profile.PLAIN) is None


def test_the_source_is_not_built_first_where_that_saves_nothing(seeded: Lab) -> None:
    lab = seeded
    script = patch("scripts/x.sh", None, "echo\n")
    lab.build(make_tree(lab.source, [script], lab.store))
    assert not lab.engine.has(lab.tree(), Profile.PLAIN)


@pytest.mark.parametrize(
    "evil",
    [
        "touch /src/evil",
        "touch $(O)/../kernel.json",
        "echo x > /ccache/evil",
        "echo x > ~/../evil",
        "cat /etc/passwd",
    ],
)
def test_a_makefile_that_means_harm_gets_nowhere(seeded: Lab, evil: str) -> None:
    lab = seeded
    tree = lab.tree(Makefile=f"drv-y := gem.o ctx.o\nout := $(shell {evil} && echo did it > $(O)/done)\n")
    kernel = lab.build(tree)
    assert not (kernel.build / "done").exists()
    assert not list(lab.folder.rglob("evil"))


def test_a_makefile_that_means_well_does_run(seeded: Lab) -> None:
    kernel = seeded.build(seeded.tree(Makefile="drv-y := gem.o ctx.o\nx := $(shell echo did it > $(O)/done)\n"))
    assert (kernel.build / "done").exists()


def test_a_link_where_the_image_should_be_is_refused(seeded: Lab) -> None:
    lab = seeded
    text = "drv-y := gem.o ctx.o\nmodules: evil\nevil: bzImage\n"
    text += "\tln -sf /etc/shadow $(O)/arch/x86/boot/bzImage\n"
    with pytest.raises(InfraError, match="left a link where a file should be: arch/x86/boot/bzImage"):
        lab.build(lab.tree(Makefile=text))


def test_a_build_that_never_ends_is_the_labs_business(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.engines.kbuild.BUILD_SECONDS", 2.0)
    with pytest.raises(InfraError, match="did not end within 2 s"):
        lab.build(lab.tree(Makefile="drv-y := gem.o ctx.o\nbzImage: wait\nwait:\n\tsleep 100\n"))


def test_a_symbol_that_the_kernel_does_not_grant_is_named(lab: Lab) -> None:
    (lab.engine.fragments / "plain.config").write_text("# it must\nCONFIG_A=y\n# this too\nCONFIG_B=y\n")
    makefile = lab.source.path / "Makefile"
    makefile.write_text(MAKEFILE.replace("@cp $(KCONFIG_ALLCONFIG) $(O)/.config", "@echo CONFIG_A=y > $(O)/.config"))
    with pytest.raises(UsageError, match="CONFIG_B: asked y, got n") as caught:
        lab.build(lab.tree())
    assert "plain.config:4" in caught.value.hint


def test_another_configuration_is_another_kernel(lab: Lab) -> None:
    key = lab.engine.key(lab.tree(), Profile.PLAIN)
    (lab.engine.fragments / "plain.config").write_text("# another reason\nCONFIG_A=y\n")
    assert lab.engine.key(lab.tree(), Profile.PLAIN) == key
    (lab.engine.fragments / "plain.config").write_text("# it must\nCONFIG_A=m\n")
    assert lab.engine.key(lab.tree(), Profile.PLAIN) != key


def test_without_a_sandbox_everything_is_built_and_the_key_differs(lab: Lab) -> None:
    plain = Kbuild(lab.store, Sandbox("none", "test"), lab.engine.fragments)
    tree = lab.tree(ctx__c='const char ctx[] = "patched ctx";\n')
    assert plain.key(tree, Profile.PLAIN) != lab.engine.key(tree, Profile.PLAIN) or not lab.engine.sandbox.isolated
    plain.build(lab.tree(), Profile.PLAIN)
    kernel = plain.build(tree, Profile.PLAIN)
    assert compiled(kernel) == ALL
    assert b"patched ctx" in driver(kernel)


def test_an_unclean_source_is_for_its_owner_to_clean(lab: Lab) -> None:
    text = "$(info *** The source tree is not clean, please run 'make mrproper')\n$(error stop)\n"
    (lab.source.path / "Makefile").write_text(text)
    with pytest.raises(UsageError, match="built inside"):
        lab.build(replace(lab.tree(), key="other"))
