# SPDX-License-Identifier: GPL-2.0-only
"""Kernel repositories of a person or a server: read, never written.

Unlike in ``git.py``, a person's own git configuration counts here (proxies, insteadOf): the address is theirs
too. git asks nobody for a password and waits for no silent server.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from harness.errors import InfraError, UsageError
from harness.host import proc
from harness.host.git import one_line
from harness.log import step

READ_SECONDS = 120.0
LS_REMOTE_SECONDS = 60.0
FETCH_SECONDS = 1800.0

_OPTIONS = {
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "safe.directory": "*",  # root may read an ordinary user's tree: nothing of it is run
    "core.fsmonitor": "false",
}


def is_url(place: str) -> bool:
    """Whether git would ask a server: a scheme, or the short form of ssh."""
    return "://" in place or re.match(r"[\w.-]+@[\w.-]+:", place) is not None


def find(place: str) -> Path:
    """The git folder of a repository or working tree on this machine; UsageError when there is none."""
    path = Path(place).expanduser().resolve()
    if path.is_dir():
        done = _git("-C", str(path), "rev-parse", "--absolute-git-dir", what="git rev-parse")
        if done.status == 0:
            return Path(done.stdout.strip())
    raise UsageError(f"no git repository at {path}", hint="write git:URL-or-path#REF")


def commit_of(repository: Path, ref: str) -> str:
    """The commit id behind a tag, branch or short id; UsageError when there is none."""
    argv = (f"--git-dir={repository}", "rev-parse", "--verify", "--quiet", "--end-of-options")
    done = _git(*argv, f"{ref}^{{commit}}", what="git rev-parse")
    if done.status != 0:
        raise UsageError(f"no commit {one_line(ref)} in {repository}", hint="name a tag, a branch or a commit")
    return done.stdout.split()[-1]


def remote_commit_of(url: str, ref: str) -> str:
    """The commit id behind a tag or branch of a server; a whole commit id is taken as it is."""
    if re.fullmatch(r"[0-9a-f]{40}", ref):
        return ref
    what = f"asking {one_line(url)} for {one_line(ref)}"
    argv = ("ls-remote", "--exit-code", "--", url, ref, f"{ref}^{{}}")
    done = _git(*argv, what=what, timeout=LS_REMOTE_SECONDS)
    if done.status == 2:
        raise UsageError(f"{one_line(url)} has no {one_line(ref)}", hint="name a tag, a branch or a whole commit id")
    if done.status != 0:
        raise _failed(url, done)
    found = {name: commit for commit, name in (line.split("\t") for line in done.stdout.splitlines())}
    wanted = (f"refs/tags/{ref}^{{}}", f"{ref}^{{}}", f"refs/tags/{ref}", f"refs/heads/{ref}", *found)
    return next(found[name] for name in wanted if name in found)


def fetch(url: str, commit: str, into: Path) -> None:
    """Fetch one commit, without its history, into a new bare repository."""
    with step(f"fetching {commit[:12]} from {one_line(url)}"):
        _git("init", "--quiet", "--bare", str(into), what="git init")
        argv = (f"--git-dir={into}", "fetch", "--quiet", "--depth=1", "--no-tags", "--", url, commit)
        done = _git(*argv, what=f"git fetch from {one_line(url)}", timeout=FETCH_SECONDS)
        if done.status != 0:
            raise _failed(url, done)


def archive_argv(repository: Path, commit: str) -> list[str]:
    """The command that writes the tree of ``commit`` as a plain tar."""
    return ["git", *_options(), f"--git-dir={repository}", "archive", "--format=tar", commit]


def working_files(tree: Path) -> list[str]:
    """The files of a working tree as they are now: tracked or new, but nothing that is ignored."""
    argv = ("-C", str(tree), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    done = _git(*argv, what=f"listing {tree}")
    if done.status != 0:
        raise UsageError(f"git cannot list {tree}: {one_line(done.stderr)}", hint="is its repository whole?")
    return [name for name in done.stdout.split("\0") if name and not name.endswith("/")]


def _failed(url: str, done: proc.Completed) -> InfraError:
    lines = [line for line in done.stderr.splitlines() if line.startswith(("fatal: ", "error: "))]
    return InfraError(
        f"git cannot fetch from {one_line(url)}: {one_line((lines or [done.stderr])[0])}",
        hint="is the network up and the address right?",
        transient=True,
    )


def _options() -> list[str]:
    return [word for name, value in _OPTIONS.items() for word in ("-c", f"{name}={value}")]


def _git(*argv: str, what: str, timeout: float = READ_SECONDS) -> proc.Completed:
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
        "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    }
    return proc.run(["git", *_options(), *argv], what=what, timeout=timeout, env=env, check=False)
