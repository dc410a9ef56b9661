# SPDX-License-Identifier: GPL-2.0-only
import os
import time
from pathlib import Path

import pytest

from harness.errors import InfraError
from harness.host import buildfolder
from harness.model.tree import Source, Tree


def of(path: Path) -> Tree:
    return Tree("key", path, Source("dir:x", "x", "7.3.4", "key", path))


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "file").write_text("x")
    (tmp_path / "link").symlink_to("a/file")
    (tmp_path / "folder").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    assert buildfolder.output(tmp_path, "a/file").read_text() == "x"
    for name in ("link", "folder/file", "pipe", "a", "nothing"):
        with pytest.raises(InfraError):
            buildfolder.output(tmp_path, name)
    for name in ("../file", str(tmp_path / "a" / "file")):
        with pytest.raises(InfraError, match="outside"):
            buildfolder.output(tmp_path / "a", name)


def test_fresh_copies_are_new_and_leave_the_tree_alone(tmp_path: Path) -> None:
    tree, source = tmp_path / "tree", tmp_path / "source"
    for folder in (tree, source):
        (folder / "d").mkdir(parents=True)
    old = source / "d" / "a.sh"
    old.write_text("a")
    old.chmod(0o755)
    os.utime(old, (1000, 1000))
    os.link(old, tree / "d" / "a.sh")
    (tree / "link").symlink_to("/etc/passwd")
    made = list(buildfolder.fresh_copies(of(tree), ["d/a.sh", "gone.c", "link"], tmp_path / "fresh"))
    assert [name for _, name in made] == ["d/a.sh"]
    copy = made[0][0]
    assert copy.read_text() == "a"
    assert copy.stat().st_mode & 0o777 == 0o755
    assert copy.stat().st_mtime > 1000
    assert old.stat().st_mtime == 1000


def test_a_copy_keeps_the_times(tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    seed.mkdir()
    (seed / "a.o").write_text("a")
    os.utime(seed / "a.o", (1000, 1000))
    buildfolder.copy(seed, tmp_path / "build")
    assert (tmp_path / "build" / "a.o").stat().st_mtime == 1000


def test_what_was_made_before_the_clock_was_put_back_is_from_the_future(tmp_path: Path) -> None:
    record = tmp_path / "module.json"
    record.write_text("{}")
    assert not buildfolder.is_from_the_future(record)
    os.utime(record, (time.time() + 3600,) * 2)
    assert buildfolder.is_from_the_future(record)


def test_dropping_does_not_mind_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    buildfolder.drop(tmp_path, ["a", "b"])
    assert not (tmp_path / "a").exists()


def test_dependency_files_are_found_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / ".a.o.cmd").write_text("deps")
    (tmp_path / ".b.o.cmd").symlink_to("/etc/passwd")
    assert list(buildfolder.dependency_files(tmp_path)) == [b"deps"]


def test_a_log_without_end_is_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"ab\xff" * 100)
    assert buildfolder.read_log(tmp_path / "log", 4) == "ab\ufffda"


def test_a_log_is_copied_whole(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"ab\xff" * 100)
    buildfolder.copy_log(tmp_path / "log", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "log").read_bytes()


def test_what_fills_all_memory_is_not_read(tmp_path: Path) -> None:
    """A sparse file takes no room on the disk."""
    with (tmp_path / "kernel.release").open("wb") as stream:
        stream.truncate(8 << 30)
    (tmp_path / ".x.o.cmd").symlink_to("kernel.release")
    with pytest.raises(InfraError, match=r"more than 64 MiB in kernel\.release"):
        buildfolder.text_of(tmp_path, "kernel.release")
    (tmp_path / ".x.o.cmd").unlink()
    (tmp_path / "kernel.release").rename(tmp_path / ".x.o.cmd")
    with pytest.raises(InfraError, match=r"more than 16 MiB in \.x\.o\.cmd"):
        list(buildfolder.dependency_files(tmp_path))
    (tmp_path / "modules.order").write_text("a.o\n")
    assert buildfolder.text_of(tmp_path, "modules.order") == "a.o\n"
