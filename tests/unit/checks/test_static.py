# SPDX-License-Identifier: GPL-2.0-only
"""A check that is not there or fails has not been asked; what is known is not asked twice; what is compiled."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.checks import static
from harness.checks.static.compilers import goals, outside
from harness.errors import InfraError
from harness.host.bench import Bench
from harness.host.sandbox import Sandbox
from harness.host.store import Store
from harness.model.complaint import Answer, Complaint
from harness.model.kernel import Kernel, Profile
from harness.model.tree import Source, Tree

DRIVER = "drivers/accel/amdxdna"


@dataclass
class Fake:
    answer: Answer | InfraError
    programs: tuple[str, ...] = ("sh",)
    name: str = "fake"
    asked: list[str] = field(default_factory=list)

    def ask(self, bench: Bench) -> Answer:
        self.asked.append(bench.tree.key)
        if isinstance(self.answer, InfraError):
            raise self.answer
        return self.answer


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


def make_bench(root: Path, tree: str = "tree", mail: bytes = b"") -> Bench:
    source = Source("debian:7.3", "a package", "7.3.4", "source", root)
    kernel = Kernel("kernel", "7.3.4", Profile.PLAIN, root, (), root, root)
    at = Tree(tree, root, source)
    files = (f"{DRIVER}/a.c",)
    return Bench(Sandbox("none", "no sandbox here"), Store(root / "cache"), at, source, kernel, files, mail)


def test_what_is_not_installed_says_so_and_what_brings_it(bench: Bench) -> None:
    fake = Fake(Answer(), programs=("no-such-program",))
    assert static.ask(fake, bench).not_asked.startswith("no-such-program is not installed")
    assert fake.asked == []


def test_the_package_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.host.toolchain.has", lambda program: False)
    assert "apt-get install sparse" in static.ask(Fake(Answer(), programs=("sparse",)), bench).not_asked


def test_what_fails_was_not_asked_and_is_asked_again(bench: Bench) -> None:
    broken = Fake(InfraError("the disk is full", hint="make room"))
    assert static.ask(broken, bench).not_asked == "the disk is full; make room"
    assert static.ask(Fake(Answer(not_asked="it ended with 9")), bench).not_asked == "it ended with 9"
    fine = Fake(Answer())
    assert static.ask(fine, bench) == Answer()
    assert fine.asked == ["tree"]


def test_nothing_is_asked_twice_and_another_tree_or_mail_is_another_question(tmp_path: Path) -> None:
    said = Answer((Complaint("a.c", "warning: x", 3),), (Complaint("", "ERROR: y"),), gaps=("not all of it",))
    fake = Fake(said)
    for _ in range(2):
        again = static.ask(fake, make_bench(tmp_path))
        assert again == said
        assert again.complaints[0].line == 3
    assert fake.asked == ["tree"]
    static.ask(fake, make_bench(tmp_path, mail=b"a patch"))
    static.ask(fake, make_bench(tmp_path, tree="other"))
    assert fake.asked == ["tree", "tree", "other"]


def test_without_a_sandbox_nothing_of_a_strangers_runs(bench: Bench) -> None:
    path = bench.tree.path / DRIVER / "a.c"
    path.parent.mkdir(parents=True)
    path.write_text("int x;\n")
    found = {check.name: static.ask(check, bench).not_asked for check in static.CHECKS}
    assert set(found) >= {"checkpatch", "gcc W=1", "clang W=1", "sparse", "coccinelle", "kernel-doc", "uAPI header"}
    assert all(found.values()), found


def test_only_what_can_have_changed_is_compiled() -> None:
    assert goals([f"{DRIVER}/b.c", f"{DRIVER}/a.c", "Documentation/x.rst"]) == ["a.o", "b.o"]
    assert goals([f"{DRIVER}/a.c", f"{DRIVER}/a.h"]) == ["modules"]
    assert goals([f"{DRIVER}/a.c", f"{DRIVER}/Makefile"]) == ["modules"]
    assert goals(["include/uapi/drm/amdxdna_accel.h"]) == ["modules"]
    assert goals(["Documentation/x.rst", "MAINTAINERS"]) == []
    assert outside([f"{DRIVER}/a.c", "drivers/iommu/x.c"]) == ("drivers/iommu/x.c is not the driver's: not compiled",)
