# SPDX-License-Identifier: GPL-2.0-only
"""Root's make is another user, who must be able to read what root has patched: in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

VERB = """
import os, sys
from pathlib import Path
from harness import cli

def verb(**how):
    Path("folder").mkdir()
    Path("folder/file").touch()
    Path("secret").touch(mode=0o600)

cli.cli.main = verb
os.geteuid = lambda: int(sys.argv[1])
os.umask(int(sys.argv[2], 8))
cli.main()
"""


@pytest.mark.parametrize(
    ("user", "umask", "modes"),
    [
        (0, "077", (0o755, 0o644)),
        (0, "027", (0o755, 0o644)),
        (1000, "077", (0o700, 0o600)),
        (1000, "002", (0o775, 0o664)),
    ],
)
def test_roots_umask_locks_out_nobody_and_a_users_is_his_own(
    tmp_path: Path, user: int, umask: str, modes: tuple[int, int]
) -> None:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", VERB, str(user), umask], cwd=tmp_path, env=env, check=True)
    found = tuple((tmp_path / name).stat().st_mode & 0o777 for name in ("folder", "folder/file"))
    assert found == modes
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
