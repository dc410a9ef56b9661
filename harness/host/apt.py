# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages of newer suites through a private apt: the system's lists and sources stay untouched.

The mirror is the one that the system's apt uses for the Debian main archive (or ``XDNA_HARNESS_MIRROR``); so
are its proxies, certificates and passwords. Everything else is ours: suites, lists, an empty dpkg status.
Signatures are checked against the Debian archive keyring. The mirror's name is never shown (``redact``).
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness.errors import InfraError
from harness.formats.debian import Package, newest_first, parse_madison, parse_uris
from harness.host import apt_config, notes, proc
from harness.host.apt_config import MIRROR_VARIABLE, redact
from harness.host.store import Store
from harness.log import step, warn

MAX_AGE = 24 * 3600.0
"""Seconds after which the index is refreshed anyway."""
UPDATE_SECONDS = 180.0
DOWNLOAD_SECONDS = 1800.0
ASK_SECONDS = 120.0


class PrivateApt:
    """Asks and downloads; one folder in the store, one process at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._root = store.path("packages", "apt")
        self._stamp = self._root / "updated"
        self._log = self._root / "apt.log"
        self._debs = self._root / "debs"
        self._names: set[str] | None = None

    def versions(self, package: str) -> list[str]:
        """The versions of a binary package, newest first; empty when there is none."""
        return self.all_versions([package]).get(package, [])

    def all_versions(self, packages: Sequence[str]) -> dict[str, list[str]]:
        """The versions of several binary packages, newest first."""
        return self._madison(packages, source=False)

    def names(self, prefix: str) -> list[str]:
        """The binary packages whose names begin so."""
        return sorted(self._ask("apt-cache", "pkgnames", prefix).split())

    def source_versions(self, package: str) -> list[str]:
        """The versions of a source package, newest first; empty when there is none."""
        return self._madison([package], source=True).get(package, [])

    def resolve(self, packages: Sequence[str], suite: str) -> list[Package]:
        """All that has to be unpacked for ``packages`` (names or patterns such as ``?essential``) to run
        with nothing installed before. ``suite`` is preferred, others help out. InfraError when impossible."""
        argv = ("apt-get", "--print-uris", "-qq", "--target-release", suite, "install", *packages)
        return parse_uris(self._ask(*argv))

    def refresh(self, older_than: float = 0.0) -> bool:
        """Fetch the index if it is older than so many seconds; says whether it did.

        When the mirror does not answer, an index that is there is good enough (with a warning); without one
        it is an InfraError.
        """
        with self._locked():
            return self._refresh(older_than)

    def download(self, package: str, version: str) -> Path:
        """The .deb of one package, verified by apt. The caller may delete it."""
        argv = ("apt-get", "download", f"{package}={version}")
        return self._fetch(argv, f"{package}_*.deb", f"downloading {package} {version}")[0]

    def download_source_tar(self, package: str, version: str) -> Path:
        """The upstream tarball of a source package, verified by apt. The caller may delete it."""
        argv = ("apt-get", "source", "--download-only", "--tar-only", f"{package}={version}")
        return self._fetch(argv, "*.orig.tar.[!a]*", f"downloading the source of {package} {version}")[0]

    def closure(self, packages: Sequence[str], suite: str) -> list[Path]:
        """The .debs of ``packages`` and of all they depend on (see ``resolve``)."""
        return self.download_all(self.resolve(packages, suite), f"downloading {', '.join(packages)}")

    def download_all(self, packages: Sequence[Package], what: str) -> list[Path]:
        """The .debs of ``packages``, in that order; those that are there already are not fetched again."""
        missing = [package for package in packages if not (self._debs / package.file).exists()]
        if missing:
            words = (f"{package.name}={package.version}" for package in missing)
            self._fetch(("apt-get", "download", *words), "*.deb", what)
        return [self._debs / package.file for package in packages]

    def for_others(self) -> tuple[Path, list[str]]:
        """For another program's apt: a .sources file with the same archive (binaries only), and the settings with which
        it is reached."""
        with self._locked():
            self._configure()
            file = self._root / "binaries.sources"
            own = (self._root / "sources" / "debian.sources").read_text()
            file.write_text(own.replace("Types: deb deb-src", "Types: deb"))
            settings = (self._root / "apt.conf").read_text().splitlines()
        return file, [line for line in settings if line.startswith("Acquire::")]

    def _madison(self, packages: Sequence[str], *, source: bool) -> dict[str, list[str]]:
        if not packages:
            return {}
        rows = parse_madison(self._ask("apt-cache", "madison", *packages))
        found = [(name, version) for name, version, is_source in rows if is_source == source]
        return {name: newest_first(v for n, v in found if n == name) for name in dict(found)}

    def _ask(self, *argv: str) -> str:
        """An answer that depends on the index only: remembered until the index changes."""
        memo = self._root / "answers.json"
        name = json.dumps(argv)
        with self._locked():
            if self._age() < MAX_AGE and name in (known := self._answers(memo)):
                return known[name]
            self._refresh(MAX_AGE)
            done = self._run(argv, " ".join(argv), ASK_SECONDS)
            if done.status != 0:
                raise self._error(f"{argv[0]} {argv[-1]}", done)
            notes.write(memo, json.dumps({**self._answers(memo), name: done.stdout}))
        return done.stdout

    def _answers(self, memo: Path) -> dict[str, str]:
        if not memo.exists() or memo.stat().st_mtime < self._stamp.stat().st_mtime:
            return {}
        known: dict[str, str] | None = notes.read_json(memo)
        return known or {}

    def _fetch(self, argv: Sequence[str], pattern: str, what: str) -> list[Path]:
        """Run a download in an empty folder, keep the files that match. After a failure the index is
        refreshed and the download tried once more: usually the mirror has moved on."""
        with step(what) as progress, self._locked():
            self._refresh(MAX_AGE)
            with tempfile.TemporaryDirectory(prefix="fetch.", dir=self._root) as name:
                here = Path(name)
                poll = _size_report(here, progress.update)
                done = self._run(argv, what, DOWNLOAD_SECONDS, cwd=here, poll=poll)
                if done.status != 0:
                    self._refresh(60.0)
                    done = self._run(argv, what, DOWNLOAD_SECONDS, cwd=here, poll=poll)
                if done.status != 0:
                    raise self._error(what, done)
                found = sorted(here.glob(pattern))
                if not found:
                    raise InfraError(f"{what}: apt-get ended well but left no {pattern}", log=self._log)
                return [file.rename(self._debs / file.name) for file in found]

    def _refresh(self, older_than: float) -> bool:
        self._configure()
        age = self._age()
        if age < older_than:
            return False
        with step("refreshing the package index"):
            done = self._run(("apt-get", "update"), "apt-get update", UPDATE_SECONDS)
            if done.status == 0:
                self._stamp.touch()
                return True
            failure = self._error("refreshing the package index", done)
            if age == float("inf"):
                raise failure
        warn(f"{failure.message}; going on with the index of {age / 3600:.0f} hours ago")
        return False

    def _configure(self) -> None:
        if self._names is None:
            another_mirror, self._names = apt_config.write(self._root)
            if another_mirror:
                self._stamp.unlink(missing_ok=True)

    def _age(self) -> float:
        """Seconds since the index was fetched; infinite when there is none."""
        return max(0.0, time.time() - self._stamp.stat().st_mtime) if self._stamp.exists() else float("inf")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._store.lock("packages", "apt"):
            yield

    def _run(
        self,
        argv: Sequence[str],
        what: str,
        timeout: float,
        *,
        cwd: Path | None = None,
        poll: Callable[[], None] | None = None,
    ) -> proc.Completed:
        env = {**os.environ, "APT_CONFIG": str(self._root / "apt.conf"), "LC_ALL": "C"}
        here = cwd or self._root
        done = proc.run(argv, what=what, timeout=timeout, cwd=here, env=env, check=False, poll=poll)
        with self._log.open("a") as log:
            told = f"$ {' '.join(argv)}\n{done.stderr}status {done.status}\n"
            log.write(redact(told, self._names or ()))
        return done

    def _error(self, what: str, done: proc.Completed) -> InfraError:
        lines = [line[2:].strip() for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))]
        reason = redact((lines or ["no reason given"])[0], self._names or ())
        return InfraError(
            f"{what} failed: {reason}",
            hint=f"is the network up? another mirror can be named in the environment: {MIRROR_VARIABLE}=URI",
            log=self._log,
            transient=True,
        )


def _size_report(folder: Path, show: Callable[[str], None]) -> Callable[[], None]:
    def report() -> None:
        total = 0
        for path in folder.glob("*"):
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                continue  # apt renames while we look
        show(f"{total / 1e6:.0f} MB")

    return report
