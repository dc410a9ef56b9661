# SPDX-License-Identifier: GPL-2.0-only
"""Each static check is seen to complain about a patch that deserves it, and about nothing else, on a real kernel.

What is planted are lines of ours at the end of the driver's files. Checks that are not installed are skipped, loudly.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Edit, mail, mails
from harness.checks import static
from harness.engines.module import Modules
from harness.engines.seed import is_trusted
from harness.host.bench import Bench
from harness.host.data import data_folder
from harness.host.fetch import fetch
from harness.host.sandbox import Sandbox
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.model.complaint import Answer, CheckReport, attribute
from harness.model.kernel import Profile
from harness.model.series import Series
from harness.model.tree import Source

SOLVER = "drivers/accel/amdxdna/aie2_solver.c"
UAPI = "include/uapi/drm/amdxdna_accel.h"
END = r"\Z"
UNUSED = "int xdna_planted(int x);\nint xdna_planted(int x)\n{\n\tint set;\n\n\tset = x;\n\treturn x;\n}\n"
POINTER = (
    "static const char *xdna_name = 0;\nconst char *xdna_named(void);\n"
    "const char *xdna_named(void)\n{\n\treturn xdna_name;\n}\n"
)
FREED = "void xdna_freed(void *p);\nvoid xdna_freed(void *p)\n{\n\tif (p)\n\t\tkfree(p);\n}\n"
DOCUMENTED = (
    "/**\n * xdna_documented() - Says what is not so.\n * @other: There is no such.\n */\n"
    "static void xdna_documented(int x)\n{\n}\n"
)
LONG = f"/* {'long ' * 24}*/\n"
RESERVED = "struct amdxdna_planted {\n\t__u32 class;\n};\n"


def reports(source: Source, series: Series, *names: str) -> dict[str, CheckReport]:
    """The checks of these names on the source and each prefix of the series."""
    store, sandbox = Store(), Sandbox.detect()
    kernel = Modules(store, sandbox, data_folder("jobs") / "kconfig").source_kernel(
        make_tree(source, (), store), Profile.PLAIN
    )
    files = tuple(sorted({name for patch in series.patches for name in patch.files}))
    trees = [make_tree(source, series.patches[:number], store) for number in range(len(series.patches) + 1)]
    found = {}
    for check in static.CHECKS:
        if check.name not in names:
            continue
        answers: list[Answer] = []
        for number, tree in enumerate(trees):
            patch = series.patches[number - 1].mail if number else b""
            bench = Bench(sandbox, store, tree, source, kernel, files, patch, is_trusted(tree.touched))
            answers.append(static.ask(check, bench))
        if gone := static.lacking(check):
            pytest.skip(gone)
        assert not any(answer.not_asked for answer in answers), answers
        found[check.name] = attribute(check.name, "", answers)
    return found


def series_of(tmp_path: Path, text: str) -> Series:
    (tmp_path / "planted.mbox").write_text(text)
    return fetch(str(tmp_path / "planted.mbox"))


@pytest.mark.parametrize(
    ("name", "file", "added", "says"),
    [
        ("checkpatch", SOLVER, LONG, "LONG_LINE"),
        ("gcc W=1", SOLVER, UNUSED, "set but not used"),
        ("clang W=1", SOLVER, UNUSED, "set but not used"),
        ("sparse", SOLVER, POINTER, "plain integer as NULL pointer"),
        ("coccinelle", SOLVER, FREED, "NULL check before some freeing functions"),
        ("kernel-doc", SOLVER, DOCUMENTED, "other"),
        ("uAPI header", UAPI, RESERVED, "does not declare anything"),
    ],
)
def test_it_complains_about_what_a_patch_adds_and_nothing_else(
    source: Source, tmp_path: Path, name: str, file: str, added: str, says: str
) -> None:
    series = series_of(tmp_path, mail(source, f"accel/amdxdna: plant for {name}", [Edit(file, END, added)]))
    report = reports(source, series, name)[name]
    assert report.state == "complains"
    assert all(a.patch == 1 and a.complaint.file == file for a in report.added), report
    assert any(says in a.complaint.text for a in report.added), report
    assert report.gone == ()


def test_a_later_patch_that_fixes_it_is_named(source: Source, tmp_path: Path) -> None:
    text = mails(
        source,
        [
            ("accel/amdxdna: plant it", [Edit(SOLVER, END, UNUSED)]),
            ("accel/amdxdna: move it", [Edit(SOLVER, r"\A", "/* moved */\n")]),
            ("accel/amdxdna: mend it", [Edit(SOLVER, r"\tset = x;\n", "\tset = x;\n\tx = set;\n")]),
        ],
    )
    report = reports(source, series_of(tmp_path, text), "gcc W=1")["gcc W=1"]
    assert [(a.patch, a.fixed) for a in report.added] == [(1, 3)]
    assert report.state == "clean"


def test_a_patch_cannot_change_the_script_that_judges_it(source: Source, tmp_path: Path) -> None:
    text = mails(
        source,
        [
            ("checkpatch: see nothing", [Edit("scripts/checkpatch.pl", r"\A", "exit 0;\n")]),
            ("accel/amdxdna: a long line", [Edit(SOLVER, END, LONG)]),
        ],
    )
    report = reports(source, series_of(tmp_path, text), "checkpatch")["checkpatch"]
    assert [a.patch for a in report.added if "LONG_LINE" in a.complaint.text] == [2]


def test_a_mail_without_a_sign_off(real_series: Path, source: Source) -> None:
    series = fetch(str(real_series / "forward-05-cmd-payload-bounds.mbox"))
    report = reports(source, series, "checkpatch")["checkpatch"]
    assert [a.complaint.text for a in report.added] == ["MISSING_SIGN_OFF: Missing Signed-off-by: line(s)"]
