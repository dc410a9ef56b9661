# SPDX-License-Identifier: GPL-2.0-only
"""What compilers say when asked to say more (W=1): gcc and clang; and what looks on beside one: sparse, smatch.

Only the driver is compiled, outside of the kernel's tree, against a kernel that is there; of it only the files that a
series touches, unless it touches a header or a list of objects.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.checks.static.check import DRIVER, failed, stopped
from harness.errors import InfraError
from harness.formats import build_log, complaints
from harness.host import toolchain
from harness.host.bench import Bench, Said
from harness.model.complaint import Answer, Complaint

PARALLEL = f"-j{os.cpu_count() or 1}"
CLANG = "clang-19"
_REFUSED = "is not available or not up to date"


def goals(files: Iterable[str]) -> list[str]:
    """What of the driver to make, for a series that touches these files; nothing if it is none of its own."""
    names = [name for name in files if not name.startswith("Documentation/")]
    compiled = [name for name in names if name.endswith((".c", ".h")) or name.startswith(f"{DRIVER}/")]
    if not compiled:
        return []
    if all(name.startswith(f"{DRIVER}/") and name.endswith(".c") for name in compiled):
        return [f"{name.removeprefix(f'{DRIVER}/').removesuffix('.c')}.o" for name in sorted(compiled)]
    return ["modules"]


def outside(files: Iterable[str]) -> tuple[str, ...]:
    """Code that a series touches and that is not compiled here."""
    return tuple(
        f"{name} is not the driver's: not compiled"
        for name in sorted(files)
        if name.endswith((".c", ".S")) and not name.startswith(f"{DRIVER}/")
    )


@dataclass(frozen=True)
class Old:
    """How a tool that the kernel's own test finds too old is asked all the same: with ``words`` instead, without
    complaints that have ``noise`` in them; ``gap`` says what that costs."""

    words: tuple[str, ...]
    noise: str
    gap: str


@dataclass(frozen=True)
class Compiled:
    """make on the driver with ``words``; ``read`` finds the complaints in what it prints, and ``step`` is what make
    prints when it asks: without one, nobody was asked, and silence means nothing. ``prepare`` gives the build folder to
    compile against where the kernel's own will not do."""

    name: str
    programs: tuple[str, ...]
    words: tuple[str, ...]
    step: str
    read: Callable[[str], tuple[Complaint, ...]]
    prepare: Callable[[Bench], Path] | None = None
    old: Old | None = None

    def ask(self, bench: Bench) -> Answer:
        todo = goals(bench.files)
        if not todo:
            return Answer()
        gaps = outside(bench.files)
        said = self._make(bench, self.words, todo)
        found = self.read(said.text)
        if _REFUSED in said.text and self.old:
            said = self._make(bench, self.old.words, todo)
            found = tuple(c for c in self.read(said.text) if self.old.noise not in c.text)
            gaps = (*gaps, self.old.gap)
        if _REFUSED in said.text:
            return Answer(not_asked=f"{self.programs[0]} is too old for this kernel, says its scripts/checker-valid.sh")
        failed_to_compile = any("error: " in complaint.text for complaint in found)
        if f"  {self.step} " not in said.text or (said.status != 0 and not failed_to_compile):
            return Answer(not_asked=failed(said, self.name))
        return Answer(found, gaps=(*gaps, *stopped(found)))

    def _make(self, bench: Bench, words: tuple[str, ...], todo: list[str]) -> Said:
        """Each file's output together, and on to the next file after an error: that is a complaint like any other."""
        against = self.prepare(bench) if self.prepare else None
        argv = [*words, "-k", "-Otarget", PARALLEL, "KBUILD_MODPOST_WARN=1", *todo]
        said = bench.make(argv, DRIVER, self.name, against=against)
        if lack := build_log.machine_failure(said.text):
            raise InfraError(f"{self.name} was cut short: {lack}", transient=True)
        return said


def _gcc(printed: str) -> tuple[Complaint, ...]:
    return complaints.compiler(printed) + complaints.modpost(printed)


def _clang_folder(bench: Bench) -> Path:
    """A kernel's build folder, configured for clang as far as outside modules need it."""

    def fill(folder: Path) -> None:
        build = folder / "build"
        build.mkdir()
        (build / ".config").write_bytes((bench.kernel.build / ".config").read_bytes())
        for goal in ("olddefconfig", "modules_prepare"):
            bench.make_pristine([f"CC={CLANG}", PARALLEL, goal], build, f"preparing {CLANG}: {goal}")

    return bench.prepared(fill, folder="clang", kernel=bench.kernel.key, tool=toolchain.words_of(CLANG)) / "build"


GCC = Compiled("gcc W=1", ("gcc",), ("W=1",), "CC [M]", _gcc)
# Its folder has no Module.symvers, so modpost knows no symbol; gcc's has.
CLANG_W1 = Compiled("clang W=1", (CLANG,), ("W=1", f"CC={CLANG}"), "CC [M]", complaints.compiler, _clang_folder)
SPARSE = Compiled(
    "sparse",
    ("sparse",),
    ("C=2", "CHECK=sparse"),
    "CHECK",
    complaints.compiler,
    old=Old(
        # The kernel uses this keyword only where its compiler has it; the test of 7.3 asks for it all the same.
        ("C=2", "CHECK=sparse -D__typeof_unqual__=__typeof__"),
        "bad constant expression",  # said of each MODULE_* line, with 0.6.4
        "sparse is older than this kernel wants: what it says about constant expressions is left out",
    ),
)
SMATCH = Compiled("smatch", ("smatch",), ("C=2", "CHECK=smatch -p=kernel"), "CHECK", complaints.smatch)
