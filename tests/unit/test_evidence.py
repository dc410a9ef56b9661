# SPDX-License-Identifier: GPL-2.0-only
"""What a run keeps for a person to read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

from harness.builds import Builds
from harness.evidence import keep_difference
from harness.formats.changes import read
from harness.formats.gcov import FOLDER
from harness.plan import BASE, HEAD


def test_what_the_series_changes_in_the_driver_is_kept_where_there_is_a_base(tmp_path: Path) -> None:
    trees = {}
    for lane, text in ((BASE, b"caf\xe9\n"), (HEAD, b"caf\xe9\nnew\n")):
        (tmp_path / lane / FOLDER).mkdir(parents=True)
        (tmp_path / lane / FOLDER / "a.c").write_bytes(text)
        trees[lane] = SimpleNamespace(path=tmp_path / lane)
    kept = tmp_path / "series.diff"
    keep_difference(cast(Builds, SimpleNamespace(trees={HEAD: trees[HEAD]}, out=tmp_path)))
    assert not kept.exists()
    keep_difference(cast(Builds, SimpleNamespace(trees=trees, out=tmp_path)))
    (file,) = read(kept.read_bytes().decode(errors="surrogateescape"))
    assert file.name == f"{FOLDER}/a.c"
    assert [(line.mark, line.text) for line in file.hunks[0]] == [(" ", "caf\udce9"), ("+", "new")]
