# SPDX-License-Identifier: GPL-2.0-only
"""Frame -> file and line, of kernels and drivers that were built without debug info.

    lines/<key>/object.o     the object that defines a function, compiled once more with -g; in the sandbox
    lines/<key>/why          or why there is none that could be believed
    lines/<key>/index.json   of a kernel: which object defines a function

The command is the one that Kbuild kept in the object's ``.cmd`` file. -g does not change what a compiler makes of
code, and that is proved: each section with code must come out as in the object that the kernel was linked from. What is
in doubt has no lines.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from harness.engines.make import OBJECTS, STAMPS
from harness.errors import HarnessError
from harness.formats import kbuild_deps, lines
from harness.formats.elf import Elf, NotElf, Symbol
from harness.host import buildfolder, proc
from harness.host.sandbox import BUILD, Bind, Limits, Sandbox, SandboxSpec
from harness.host.store import Store, key_of
from harness.host.trees import shown
from harness.model.frame import Frame, Place
from harness.model.kernel import Module
from harness.model.tree import Tree

RECIPE = 1
"""Part of each key: count up when something else is made."""
ARCHIVES = ("built-in.a", "lib/lib.a", "arch/x86/lib/lib.a")
"""What vmlinux is linked from."""
COMPILE_SECONDS = 120.0
READ_SECONDS = 30.0
ALL_SECONDS = 60.0
"""After that nothing new is compiled for one driver; what is missing then, the next run finds."""
MOST_BYTES = 500 << 20
PADDING = 64
"""The kernel counts what lies between a function and the next symbol to its size, at the end of a section the rest of
the page, too. It tells functions of one name apart."""
INTO = "/lines"
TROUBLE = (HarnessError, ValueError, OSError)
"""What a build folder, which is a stranger's, can lead to. It costs lines, and nothing else."""


@dataclass(frozen=True)
class Linked:
    """Something that objects were linked to: the kernel, or a module. ``folder`` has its build; make called it
    ``inside`` in the sandbox. ``tree``: what it was made from."""

    key: str
    tree: Tree
    folder: Path
    inside: str
    objects: tuple[str, ...]


@dataclass(frozen=True)
class _Label:
    """Where a function is: object, section, and offset there."""

    linked: Linked
    object: str
    symbol: Symbol


class Locator:
    """Finds the lines of one driver and its kernel. ``source`` is the tree that the kernel was built from."""

    def __init__(self, store: Store, sandbox: Sandbox, module: Module, tree: Tree, source: Tree) -> None:
        self.store, self.sandbox = store, sandbox
        self.module, self.kernel = module, module.kernel
        self.tree, self.source = tree, source
        self.doubts: list[str] = []

    def places(self, frames: Iterable[Frame]) -> dict[Frame, tuple[Place, ...]]:
        """The lines of those frames for which there is no doubt, innermost first. ``doubts`` says what went wrong."""
        wanted: dict[tuple[str, str], list[tuple[Frame, _Label]]] = {}
        for frame in sorted(dict.fromkeys(frames), key=lambda frame: not frame.module):  # the driver's first
            if label := self._known(frame):
                wanted.setdefault((label.linked.key, label.object), []).append((frame, label))
        found: dict[Frame, tuple[Place, ...]] = {}
        deadline = time.monotonic() + ALL_SECONDS
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for places in pool.map(lambda group: self._read(group, deadline), wanted.values()):
                found |= places
        try:
            self.store.trim("lines", MOST_BYTES)
        except OSError as error:  # somebody else throws away, too
            self.doubts.append(str(error))
        return found

    def _known(self, frame: Frame) -> _Label | None:
        try:
            return self._find(frame)
        except TROUBLE as error:
            self.doubts.append(str(error))
            return None

    def _find(self, frame: Frame) -> _Label | None:
        """The one definition that a frame can mean."""
        if frame.at < 0 or frame.at >= frame.size:
            return None
        linked = self._modules.get(frame.module) if frame.module else self._vmlinux
        if linked is None:
            return None
        objects = linked.objects if frame.module else self._index.get(frame.function, ())
        labels = [
            _Label(linked, name, symbol)
            for name in objects
            for symbol in _labels(linked.folder, name)
            if symbol.name == frame.function
        ]
        strong = [label for label in labels if not label.symbol.weak] or labels
        fit = [label for label in strong if _holds(label.symbol, frame)]
        if len(fit) > 1:
            fit = [label for label in fit if frame.size < label.symbol.size + PADDING]
        return fit[0] if len(fit) == 1 else None

    @cached_property
    def _vmlinux(self) -> Linked:
        build, objects = self.kernel.build, dict[str, None]()
        for name in ARCHIVES:
            folder = PurePosixPath(name).parent
            members = kbuild_deps.members_of(buildfolder.output(build, name).read_bytes())
            objects |= dict.fromkeys(str(folder / member) for member in members)
        return Linked(self.kernel.key, self.source, build, self._build, tuple(objects))

    @cached_property
    def _modules(self) -> dict[str, Linked]:
        """Those of the kernel's build, and in their place the driver's own."""
        own = self.store.path("modules", self.module.key) / "obj"
        found = _linked(self.kernel.key, self.source, self.kernel.build, self._build)
        if self.module.key != self.kernel.key:
            found |= _linked(self.module.key, self.tree, own, OBJECTS)
        return found

    @property
    def _build(self) -> str:
        return BUILD if self.sandbox.isolated else str(self.kernel.build)

    @cached_property
    def _index(self) -> Mapping[str, Sequence[str]]:
        """Which objects of vmlinux define a function; read once from some thousands of files, then kept."""

        def write(folder: Path) -> None:
            index: dict[str, list[str]] = {}
            for name in self._vmlinux.objects:
                for label in _labels(self.kernel.build, name):
                    index.setdefault(label.name, []).append(name)
            (folder / "index.json").write_text(json.dumps(index))

        entry = self.store.get("lines", key_of(recipe=RECIPE, index=self.kernel.key), write)
        found: dict[str, list[str]] = json.loads((entry / "index.json").read_text())
        return found

    def _read(self, group: Sequence[tuple[Frame, _Label]], deadline: float) -> dict[Frame, tuple[Place, ...]]:
        """The lines of frames that are all in one object."""
        label = group[0][1]
        try:
            entry = self._compiled(label.linked, label.object, deadline)
            made = None if entry is None else Elf((entry / "object.o").read_bytes())
            if entry is None or made is None:
                return {}
            there = {(symbol.name, symbol.section, symbol.value) for symbol in made.labels()}
            sure = [(f, x.symbol) for f, x in group if (x.symbol.name, x.symbol.section, x.symbol.value) in there]
            return self._lines(entry, label.linked, sure)
        except TROUBLE as error:
            self.doubts.append(f"{label.object}: {error}")
            return {}

    def _compiled(self, linked: Linked, name: str, deadline: float) -> Path | None:
        """The entry with the object; None when its code is not what the kernel has, or time is up."""
        key = key_of(recipe=RECIPE, linked=linked.key, object=name)
        if not self.store.has("lines", key) and time.monotonic() > deadline:
            self.doubts.append(f"{name}: out of time")
            return None
        entry = self.store.get("lines", key, lambda folder: self._compile(linked, name, folder))
        os.utime(entry)  # what is used last is thrown away last
        return entry if (entry / "object.o").exists() else None

    def _compile(self, linked: Linked, name: str, folder: Path) -> None:
        out, log = folder / "out", folder / "log"
        out.mkdir()
        self.sandbox.own(out)
        into = f"{INTO if self.sandbox.isolated else out}/object.o"
        path = PurePosixPath(name)
        cmd = buildfolder.text_of(linked.folder, str(path.with_name(f".{path.name}.cmd")))
        command = kbuild_deps.with_debug_info(cmd, name, into)
        argv = ["env", "-C", linked.inside, "sh", "-c", command]
        self.sandbox.run(argv, self._spec(linked, out), what=f"compiling {name} with debug info", log=log)
        made, old = buildfolder.output(out, "object.o"), buildfolder.output(linked.folder, name)
        if Elf(made.read_bytes()).code() == Elf(old.read_bytes()).code():
            (folder / "object.o").write_bytes(made.read_bytes())
        else:
            (folder / "why").write_text("the code is not the same with debug info\n")
        proc.run(["rm", "-rf", "--", out], what="clearing", timeout=60)

    def _spec(self, linked: Linked, out: Path) -> SandboxSpec:
        """As make had it, but what was built can only be read."""
        source, changed = shown(linked.tree)
        built = Bind(self.kernel.build, BUILD), Bind(linked.folder, linked.inside)
        binds = (*changed, *built, Bind(out, INTO, writable=True))
        env = {"CCACHE_DISABLE": "1", **STAMPS}
        return SandboxSpec(out, Limits(seconds=COMPILE_SECONDS), source=source, binds=binds, env=env)

    def _lines(
        self, entry: Path, linked: Linked, frames: Sequence[tuple[Frame, Symbol]]
    ) -> dict[Frame, tuple[Place, ...]]:
        """Ask addr2line, in the sandbox: who made the object is a stranger."""
        spec = SandboxSpec(entry, Limits(seconds=READ_SECONDS, disk_reserve=0), source=shown(linked.tree)[0])
        object_ = f"{self.sandbox.build_path(spec)}/object.o"
        source = self.sandbox.source_path(spec)
        prefixes = {f"{source}/": "", f"{linked.inside}/": "", f"{self._build}/": ""}
        found: dict[Frame, tuple[Place, ...]] = {}
        for section in {symbol.section for _, symbol in frames}:
            asked = {frame: symbol.value + frame.at for frame, symbol in frames if symbol.section == section}
            words = ["addr2line", "-a", "-f", "-i", "-e", object_, "-j", section, *map(hex, asked.values())]
            printed = self.sandbox.run(words, spec, what=f"addr2line of {object_}").stdout
            told = lines.addr2line(printed, prefixes)
            found |= {frame: told[at] for frame, at in asked.items() if told.get(at)}
        return found


def _linked(key: str, tree: Tree, folder: Path, inside: str) -> dict[str, Linked]:
    """The modules of a build folder, by the names that the kernel prints."""
    found = {}
    for name in buildfolder.text_of(folder, "modules.order").split():
        path = PurePosixPath(name)
        mod = buildfolder.text_of(folder, str(path.with_suffix(".mod")))
        objects = tuple(sorted(kbuild_deps.objects_of(mod)))
        found[path.stem.replace("-", "_")] = Linked(key, tree, folder, inside, objects)
    return found


def _labels(folder: Path, name: str) -> list[Symbol]:
    """The labels in an object's code; none if it is not what it should be."""
    try:
        return list(Elf(buildfolder.output(folder, name).read_bytes()).labels())
    except (HarnessError, NotElf):
        return []


def _holds(symbol: Symbol, frame: Frame) -> bool:
    """Whether a symbol can be what the kernel prints with this size. Assembler does not always say one."""
    return not symbol.size or frame.at < symbol.size <= frame.size
