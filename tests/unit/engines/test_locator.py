# SPDX-License-Identifier: GPL-2.0-only
"""A small kernel of three objects and a module of two, compiled here without debug info: what their frames mean."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.engines.lines import Locator
from harness.formats.elf import Elf
from harness.host.sandbox import Sandbox
from harness.host.store import Store
from harness.model.frame import Frame, Place
from harness.model.kernel import Kernel, Module, Profile
from harness.model.tree import Source, Tree

pytestmark = pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("ar")), reason="no gcc")

HEADER = "static inline int deep(volatile int *p)\n{\n\treturn *p + 1;\n}\n"
SOURCES = {
    "include/x.h": HEADER,
    "kernel/one.c": '#include "x.h"\nint one(volatile int *p)\n{\n\tint n = 3;\n\tn += deep(p);\n\treturn n;\n}\n'
    "static __attribute__((noinline)) int twin(volatile int *p)\n{\n\treturn *p;\n}\n"
    "int more(volatile int *p) { return twin(p) + 1; }\n"
    "static __attribute__((noipa)) int pair(volatile int *p) { return *p; }\n"
    "int use(volatile int *p) { return pair(p) + 1; }\n",
    "kernel/two.c": "static __attribute__((noinline)) int twin(volatile int *p)\n{\n\treturn *p;\n}\n"
    "int two(volatile int *p) { return twin(p) + 2; }\n"
    "static __attribute__((noipa)) int pair(volatile int *p) { " + "*p = 1; " * 40 + "return *p; }\n"
    "int use2(volatile int *p) { return pair(p) + 2; }\n"
    "__attribute__((weak)) int one(volatile int *p) { return *p; }\n",
    "lib/three.c": "\n\nint three(volatile int *p)\n{\n\treturn *p * 3;\n}\n",
    "drivers/npu/a.c": "int npu_a(volatile int *p)\n{\n\t*p = 1;\n\treturn *p;\n}\n",
    "drivers/npu/b.c": "int npu_b(volatile int *p)\n{\n\treturn *p;\n}\n",
}


class Lab:
    """The kernel "k", and the means to ask for its lines."""

    def __init__(self, root: Path) -> None:
        self.source, self.build = root / "source", root / "build"
        for name, text in SOURCES.items():
            path = self.source / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name in SOURCES:
            if name.endswith(".c"):
                self.compile(name)
        self.archive("built-in.a", "kernel/one.o", "kernel/two.o")
        self.archive("lib/lib.a", "three.o")
        self.archive("arch/x86/lib/lib.a")
        (self.build / "modules.order").write_text("drivers/npu/npu.o\n")
        (self.build / "drivers/npu/npu.mod").write_text("drivers/npu/a.o\ndrivers/npu/b.o\n")

    def compile(self, name: str) -> None:
        target = name.removesuffix(".c") + ".o"
        path = self.build / target
        path.parent.mkdir(parents=True, exist_ok=True)
        words = f"gcc -Wp,-MMD,{path.with_suffix('.d')} -I{self.source}/include -O2 -fno-pie"
        command = f"{words} -c -o {target} {self.source}/{name}"
        subprocess.run(["sh", "-c", command], cwd=self.build, check=True, timeout=30)
        path.with_name(f".{path.name}.cmd").write_text(f"savedcmd_{target} := {command}\n")

    def archive(self, name: str, *members: str) -> None:
        path = self.build / name
        path.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["ar", "cDPrST", path.name, *members], cwd=path.parent, check=True, timeout=20)

    def locator(self, cache: Path) -> Locator:
        kernel = Kernel("k", "7.3-k", Profile.PLAIN, self.build / "bzImage", (), self.build, self.build / "log")
        tree = Tree("t", self.source, Source("s", "s", "7.3", "s", self.source))
        module = Module("k", kernel, (), "", "", self.build / "log")
        return Locator(Store(cache), Sandbox("none", "a test"), module, tree, tree)

    def frame(self, target: str, function: str, module: str = "") -> Frame:
        """A call that its first instruction would be."""
        symbols = Elf((self.build / target).read_bytes()).labels()
        (symbol,) = [symbol for symbol in symbols if symbol.name == function]
        return Frame(function, 1, symbol.size, module)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


def test_frames_of_the_kernel_and_of_a_module(lab: Lab, tmp_path: Path) -> None:
    one, three = lab.frame("kernel/one.o", "one"), lab.frame("lib/three.o", "three")
    b = lab.frame("drivers/npu/b.o", "npu_b", "npu")
    locator = lab.locator(tmp_path)
    found = locator.places([one, three, b])
    assert found[one] == (Place("deep", "include/x.h", 3), Place("one", "kernel/one.c", 5))
    assert found[three] == (Place("three", "lib/three.c", 5),)
    assert found[b] == (Place("npu_b", "drivers/npu/b.c", 3),)
    assert locator.doubts == []


def test_size_tells_functions_of_one_name_apart(lab: Lab, tmp_path: Path) -> None:
    frames = [lab.frame(f"kernel/{name}.o", "pair") for name in ("one", "two")]
    assert frames[0].size + 64 < frames[1].size
    found = lab.locator(tmp_path).places(frames)
    assert [[place.file for place in found[frame]] for frame in frames] == [["kernel/one.c"], ["kernel/two.c"]]


def test_the_last_function_of_a_page_seems_to_reach_to_its_end(lab: Lab, tmp_path: Path) -> None:
    size = lab.frame("lib/three.o", "three").size
    assert lab.locator(tmp_path).places([Frame("three", 1, 0x1000)]) != {}
    assert lab.locator(tmp_path).places([Frame("three", size + 1, 0x1000)]) == {}


def test_what_is_compiled_once_is_kept(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lab.frame("kernel/one.o", "one")
    found = lab.locator(tmp_path).places([one])
    assert found

    def compiled(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(Locator, "_compile", compiled)
    assert lab.locator(tmp_path).places([one]) == found


def test_nothing_is_guessed(lab: Lab, tmp_path: Path) -> None:
    one, twin = lab.frame("kernel/one.o", "one"), lab.frame("kernel/one.o", "twin")
    frames = [
        twin,  # two functions of this name and size
        Frame("nobody", 1, 16),
        Frame("one", 1, one.size, "npu"),  # of another module
        Frame("one", 1, one.size, "gone"),
        Frame("one", 0, one.size),  # returns to its first instruction: the call was in the function before
        Frame("one", one.size + 1, one.size),
        Frame("one", 1, one.size - 1),  # shorter than it is
    ]
    assert lab.locator(tmp_path).places(frames) == {}


def test_code_that_is_another_has_no_lines(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    b = lab.frame("drivers/npu/b.o", "npu_b", "npu")
    path = lab.source / "drivers/npu/b.c"
    path.write_text(path.read_text().replace("*p;", "*p + 5;"))
    assert lab.locator(tmp_path).places([b]) == {}
    path.write_text("no C")
    assert lab.locator(tmp_path).places([b]) == {}  # that was kept: nobody compiles it again


def test_trouble_costs_lines_of_that_object_only(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    a, b = lab.frame("drivers/npu/a.o", "npu_a", "npu"), lab.frame("drivers/npu/b.o", "npu_b", "npu")
    (lab.source / "drivers/npu/a.c").write_text("no C")
    (lab.build / "built-in.a").write_text("no archive")
    locator = lab.locator(tmp_path)
    assert locator.places([a, b, Frame("one", 1, 16)]).keys() == {b}
    assert [doubt.partition(":")[0] for doubt in locator.doubts] == ["not a thin archive", "drivers/npu/a.o"]


def test_nothing_is_compiled_when_time_is_up(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = lab.frame("kernel/one.o", "one")
    monkeypatch.setattr("harness.engines.lines.ALL_SECONDS", -1.0)
    locator = lab.locator(tmp_path)
    assert locator.places([one]) == {}
    assert locator.doubts == ["kernel/one.o: out of time"]
