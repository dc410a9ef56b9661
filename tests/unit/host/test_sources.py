# SPDX-License-Identifier: GPL-2.0-only
"""From the words to a tree: the choice of a version, and trees of a few files."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.errors import HarnessError, InfraError, UsageError
from harness.host.sources import Offer, choose, has_commit, makefile_version, nearest, resolve, split
from harness.host.store import Store

BINARIES = {
    "linux-source-7.3": ["7.3.4-1~bpo13+1"],
    "linux-source-7.2": ["7.2.12-1~bpo13+1", "7.2.9-1~bpo13+1"],
}
SOURCES = ["7.3.4-1~bpo13+1", "7.2.12-1~bpo13+1", "7.1.13-1~bpo13+1", "7.1.8-1~bpo13+1", "6.12.107-1"]
MAKEFILE = "# a comment\nVERSION = 7\nPATCHLEVEL = 9\nSUBLEVEL = 2\nEXTRAVERSION = -rc1\nNAME = x\n"


@pytest.mark.parametrize(
    ("wanted", "offer"),
    [
        ("7.3", Offer("linux-source-7.3", "7.3.4-1~bpo13+1", False)),
        ("7.3.4", Offer("linux-source-7.3", "7.3.4-1~bpo13+1", False)),
        ("7.2", Offer("linux-source-7.2", "7.2.12-1~bpo13+1", False)),
        ("7.2.9-1~bpo13+1", Offer("linux-source-7.2", "7.2.9-1~bpo13+1", False)),
        ("7.1.13", Offer("linux", "7.1.13-1~bpo13+1", True)),
        ("7.1", Offer("linux", "7.1.13-1~bpo13+1", True)),
        ("7.1.1", None),
        ("7.30", None),
        ("", None),
    ],
)
def test_choice_of_a_package(wanted: str, offer: Offer | None) -> None:
    assert choose(wanted, BINARIES, SOURCES) == offer


def test_the_nearest_versions_stand_on_both_sides() -> None:
    assert nearest("7.1.10", SOURCES, count=2) == ["7.1.8", "7.1.13"]
    assert nearest("9.0", SOURCES, count=2) == ["7.2.12", "7.3.4"]
    assert nearest("1.0", SOURCES, count=2) == ["6.12.107", "7.1.8"]
    assert nearest("1.0", [], count=2) == []


def test_version_of_a_makefile() -> None:
    assert makefile_version(MAKEFILE) == "7.9.2-rc1"
    assert makefile_version("VERSION = 7\nPATCHLEVEL = 0\nSUBLEVEL = 0\nEXTRAVERSION =\n") == "7.0.0"
    assert makefile_version("all:\n\ttrue\n") is None


@pytest.mark.parametrize("spec", ["7.3", "", "debian:", "ftp:x", "debian", "tar:--help", "dir:-x", "git:#\0"])
def test_other_words_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        split(spec)


def kernel(folder: Path) -> Path:
    """The least that passes for a kernel source."""
    (folder / "drivers/accel/amdxdna").mkdir(parents=True)
    (folder / "Makefile").write_text(MAKEFILE)
    (folder / "Kconfig").write_text("")
    (folder / "drivers/accel/amdxdna/Makefile").write_text("")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("run.sh")
    return folder


def git(folder: Path, *argv: str) -> str:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *who, *argv], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    git(kernel(folder), "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    git(folder, "tag", "-a", "-m", "v7.9", "v7.9")
    return folder


@pytest.mark.parametrize("flags", ["-cf", "-cJf", "-czf"])
@pytest.mark.parametrize("around", [True, False])
def test_tar(tmp_path: Path, flags: str, around: bool) -> None:
    if "J" in flags and not shutil.which("xz"):
        pytest.skip("needs xz-utils")
    tree, archive = kernel(tmp_path / "linux-7.9"), tmp_path / "x.tar"
    where, what = (tmp_path, tree.name) if around else (tree, ".")
    subprocess.run(["tar", flags, archive, "-C", where, what], check=True)
    source = resolve(f"tar:{archive}", Store(tmp_path / "store"))
    assert source.version == "7.9.2-rc1"
    assert (source.path / "link").readlink() == Path("run.sh")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (source.path / "run.sh", source.path / "Makefile")}
    assert modes == {"run.sh": 0o555, "Makefile": 0o444}
    assert (source.path / "drivers").stat().st_mode & 0o200, "folders must stay writable, or clean fails"


@pytest.mark.parametrize("data", [b"no tar file at all", b"\xfd7zXZ\0\0\0", b"\x1f\x8b\x08"])
def test_a_damaged_tar_is_the_users_to_mend_and_leaves_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    store = Store(tmp_path / "store")
    with pytest.raises(UsageError, match=r"x\.tar") as caught:
        resolve(f"tar:{tmp_path}/x.tar", store)
    assert all("\n" not in line for line in caught.value.lines())
    assert [p for p in (store.root / "sources").iterdir() if p.is_dir()] == []


def test_a_kernel_without_the_driver_is_named_so(tmp_path: Path) -> None:
    tree = kernel(tmp_path / "linux")
    (tree / "drivers/accel/amdxdna/Makefile").unlink()
    with pytest.raises(UsageError, match=r"7\.9\.2-rc1, which has no drivers/accel/amdxdna"):
        resolve(f"dir:{tree}", Store(tmp_path / "store"))
    with pytest.raises(UsageError, match="not a kernel"):
        resolve(f"dir:{tmp_path}", Store(tmp_path / "store"))
    with pytest.raises(UsageError, match="no such file"):
        resolve(f"tar:{tmp_path}/none.tar", Store(tmp_path / "store"))


def test_git_by_tag_branch_and_commit_is_one_entry(tmp_path: Path) -> None:
    tree, store = repository(tmp_path / "linux"), Store(tmp_path / "store")
    (tree / "Makefile").write_text("not committed\n")
    commit = git(tree, "rev-parse", "HEAD")
    specs = [f"git:{tree}#{ref}" for ref in ("v7.9", "main", commit, commit[:12])]
    found = {resolve(spec, store).path for spec in [*specs, f"git:file://{tree}#v7.9", f"git:file://{tree}#main"]}
    assert len(found) == 1
    assert (found.pop() / "Makefile").read_text() == MAKEFILE


def test_the_same_content_is_one_source_wherever_it_came_from(tmp_path: Path) -> None:
    tree, store = repository(tmp_path / "linux"), Store(tmp_path / "store")
    subprocess.run(["tar", "-cf", tmp_path / "x.tar", "--exclude=.git", "-C", tmp_path, tree.name], check=True)
    found = [resolve(spec, store) for spec in (f"git:{tree}#v7.9", f"tar:{tmp_path}/x.tar", f"dir:{tree}")]
    assert len({source.key for source in found}) == 1
    assert len({source.origin for source in found}) == 3
    (tree / "run.sh").chmod(0o644)
    assert resolve(f"dir:{tree}", store).key != found[0].key, "whether a script can be executed is content"


def test_the_first_that_was_thrown_away_is_the_first_no_more(tmp_path: Path) -> None:
    tree, store = repository(tmp_path / "linux"), Store(tmp_path / "store")
    commit = git(tree, "rev-parse", "HEAD")
    first = resolve(f"git:{tree}#main", store)
    assert has_commit(commit, store)
    store.discard("sources", first.key)
    assert not has_commit(commit, store)
    second = resolve(f"dir:{tree}", store)
    assert second.key != first.key
    again = resolve(f"git:{tree}#main", store)
    assert again.key == second.key
    assert (again.path / "Makefile").read_text() == MAKEFILE


@pytest.mark.parametrize("place", ["", "file://"])
def test_an_unknown_reference_is_the_users(tmp_path: Path, place: str) -> None:
    tree, store = repository(tmp_path / "linux"), Store(tmp_path / "store")
    for ref in ("nope", "-x", "--output=x"):
        with pytest.raises(UsageError):
            resolve(f"git:{place}{tree}#{ref}", store)


def test_a_dead_server_is_nobodys_fault_here(tmp_path: Path) -> None:
    with pytest.raises(InfraError):
        resolve("git:http://127.0.0.1:1/linux#v7.9", Store(tmp_path))


def test_git_runs_no_command_of_the_address(tmp_path: Path) -> None:
    with pytest.raises(HarnessError):
        resolve(f"git:ext::touch {tmp_path}/ran://#x", Store(tmp_path / "store"))
    assert not (tmp_path / "ran").exists()
