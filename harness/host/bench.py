# SPDX-License-Identifier: GPL-2.0-only
"""The bench on which a static check looks at one tree: in the sandbox, with the scripts of the pristine source.

A patch may touch what a check executes. So scripts come from the source as it was shipped, and what must run a
stranger's Makefile all the same does so where it can write to nothing but a folder that is thrown away.

    checks/<key>/      what one check said, or what checks need and is made once: exported headers, a folder for clang
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from harness.errors import InfraError
from harness.host import buildfolder
from harness.host.sandbox import BUILD, SOURCE, Bind, Limits, Sandbox, SandboxSpec
from harness.host.store import Store, key_of
from harness.host.trees import shown
from harness.model.kernel import Kernel
from harness.model.tree import Source, Tree

OBJECTS = "/obj"
PREPARED = "/prepared"
CCACHE = "/ccache"
CHECK_SECONDS = 900.0
PRISTINE = ("scripts", "Makefile", "tools")
"""What make executes of the source; a patched tree's own is covered by it."""
_LISTS = ("Makefile", "Kbuild", "Kconfig")


@dataclass(frozen=True)
class Said:
    """What a command printed, both outputs together, and how it ended."""

    status: int
    text: str


@dataclass(frozen=True)
class Bench:
    """One tree to look at. ``scripts`` is the source whose scripts are used, ``kernel`` is built from the tree's own
    source. ``files``: what the series touches anywhere, relative to the tree. ``mail`` is the last patch, empty on
    base. ``trusted``: make runs nothing of a stranger's in this tree, which so may fill the compiler cache."""

    sandbox: Sandbox
    store: Store
    tree: Tree
    scripts: Source
    kernel: Kernel
    files: tuple[str, ...]
    mail: bytes = b""
    trusted: bool = False

    @cached_property
    def key(self) -> str:
        """What an answer depends on, apart from the check."""
        mail = hashlib.sha256(self.mail).hexdigest()
        return key_of(
            tree=self.tree.key, scripts=self.scripts.key, kernel=self.kernel.key, files=sorted(self.files), mail=mail
        )

    @property
    def present(self) -> tuple[str, ...]:
        """Those of the files that this tree has, links left out."""
        paths = ((name, self.tree.file(name)) for name in self.files)
        return tuple(name for name, path in paths if path.is_file() and not path.is_symlink())

    def look(self, argv: Sequence[str], what: str, *, extra: Sequence[str] = (), prepared: Path | None = None) -> Said:
        """Run a command that only reads: the pristine source is at /src, copies of the files that the series touches
        (and of ``extra``) below the folder in which it runs, the mail beside them as ``mail``."""
        with tempfile.TemporaryDirectory(prefix="xdna-check-") as folder:
            build = Path(folder) / "build"
            for name in dict.fromkeys((*self.present, *extra)):
                source, target = self.tree.file(name), build / name
                if source.is_file() and not source.is_symlink():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(source.read_bytes())
            build.mkdir(exist_ok=True)
            (build / "mail").write_bytes(self.mail)
            binds = (Bind(prepared, PREPARED),) if prepared else ()
            spec = SandboxSpec(build, Limits(seconds=CHECK_SECONDS), source=self.scripts.path, binds=binds)
            return self._run(argv, spec, what, Path(folder) / "log")

    def make(self, words: Sequence[str], folder: str, what: str, *, against: Path | None = None) -> Said:
        """make in ``folder`` (the driver's) of this tree, outside of the kernel that is built in ``against``."""
        argv = ["make", "-C", SOURCE, f"O={BUILD}", f"M={SOURCE}/{folder}", f"MO={OBJECTS}", *words]
        with tempfile.TemporaryDirectory(prefix="xdna-check-") as scratch:
            return self._inside(argv, what, Path(scratch), (), against or self.kernel.build)

    def shell(self, script: str, what: str, folder: str, only: Sequence[str]) -> Said:
        """A script where make would run; of ``folder`` it sees these files, the headers and the Makefile."""
        with tempfile.TemporaryDirectory(prefix="xdna-check-") as scratch:
            visible = Path(scratch) / "visible"
            visible.mkdir(mode=0o755)
            for name in dict.fromkeys((*only, *self._beside_them(folder))):
                source, target = self.tree.file(name), visible / PurePosixPath(name).relative_to(folder)
                if source.is_file() and not source.is_symlink():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(source.read_bytes())
            binds = (Bind(visible, f"{SOURCE}/{folder}"),)
            return self._inside(["bash", "-c", script], what, Path(scratch), binds, self.kernel.build)

    def _beside_them(self, folder: str) -> list[str]:
        """The headers and lists in a folder of the tree."""
        top = self.tree.path if self.tree.whole else self.tree.source.path
        found = (path for path in (top / folder).iterdir() if path.suffix == ".h" or path.name in _LISTS)
        return [str(path.relative_to(top)) for path in found]

    def prepared(self, fill: Callable[[Path], None], **key: object) -> Path:
        """A folder that the pristine source is enough for, made once."""
        name = key_of(source=self.tree.source.key, **key)
        return self.store.get("checks", name, fill)

    def make_pristine(self, words: Sequence[str], build: Path, what: str) -> None:
        """make on the source as it was shipped, into a folder. InfraError when it fails."""
        self.sandbox.own(build)
        spec = SandboxSpec(build, Limits(seconds=CHECK_SECONDS), self.tree.source.path, env={"CCACHE_DISABLE": "1"})
        log = self.store.root / "logs" / f"check-{build.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        self.sandbox.run(["make", "-C", SOURCE, f"O={BUILD}", *words], spec, what=what, log=log)
        log.unlink()

    def _inside(self, argv: Sequence[str], what: str, scratch: Path, binds: tuple[Bind, ...], against: Path) -> Said:
        """Run in the tree, with the source's own scripts over it, beside a built kernel."""
        objects = scratch / "obj"
        objects.mkdir()
        own = self.tree.source.path
        pristine = (Bind(own / name, f"{SOURCE}/{name}") for name in PRISTINE if (own / name).exists())
        cache, env = self._ccache()
        source, changed = shown(self.tree)
        binds = (*changed, *pristine, *binds, cache, Bind(against, BUILD), Bind(objects, OBJECTS, writable=True))
        spec = SandboxSpec(objects, Limits(seconds=CHECK_SECONDS), source, binds, env)
        return self._run(argv, spec, what, scratch / "log")

    def _ccache(self) -> tuple[Bind, dict[str, str]]:
        """A cache apart from the builds' own: theirs leaves out what costs time and changes warnings."""
        folder = self.store.root / "ccache" / f"checks-{self.tree.source.key}"
        folder.mkdir(parents=True, exist_ok=True)
        env = {"CCACHE_DIR": CCACHE, "CCACHE_MAXSIZE": "500M"}
        if self.trusted:
            self.sandbox.own(folder)
        else:
            env |= {"CCACHE_READONLY": "1", "CCACHE_TEMPDIR": "/tmp"}
        return Bind(folder, CCACHE, writable=self.trusted), env

    def _run(self, argv: Sequence[str], spec: SandboxSpec, what: str, log: Path) -> Said:
        if not self.sandbox.isolated:
            raise InfraError(f"{what}: {self.sandbox.reason}", hint="'xdna-harness doctor' says what to install")
        self.sandbox.own(spec.build)
        done = self.sandbox.run(argv, spec, what=what, log=log, check=False)
        return Said(done.status, buildfolder.read_log(log))
