# SPDX-License-Identifier: GPL-2.0-only
"""gcov's own output over a program that is built and run here, twice, as if in two guests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.checks.coverage import UAPI, sources, summed
from harness.formats import gcov
from harness.model.tree import Source, Tree

GEM = "drivers/accel/amdxdna/amdxdna_gem.c"
OLD = "int main(int c, char **v)\n{\n\treturn 0;\n}\n"
NEW = "int main(int c, char **v)\n{\n\tif (c > 2)\n\t\tc = 1;\n\tif (c > 1)\n\t\tc = 0;\n\treturn 0;\n}\n"


def of(path: Path) -> Tree:
    return Tree("key", path, Source("dir:x", "x", "7.3.4", "key", path))


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("gcov")), reason="no gcc")
def test_two_guests_are_one_coverage(tmp_path: Path) -> None:
    old, new, obj, lane = (tmp_path / name for name in ("old", "new", "obj", "lane"))
    for tree, text in ((old, OLD), (new, NEW)):
        (tree / GEM).parent.mkdir(parents=True)
        (tree / GEM).write_text(text)
    obj.mkdir()
    build = ["gcc", "--coverage", "-c", str(new / GEM), "-o", "amdxdna_gem.o"]
    subprocess.run(build, cwd=obj, check=True)
    subprocess.run(["gcc", "--coverage", "amdxdna_gem.o", "-o", "program"], cwd=obj, check=True)
    for number, arguments in ((1, []), (2, ["x"])):
        subprocess.run([str(obj / "program"), *arguments], check=True)
        counts = lane / f"boot-{number}" / "gcov"
        counts.mkdir(parents=True)
        (obj / "amdxdna_gem.gcda").replace(counts / "amdxdna_gem.gcda")
    found, lost, added = gcov.load(summed(obj, lane, of(new), of(old), ["3"]))
    assert found[GEM].lines == {1: 2, 3: 2, 4: 0, 5: 2, 6: 1, 7: 2}
    assert (lost, added) == (["3"], {GEM: [3, 4, 5, 6]})
    assert any("3 of 4 lines ran; never: 4" in row for row in gcov.describe(found, lost, added))


def test_the_drivers_files_are_those_of_its_folder_and_what_user_space_sees(tmp_path: Path) -> None:
    for name in (GEM, UAPI, "drivers/accel/amdxdna/Makefile", "drivers/accel/ivpu/x.c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"caf\xe9\r\n")
    assert sources(tmp_path) == {GEM: "caf\udce9\r\n", UAPI: "caf\udce9\r\n"}
    assert sources(tmp_path / "nothing") == {}
