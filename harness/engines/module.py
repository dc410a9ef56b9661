# SPDX-License-Identifier: GPL-2.0-only
"""Tree -> Module: the driver alone, against the kernel of its source, whenever nothing but the driver is reached.

    modules/<key>/obj/           make's folder; the sandbox writes here
    modules/<key>/module.json    what we know of it; only we write here
    modules/<key>/make.log

Kbuild's own dependency files say what a change reaches. When in doubt, kernel and driver are built. The driver is
always built outside of the kernel's tree, the source's own too, so that the drivers of two lanes differ in nothing but
their patches.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

from harness.engines import seed as seeds
from harness.engines.kbuild import DRIVER, Kbuild
from harness.engines.make import DRIVER_FOLDER as FOLDER
from harness.engines.make import BuildFailed, ClockSkewed, Make
from harness.engines.reach import NotBuilt, listed, never_alone, reach_of
from harness.engines.shipped import module_of
from harness.formats import build_log, kbuild_deps, modinfo
from harness.host import buildfolder, notes, proc
from harness.host.sandbox import SOURCE, Bind, Sandbox
from harness.host.store import Store, key_of
from harness.host.trees import content_key, fingerprints
from harness.log import step
from harness.model.kernel import Kernel, Module, Profile
from harness.model.tree import Tree

RECIPE = 3
"""Part of each key: count up when the way of building changes what comes out."""
MODULE_SECONDS = 900.0
MOST_SEEDS = 100
"""So many of the kernel's latest drivers are looked at to start from: what is near a new one was mostly made lately."""


class Doubt(Exception):
    """The driver alone is not good enough; the message says why."""


@dataclass(frozen=True)
class Record:
    """module.json. ``kernel`` is the kernel's key; ``helpers`` and ``made`` are in load order: paths in the kernel's
    build folder, and in obj/, the driver last. ``warnings`` by the step of make that they came up in, steps without any
    too. ``coverage``: it counts its lines. With a ``doubt`` there is nothing else, and nobody has to find it out
    again."""

    recipe: int
    kernel: str
    touched: dict[str, str]
    doubt: str = ""
    helpers: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    build_id: str = ""
    digest: str = ""
    warnings: dict[str, list[str]] = field(default_factory=dict)
    coverage: bool = False


class Modules:
    """Builds drivers into ``store``; ``fragments`` is the folder with the profiles' kconfig fragments, ``more`` are
    files that are merged on top of a profile's."""

    def __init__(self, store: Store, sandbox: Sandbox, fragments: Path, more: Sequence[Path] = ()) -> None:
        self.store = store
        self.sandbox = sandbox
        self.kernels = Kbuild(store, sandbox, fragments, more)

    def build(
        self, tree: Tree, profile: Profile, *, coverage: bool = False, making: Callable[[Kernel], None] | None = None
    ) -> Module:
        """The tree's driver and its kernel, built now if they are not in the store. Errors as of Kbuild.build.
        ``coverage``: the driver counts its lines; one that can only be built with its kernel does not. ``making`` is
        told which kernel the driver is for, when it has to be made."""
        return self._find(tree, profile, make=True, coverage=coverage, making=making)

    def cached(self, tree: Tree, profile: Profile) -> Module | None:
        """The same, but only if nothing has to be made for it."""
        try:
            return self._find(tree, profile, make=False)
        except NotBuilt:
            return None

    def kernel_tree(self, module: Module, tree: Tree) -> Tree:
        """What the kernel of this tree's driver was built from: the tree, or its source."""
        own = self.kernels.key(tree, module.kernel.profile)
        return tree if module.kernel.key == own else _source(tree)

    def source_kernel(self, tree: Tree, profile: Profile) -> Kernel:
        """The kernel of the tree's source, without any patch. Errors as of Kbuild.build."""
        return self.kernels.build(_source(tree), profile)

    def _find(
        self,
        tree: Tree,
        profile: Profile,
        *,
        make: bool,
        coverage: bool = False,
        making: Callable[[Kernel], None] | None = None,
    ) -> Module:
        if tree.source.shipped:
            return module_of(tree)
        if why := never_alone(tree, self.sandbox):
            return _inside(self._kernel(tree, profile, make=make), f"kernel and driver: {why}")
        kernel = self._kernel(_source(tree), profile, make=make)
        reach = reach_of(tree, kernel, self.store, make=make)
        doubt = reach.doubt
        if not doubt:
            how = f"the driver alone ({listed(reach.driver)}), against {kernel.release}" if reach.driver else ""
            try:
                return self._module(tree, kernel, how, make=make, coverage=coverage, making=making)
            except Doubt as found:
                doubt = str(found)
        own, how = self._kernel(tree, profile, make=make), f"kernel and driver: {doubt}"
        try:
            return self._module(tree, own, how, make=make, coverage=coverage, making=making)
        except Doubt as found:
            return _inside(own, f"{how}; the driver as built with it: {found}")

    def _kernel(self, tree: Tree, profile: Profile, *, make: bool) -> Kernel:
        if not make and not self.kernels.has(tree, profile):
            raise NotBuilt
        return self.kernels.build(tree, profile)

    def _module(
        self,
        tree: Tree,
        kernel: Kernel,
        how: str,
        *,
        make: bool,
        coverage: bool,
        making: Callable[[Kernel], None] | None,
    ) -> Module:
        prints = fingerprints(tree)  # documents, too: the driver may include one
        key = key_of(recipe=RECIPE, kernel=kernel.key, touched=sorted(prints.items()))
        if coverage:
            key = key_of(driver=key, coverage=True)
        if not make and not self.store.has("modules", key):
            raise NotBuilt

        def fill(folder: Path) -> None:
            if making is not None:
                making(kernel)
            _Build(self, tree, kernel, prints, key, folder, coverage).make()

        entry, said = self.store.record("modules", key, "module.json", fill)
        record = Record(**said)
        if record.doubt:
            raise Doubt(record.doubt)
        helpers = [kernel.build / name for name in record.helpers]
        return Module(
            key=key,
            kernel=kernel,
            files=(*helpers, *(entry / "obj" / name for name in record.made)),
            build_id=record.build_id,
            digest=record.digest,
            log=entry / "make.log",
            how=how,
            warnings=_texts(record.warnings.values()),
            counters=entry / "obj" if coverage else None,
        )

    def seed_for(self, kernel: Kernel, prints: Mapping[str, str]) -> seeds.Seed | None:
        """The built driver of the same kernel to start from, if there is one."""
        return seeds.choose(islice(self._seeds(kernel), MOST_SEEDS), prints)

    def _seeds(self, kernel: Kernel) -> Iterator[seeds.Seed]:
        """The built drivers of a kernel, the latest first."""
        entries = (self.store.root / "modules").glob("[!.]*/module.json")  # with a dot: half made
        for path in sorted(entries, key=_made, reverse=True):
            with suppress(OSError, ValueError, KeyError):  # one that is gone, or was cut off, is no seed
                if buildfolder.is_from_the_future(path):
                    continue
                data = json.loads(path.read_text())  # an older version of us may have written it
                if data.get("coverage"):
                    continue  # other objects
                if data.get("recipe") == RECIPE and data["kernel"] == kernel.key and not data["doubt"]:
                    yield seeds.Seed(path.parent.name, data["touched"])


class _Build:
    """One driver in the making, in ``folder``."""

    def __init__(
        self,
        engine: Modules,
        tree: Tree,
        kernel: Kernel,
        prints: Mapping[str, str],
        key: str,
        folder: Path,
        coverage: bool,
    ) -> None:
        self.coverage = coverage
        self.engine, self.tree, self.kernel, self.prints, self.folder = engine, tree, kernel, dict(prints), folder
        self.obj = folder / "obj"
        self.seed = None if coverage else engine.seed_for(kernel, prints)
        logs = engine.store.root / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"{key}.log"  # survives a failure, which leaves nothing of the folder

    def make(self) -> None:
        """Fill the folder; from a seed if there is one, and in full if that fails in a file that is no stranger's, or
        make could not trust the clock."""
        if self.seed is not None:
            try:
                self._make()
                return
            except BuildFailed as failed:
                if failed.first and failed.first.file in self.tree.touched:
                    raise
            except ClockSkewed:
                pass
            self.seed = None
            proc.run(["rm", "-rf", "--", self.obj, self.folder / "fresh"], what="clearing", timeout=60)
        self._make()

    def _make(self) -> None:
        self.log.unlink(missing_ok=True)
        how = f"what differs from {self.seed.key}" if self.seed else "in full"
        with step(f"driver for {self.kernel.release} ({how})") as progress:
            fresh = self._from_seed(self.seed) if self.seed else ()
            self.obj.mkdir(exist_ok=True)
            self.engine.sandbox.own(self.obj)
            ccache = self.engine.store.root / "ccache" / self.tree.source.key
            against, coverage = self.kernel.build, self.coverage
            make = Make(
                self.engine.sandbox, self.tree, self.obj, self.log, "", ccache, fresh, against, coverage=coverage
            )
            make.run(["-Otarget", f"-j{os.cpu_count() or 1}", "modules"], MODULE_SECONDS, progress)
            if self.seed is not None:
                make.check_clock()
            try:
                record = self._record()
            except Doubt as doubt:
                record = Record(RECIPE, self.kernel.key, self.prints, str(doubt), coverage=self.coverage)
        proc.run(["rm", "-rf", "--", self.folder / "fresh"], what="clearing", timeout=60)
        self.log.replace(self.folder / "make.log")
        notes.settle(self.obj / name for name in record.made)
        notes.write(self.folder / "module.json", json.dumps(asdict(record), indent=1))

    def _from_seed(self, seed: seeds.Seed) -> tuple[Bind, ...]:
        """Copy the seed's objects; returns the files that make must see as new."""
        differs = seeds.changed(seed, self.prints)
        present = {name for name in differs if self.tree.file(name).exists()}
        origin = self.engine.store.path("modules", seed.key) / "obj"
        source = self.tree.source.path
        added = [name for name in present if not seed.had(name, in_source=(source / name).exists())]
        if seeds.shadows(added, buildfolder.dependency_files(origin)):
            self.seed = None
            return ()
        buildfolder.copy(origin, self.obj)
        gone = seeds.orphans(differs - present)
        buildfolder.drop(self.obj, [name.removeprefix(f"{FOLDER}/") for name in gone if name.startswith(f"{FOLDER}/")])
        fresh = buildfolder.fresh_copies(self.tree, present, self.folder / "fresh")
        return tuple(Bind(copy, f"{SOURCE}/{name}") for copy, name in fresh)

    def _record(self) -> Record:
        """What came out, checked against the kernel it is for. :class:`Doubt` when it does not fit."""
        order = buildfolder.text_of(self.obj, "modules.order")
        digest = hashlib.sha256()
        try:
            made = modinfo.files_of(order)
            if DRIVER not in made:
                raise Doubt(f"the driver's Makefile makes no {DRIVER}")
            elves = {name: buildfolder.content(self.obj, path) for name, path in made.items()}
            for elf in elves.values():
                self._check(elf)
            helpers, own = self._in_load_order(elves)
            for name in helpers:
                digest.update(buildfolder.content(self.kernel.build, name))
            for name in own:
                digest.update(elves[name])
            build_id = modinfo.build_id(elves[DRIVER])
        except modinfo.NotAModule as error:
            raise BuildFailed(f"the driver is not in order: {error}", None, self.log) from error
        files = [made[name] for name in own]
        found = (helpers, files, build_id, digest.hexdigest(), self._warnings())
        return Record(RECIPE, self.kernel.key, self.prints, "", *found, self.coverage)

    def _check(self, driver: bytes) -> None:
        """vermagic and symbol versions are the kernel's."""
        inside = buildfolder.content(self.kernel.build, f"{FOLDER}/{DRIVER}.ko")
        wanted, found = (modinfo.modinfo(elf).get("vermagic") for elf in (inside, driver))
        if wanted != found:
            raise Doubt(f"the driver is for {found!r}, the kernel is {wanted!r}")
        symvers = buildfolder.text_of(self.kernel.build, "Module.symvers")
        if wrong := modinfo.wrong_versions(driver, symvers):
            raise Doubt(f"the driver wants other versions of {listed(wrong)} than the kernel has")

    def _in_load_order(self, elves: Mapping[str, bytes]) -> tuple[list[str], list[str]]:
        """The kernel's modules that the driver needs, as paths in its build folder, and which of ``elves``."""
        text = buildfolder.text_of(self.kernel.build, "modules.order")
        paths = {name: path for name, path in modinfo.files_of(text).items() if name not in elves}
        needs = {name: modinfo.depends_of(buildfolder.content(self.kernel.build, path)) for name, path in paths.items()}
        needs |= {name: modinfo.depends_of(elf) for name, elf in elves.items()}
        order = modinfo.load_order(DRIVER, needs)
        return [paths[name] for name in order if name in paths], [name for name in order if name in elves]

    def _warnings(self) -> dict[str, list[str]]:
        """Those of this log, and the seed's of the steps that make had no need to take again."""
        found = build_log.warnings_by_step(buildfolder.read_log(self.log))
        kept = {name: list(texts) for name, texts in found.items()}
        if self.seed is not None:
            mod = buildfolder.text_of(self.obj, f"{DRIVER}.mod")
            linked = kbuild_deps.objects_of(mod)
            before = json.loads((self.engine.store.path("modules", self.seed.key) / "module.json").read_text())
            was = {name: texts for name, texts in before["warnings"].items() if name not in kept}
            kept |= {name: texts for name, texts in was.items() if name in linked or name.startswith(_WHOLE)}
        return kept


_WHOLE = (f"{DRIVER}.", "Module.symvers")
"""Steps of make that are about the driver as a whole."""


def _source(tree: Tree) -> Tree:
    """The tree without its patches."""
    return Tree(content_key(tree.source, {}), tree.source.path, tree.source)


def _texts(warnings: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(sorted({text for texts in warnings for text in texts}))


def _made(path: Path) -> float:
    """When a file was made; one that somebody threw away meanwhile: long ago."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _inside(kernel: Kernel, how: str) -> Module:
    """The driver that was built with its kernel."""
    contents = [path.read_bytes() for path in kernel.modules]
    digest = hashlib.sha256(b"".join(contents)).hexdigest()
    found = {str(w) for w in build_log.warnings(buildfolder.read_log(kernel.log)) if w.file.startswith(f"{FOLDER}/")}
    try:
        build_id = modinfo.build_id(contents[-1])
    except modinfo.NotAModule as error:
        raise BuildFailed(f"the driver is not in order: {error}", None, kernel.log) from error
    return Module(kernel.key, kernel, kernel.modules, build_id, digest, kernel.log, how, tuple(sorted(found)))
