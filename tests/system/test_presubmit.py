# SPDX-License-Identifier: GPL-2.0-only
"""presubmit in a real kernel tree: a git repository made of the source in the cache, edited by pattern."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import PROJECT, RUN_SECONDS, Edit, Ran, git

DRIVER = "drivers/accel/amdxdna"
HARMLESS = Edit(f"{DRIVER}/aie2_pm.c", r"\Z", "\nint xdna_test(int x);\nint xdna_test(int x)\n{\n\treturn x;\n}\n")
FORGET_USAGE = Edit(f"{DRIVER}/amdxdna_gem.c", r"\tclient->heap_usage -= abo->mem.size;\n", "")
USE_AFTER_FREE = Edit(
    f"{DRIVER}/amdxdna_pci_drv.c",
    r"\tkfree\(client\);\n(?=}\n\nstatic void amdxdna_drm_close)",
    r'\g<0>\tif (READ_ONCE(client->pid) < 0)\n\t\tpr_debug("gone\\n");\n',
)

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


def edit(tree: Path, change: Edit, subject: str = "") -> None:
    """Change a file, and commit it under ``subject`` if there is one."""
    path = tree / change.file
    new, count = re.subn(change.pattern, change.replacement, path.read_text(), count=1, flags=re.S)
    assert count == 1, f"{change.pattern!r} is not in {change.file}"
    path.write_text(new)
    if subject:
        git(tree, "commit", "-q", "-a", "-m", subject)


Presubmit = Callable[..., Ran]


@pytest.fixture
def presubmit(tree: Path, tmp_path: Path) -> Presubmit:
    """Run the verb below the top of the tree, which must be the same afterwards."""

    def call(*words: str) -> Ran:
        before = state(tree)
        argv = [sys.executable, "-m", "harness.cli", "presubmit", *words, "--out", str(tmp_path / "out")]
        done = in_shell(argv, tree / DRIVER)
        assert state(tree) == before
        return Ran(done.returncode, done.stdout, done.stderr, tmp_path / "out")

    return call


def in_shell(argv: list[str], where: Path, program: Path | None = None) -> subprocess.CompletedProcess[str]:
    path = os.environ.get("PATH", os.defpath)
    env = {
        **os.environ,
        "PYTHONPATH": f"{PROJECT}:{os.environ.get('PYTHONPATH', '')}",
        "PATH": f"{program}:{path}" if program else path,
    }
    return subprocess.run(argv, cwd=where, env=env, capture_output=True, text=True, timeout=RUN_SECONDS, check=False)


def state(tree: Path) -> str:
    """The repository, byte for byte, and the times and sizes of the files around it."""
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        info = path.lstat()
        digest.update(f"{path} {info.st_mode} {info.st_size} {info.st_mtime_ns}\n".encode())
        if ".git" in path.parts and path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def test_the_culprit_and_a_command_that_shows_it_again(tree: Path, presubmit: Presubmit, tmp_path: Path) -> None:
    edit(tree, HARMLESS, "harmless")
    edit(tree, FORGET_USAGE, "forget the usage")
    (tree / DRIVER / "untracked.c").write_text("#error not to be compiled\n")
    ran = presubmit("--per-patch", "-k", "test_e18")
    assert ran.status == 1, ran
    assert "plain: BAD" in ran.stdout
    assert "introduced by 2/2, still there at 2/2" in ran.stdout
    assert not (ran.out / "debug").exists(), "plain is BAD already"
    found = re.search(r"again: (xdna-harness repro .*)", ran.stdout)
    assert found, ran
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "xdna-harness"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m harness.cli "$@"\n')
    program.chmod(0o755)
    again = in_shell(["sh", "-c", found.group(1)], tmp_path, program.parent)
    assert again.returncode == 1, again.stderr
    assert "test_e18_accounting on head: 1 FAIL" in again.stdout


def test_uncommitted_changes_on_the_plain_kernel(tree: Path, presubmit: Presubmit) -> None:
    edit(tree, HARMLESS, "harmless")
    edit(tree, FORGET_USAGE)
    ran = presubmit("--count", "0", "--plain-only", "-k", "test_e18")
    assert ran.status == 1, ran
    assert "plain: BAD  uncommitted changes" in ran.stdout
    assert (ran.out / "base.patch").exists(), "the kernel of the tag is shared, not built anew for this base"


def test_the_debug_kernel_may_still_turn_the_verdict(tree: Path, presubmit: Presubmit) -> None:
    edit(tree, USE_AFTER_FREE, "read what was freed")
    ran = presubmit("-k", "test_e01")
    assert ran.status == 1, ran
    plain, debug = ran.stdout.index("plain: GOOD"), ran.stdout.index("debug: BAD")
    assert plain < debug
    assert "KASAN: slab-use-after-free in amdxdna_drm_close" in ran.stdout
    assert "Freed by task" in ran.stdout
