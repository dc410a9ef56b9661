# SPDX-License-Identifier: GPL-2.0-only
"""Lines as the tools of Debian 12 and the scripts of Linux 7.3 print them, with names made up."""

from __future__ import annotations

from harness.formats import complaints
from harness.model.complaint import Complaint


def test_compilers_name_file_and_line_and_a_header_counts_once() -> None:
    printed = """\
In file included from /src/drivers/x/a.c:9:
/src/drivers/x/a.h:3:9: warning: 'f' defined but not used [-Wunused-function]
    3 |     int f;
  CC [M]  b.o
/src/drivers/x/a.h:3:9: warning: 'f' defined but not used [-Wunused-function]
/src/drivers/x/b.c:7:10: error: use of undeclared identifier 'y'
/src/drivers/x/b.c:8:1: fatal error: z.h: No such file or directory
drivers/x/c.c:1:5: warning: symbol 'z' was not declared. Should it be static?
"""
    assert [(c.file, c.line) for c in complaints.compiler(printed)] == [
        ("drivers/x/a.h", 3),
        ("drivers/x/b.c", 7),
        ("drivers/x/b.c", 8),
        ("drivers/x/c.c", 1),
    ]


def test_checkpatch_about_a_mail_names_no_file() -> None:
    printed = """\
-:7: WARNING:COMMIT_LOG_LONG_LINE: Prefer a maximum 75 chars per line
drivers/x/a.c:188: ERROR:MISSING_SIGN_OFF: Missing Signed-off-by: line(s)
drivers/x/a.c:12: CHECK:SPACING: No space is necessary after a cast
"""
    assert complaints.checkpatch(printed) == (
        Complaint("", "COMMIT_LOG_LONG_LINE: Prefer a maximum 75 chars per line"),
        Complaint("", "MISSING_SIGN_OFF: Missing Signed-off-by: line(s)"),
        Complaint("drivers/x/a.c", "SPACING: No space is necessary after a cast"),
    )
    assert [c.line for c in complaints.checkpatch(printed)] == [0, 0, 12]
    assert [c.level for c in complaints.checkpatch(printed)] == ["WARNING", "ERROR", "CHECK"]


def test_checkpatch_is_milder_with_a_file_than_with_a_patch_and_means_the_same() -> None:
    one, two = (complaints.checkpatch(f"a.c:3: {level}:LONG_LINE: x") for level in ("WARNING", "CHECK"))
    assert one == two
    assert str(one[0]) == "a.c:3: WARNING: LONG_LINE: x"


def test_line_numbers_within_a_text_do_not_count() -> None:
    one, two = (
        complaints.coccinelle(f"/src/drivers/x/a.c:{at}:1-9: ERROR: missing unlock on line {at - 3}") for at in (20, 30)
    )
    assert one == two
    assert one[0].line == 20


def test_kernel_doc_goes_on_on_the_next_line() -> None:
    printed = """\
Warning: include/uapi/x.h:69 expecting prototype for struct a. Prototype was for struct b instead
Warning: include/uapi/x.h:170 missing initial short description on line:
 * struct c
"""
    assert [(c.line, c.text[-9:]) for c in complaints.kernel_doc(printed)] == [(69, "b instead"), (170, " struct c")]


def test_smatch_and_modpost() -> None:
    assert complaints.smatch("drivers/x/a.c:41 f() warn: missing error code 'ret'\n")[0].line == 41
    assert complaints.modpost("WARNING: modpost: x.ko: missing MODULE_DESCRIPTION()")[0].file == "x.ko"


def test_what_is_no_complaint_is_passed_over() -> None:
    assert complaints.compiler("make[1]: Entering directory '/obj'\n  CC [M]  a.o\n") == ()
    assert complaints.checkpatch("total: 0 errors, 0 warnings\n") == ()
