# SPDX-License-Identifier: GPL-2.0-only
"""What a diff touches and where its hunks stand."""

from __future__ import annotations

import pytest

from harness.formats.diff import paths_of, place_of, read_diff, unquote

TWO = b"""Some words before.
---
 a.c | 2 +-

diff --git a/d/a.c b/d/a.c
index 1111111..2222222 100644
--- a/d/a.c
+++ b/d/a.c
@@ -1,3 +1,3 @@ int f(void)
 one
-two
+TWO
 three
@@ -10,2 +10,3 @@
 ten
+ten and a half
 eleven
diff --git a/new.c b/new.c
new file mode 100644
index 0000000..3333333
--- /dev/null
+++ b/new.c
@@ -0,0 +1 @@
+new
--\x20
2.39.5
"""


def test_files_blobs_and_hunks() -> None:
    one, two = read_diff(TWO)
    assert (one.old, one.new, one.old_blob, one.new_blob) == ("d/a.c", "d/a.c", "1111111", "2222222")
    assert [(h.start, h.added, h.removed, h.whole) for h in one.hunks] == [(1, 1, 1, True), (10, 1, 0, True)]
    assert (two.old, two.new, two.modes) == (None, "new.c", ("100644",))
    assert paths_of([one, two]) == ("d/a.c", "new.c")


def test_a_line_of_the_diff_is_put_into_file_and_hunk() -> None:
    files = read_diff(TWO)
    lines = TWO.split(b"\n")
    assert place_of(files, lines.index(b"+TWO") + 1) == "d/a.c, hunk 1"
    assert place_of(files, lines.index(b"+ten and a half") + 1) == "d/a.c, hunk 2"
    assert place_of(files, lines.index(b"+new") + 1) == "new.c, hunk 1"
    assert place_of(files, 1) == ""


def test_removed_lines_that_look_like_headers_are_content() -> None:
    diff = b"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n--- a/other\n+++ b/other\n diff --git a/y b/y\n"
    (file,) = read_diff(diff)
    assert file.paths == {"x"}
    assert file.hunks[0].whole


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_a_hunk_that_the_end_cuts_off_is_not_whole(lines: int) -> None:
    diff = b"".join(TWO.splitlines(keepends=True)[:8])
    hunk = b"@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n".splitlines(keepends=True)
    (file,) = read_diff(diff + b"".join(hunk[:lines]))
    assert not file.hunks[0].whole
    (file,) = read_diff(diff + b"".join(hunk))
    assert file.hunks[0].whole


def test_renames_deletions_and_modes() -> None:
    diff = (
        b"diff --git a/old name b/new name\nsimilarity index 100%\nrename from old name\nrename to new name\n"
        b"diff --git a/gone b/gone\ndeleted file mode 100644\nindex 1111111..0000000\n"
        b"diff --git a/run b/run\nold mode 100644\nnew mode 100755\n"
    )
    moved, gone, run = read_diff(diff)
    assert (moved.old, moved.new) == ("old name", "new name")
    assert (gone.old, gone.new) == ("gone", None)
    assert run.paths == {"run"}
    assert run.modes == ("100644", "100755")


@pytest.mark.parametrize(
    "head",
    [
        b"rename old drv/x.c\nrename new drv/y.c\n",
        b"--- a/drv/y.c\n+++ b/drv/y.c\nrename from drv/x.c\nrename to drv/y.c\n",
        b"--- a/drv/y.c\nrename old drv//x.c\n+++ b/drv/y.c\n",
        b"rename from drv/x.c\nrename from drv/y.c\n",
    ],
)
def test_what_is_renamed_is_seen_however_git_is_told(head: bytes) -> None:
    """git-apply's own table has ``rename old``, and takes header lines between the names and behind them."""
    (file,) = read_diff(b"diff --git a/drv/y.c b/drv/y.c\n" + head + b"@@ -1 +1 @@\n-a\n+b\n")
    assert file.paths == {"drv/x.c", "drv/y.c"}
    assert len(file.hunks) == 1


def test_a_path_that_git_may_choose_is_named() -> None:
    """Deleted, it is the file of the first line, whatever a rename says."""
    (file,) = read_diff(b"diff --git a/y b/y\nrename from x\nrename to z\ndeleted file mode 100644\n")
    assert paths_of([file]) == ("x", "y", "z")


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        (b"100644", ("100644",)),
        (b"0120000", ("120000",)),
        (b" 120000", ("120000",)),
        (b"120000 and more", ("120000",)),
        (b"4000000000120000", ("120000",)),
        (b"-37777777777777760000", ("020000",)),
        (b"120000x", ()),
        (b"link", ()),
    ],
)
def test_a_mode_is_what_git_takes_it_for(text: bytes, mode: tuple[str, ...]) -> None:
    (file,) = read_diff(b"diff --git a/d b/d\nnew file mode %s\nindex 0000000..1234567\n" % text)
    assert (file.old, file.modes, file.new_blob) == (None, mode, "1234567")
    (same,) = read_diff(b"diff --git a/d b/d\nindex 1111111..1234567 %s\n" % text)
    assert (same.modes, same.new_blob) == (mode, "1234567")


def test_a_binary_patch_names_its_file() -> None:
    diff = b"diff --git a/fw.bin b/fw.bin\nindex 1111111..2222222\nGIT binary patch\n"
    (file,) = read_diff(diff + b"literal 1\nIcmZPo000310RR91\n\n")
    assert file.paths == {"fw.bin"}


def test_plain_unified_diffs_are_read_too() -> None:
    (file,) = read_diff(b"--- linux/a.c\t2026-01-01\n+++ linux-new/a.c\t2026-01-02\n@@ -1 +1 @@\n-a\n+b\n")
    assert (file.old, file.new, file.old_blob) == ("a.c", "a.c", None)


def test_quoted_paths() -> None:
    assert unquote(b'"a/\\303\\244\\t\\"x\\\\"') == 'a/\u00e4\t"x\\'
    (file,) = read_diff(b'diff --git "a/\\303\\244" "b/\\303\\244"\nold mode 100644\nnew mode 100755\n')
    assert file.paths == {"\u00e4"}


@pytest.mark.parametrize("junk", [b"", b"\n", b"diff --git ", b"diff --git a b c d\n", b"@@ -1 +1 @@\n", b"\xff" * 99])
def test_junk_is_no_diff_and_no_crash(junk: bytes) -> None:
    assert not any(file.hunks for file in read_diff(junk))


def test_a_head_of_many_names_and_modes_has_all_of_them_once() -> None:
    names = [f"n{number}" for number in range(20_000)]
    lines = [b"diff --git a/f b/f", *(f"rename to {name}\nold mode 100644".encode() for name in names)]
    (file,) = read_diff(b"\n".join(lines) + b"\n")
    assert file.paths == {"f", *names}
    assert file.modes == ("100644",)


def test_a_line_with_names_that_no_disk_takes_has_none() -> None:
    (file,) = read_diff(b"diff --git " + b"a " * 500_000 + b"\n--- a/f\n+++ b/f\n")
    assert file.paths == {"f"}
