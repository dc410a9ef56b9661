# SPDX-License-Identifier: GPL-2.0-only
"""gcov's own output over a program that is built and run here, twice, as if in two guests."""

from __future__ import annotations

import base64
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

from harness.checks.coverage import UAPI, by_test, sources, summed
from harness.formats import gcov
from harness.model.tree import Source, Tree

GEM = "drivers/accel/amdxdna/amdxdna_gem.c"
OLD = "int main(int c, char **v)\n{\n\treturn 0;\n}\n"
NEW = "int main(int c, char **v)\n{\n\tif (c > 2)\n\t\tc = 1;\n\tif (c > 1)\n\t\tc = 0;\n\treturn 0;\n}\n"


def of(path: Path) -> Tree:
    return Tree("key", path, Source("dir:x", "x", "7.3.4", "key", path))


@pytest.mark.skipif(not (shutil.which("gcc") and shutil.which("gcov")), reason="no gcc")
def test_two_tests_are_one_coverage(tmp_path: Path) -> None:
    old, new, obj = (tmp_path / name for name in ("old", "new", "obj"))
    for tree, text in ((old, OLD), (new, NEW)):
        (tree / GEM).parent.mkdir(parents=True)
        (tree / GEM).write_text(text)
    obj.mkdir()
    build = ["gcc", "--coverage", "-c", str(new / GEM), "-o", "amdxdna_gem.o"]
    subprocess.run(build, cwd=obj, check=True)
    subprocess.run(["gcc", "--coverage", "amdxdna_gem.o", "-o", "program"], cwd=obj, check=True)
    events: list[dict[str, object]] = [{"event": "lost", "id": "test_c"}]
    for test, arguments in (("test_a", []), ("test_b", ["x"])):
        subprocess.run([str(obj / "program"), *arguments], check=True)
        counts = obj / "amdxdna_gem.gcda"
        told = base64.b64encode(zlib.compress(counts.read_bytes())).decode()
        events.append({"event": "test-end", "id": test, "gcov": {counts.name: told}})
        counts.unlink()
    found, lost, added = gcov.load(summed(obj, events, of(new), of(old)))
    assert found[GEM].lines == {1: 2, 3: 2, 4: 0, 5: 2, 6: 1, 7: 2}
    assert (lost, added) == (["test_c"], {GEM: [3, 4, 5, 6]})
    assert any("3 of 4 lines ran; never: 4" in row for row in gcov.describe(found, lost, added))
    alone = by_test(obj, events)
    assert (alone["test_a"][GEM].lines[6], alone["test_b"][GEM].lines[6]) == (0, 1)


def test_the_drivers_files_are_those_of_its_folder_and_what_user_space_sees(tmp_path: Path) -> None:
    for name in (GEM, UAPI, "drivers/accel/amdxdna/Makefile", "drivers/accel/ivpu/x.c"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"caf\xe9\r\n")
    assert sources(tmp_path) == {GEM: "caf\udce9\r\n", UAPI: "caf\udce9\r\n"}
    assert sources(tmp_path / "nothing") == {}
