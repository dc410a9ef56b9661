# SPDX-License-Identifier: GPL-2.0-only
"""Tree -> Kernel, with the kernel's own build system.

    kernels/<key>/build/         make's folder; the sandbox writes here
    kernels/<key>/kernel.json    what we know of it; only we write here
    kernels/<key>/make.log

A key that is built is never built again. Another tree of the same source starts from a copy of a build folder
that is there already (:mod:`harness.engines.seed` says when), and only what differs is compiled.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.engines import seed as seeds
from harness.engines.make import BuildFailed as BuildFailed
from harness.engines.make import ClockSkewed, Make
from harness.errors import UsageError
from harness.formats import build_log, kconfig
from harness.formats.modinfo import NotAModule, depends_of, files_of, load_order
from harness.host import buildfolder, notes, proc, toolchain
from harness.host.sandbox import SOURCE, Bind, Sandbox
from harness.host.store import Store, key_of
from harness.host.trees import complete, content_key, fingerprints
from harness.log import step
from harness.model.kernel import Kernel, Profile
from harness.model.tree import Tree

RECIPE = 2
"""Part of each key: count up when the way of building changes what comes out."""
DRIVER = "amdxdna"
BUILD_SECONDS = 3600.0
CONFIGURE_SECONDS = 300.0
ASKED = "asked.config"
IMAGE = "arch/x86/boot/bzImage"
FRAGMENTS = {Profile.PLAIN: ("plain.config",), Profile.DEBUG: ("plain.config", "debug.config")}
MAX_RELEASE = 64
_RELEASE = re.compile(r"[\w.+~-]+", re.ASCII)
INTERMEDIATE = ("vmlinux.o", "vmlinux.a", ".tmp_vmlinux1", ".tmp_vmlinux2", "vmlinux.unstripped")
"""Large, and made anew by every build, since each has a release of its own."""


@dataclass(frozen=True)
class Record:
    """kernel.json. ``family`` is a hash of what two kernels must share for one to start from the other:
    source, configuration, toolchain, recipe. ``modules`` are in load order, relative to the build folder."""

    family: str
    release: str
    profile: str
    touched: dict[str, str]
    modules: list[str]
    seed: str | None


class Kbuild:
    """Builds kernels into ``store``; ``fragments`` is the folder with the profiles' kconfig fragments, ``more`` are
    files that are merged on top of a profile's."""

    def __init__(self, store: Store, sandbox: Sandbox, fragments: Path, more: Sequence[Path] = ()) -> None:
        self.store = store
        self.sandbox = sandbox
        self.fragments = fragments
        self.more = tuple(more)

    def settings(self, profile: Profile) -> tuple[kconfig.Setting, ...]:
        """What the profile asks for, fragments merged."""
        paths = [*(self.fragments / name for name in FRAGMENTS[profile]), *self.more]
        return kconfig.merge(*(kconfig.parse_fragment(path.read_text(), path.name) for path in paths))

    def key(self, tree: Tree, profile: Profile) -> str:
        """The kernel's key."""
        return key_of(tree=tree.key, family=self._family(tree, profile))

    def has(self, tree: Tree, profile: Profile) -> bool:
        """Whether it is built already."""
        return self.store.has("kernels", self.key(tree, profile))

    def build(self, tree: Tree, profile: Profile) -> Kernel:
        """The tree's kernel, built now if it is not in the store.

        :class:`BuildFailed`: the tree does not build. :class:`UsageError`: the source folder is not clean, or
        a kernel version has not what the fragments ask for. :class:`InfraError`: disk, memory, time, tools.
        """
        key = self.key(tree, profile)
        if not self.store.has("kernels", key):
            self._pristine_first(tree, profile)
            tree = tree if self.sandbox.isolated else complete(tree, self.store)
        entry, said = self.store.record(
            "kernels", key, "kernel.json", lambda folder: _Build(self, tree, profile, folder).make()
        )
        record = Record(**said)
        build = entry / "build"
        return Kernel(
            key=key,
            release=record.release,
            profile=profile,
            image=build / IMAGE,
            modules=tuple(build / name for name in record.modules),
            build=build,
            log=entry / "make.log",
        )

    def _pristine_first(self, tree: Tree, profile: Profile) -> None:
        """A tree that changes what make executes can be nobody's seed: give its lanes the source as one."""
        source = Tree(content_key(tree.source, {}), tree.source.path, tree.source)
        useful = seeds.choose([seeds.Seed("", {})], fingerprints(tree)) is not None
        if seeds.is_trusted(tree.touched) or not useful or not self.sandbox.isolated:
            return
        if self.seed_for(tree, profile) is None:
            with suppress(BuildFailed):  # what matters is whether the tree itself builds
                self.build(source, profile)

    def seed_for(self, tree: Tree, profile: Profile) -> seeds.Seed | None:
        """The built kernel to start from, if there is one. Without a sandbox there is none: paths then differ
        between trees, and make would build everything anyway."""
        if not self.sandbox.isolated:
            return None
        family, found = self._family(tree, profile), []
        for path in sorted((self.store.root / "kernels").glob("[!.]*/kernel.json")):  # with a dot: half made
            with suppress(OSError, ValueError, KeyError):  # one that is gone, or was cut off, is no seed
                if buildfolder.is_from_the_future(path):
                    continue
                data = json.loads(path.read_text())  # an older version of us may have written it
                if data.get("family") == family:
                    found.append(seeds.Seed(path.parent.name, data["touched"]))
        return seeds.choose(found, fingerprints(tree))

    def _family(self, tree: Tree, profile: Profile) -> str:
        return key_of(
            recipe=RECIPE,
            source=tree.source.key,
            config=kconfig.render(self.settings(profile)),
            toolchain=toolchain.version(),
            fixed_paths=self.sandbox.isolated,
        )

    def record(self, build: _Build, release: str, modules: Sequence[str]) -> Record:
        """What is kept about a finished build."""
        return Record(
            family=self._family(build.tree, build.profile),
            release=release,
            profile=build.profile,
            touched=fingerprints(build.tree),
            modules=list(modules),
            seed=build.seed.key if build.seed else None,
        )


def is_release(text: str, local: str) -> bool:
    """Whether ``uname -r`` can say this: letters, digits and a few marks, as long as the kernel has room for, and at
    its end what is ours. A Makefile may put anything there, and it stands in every report."""
    return len(text) <= MAX_RELEASE and text.endswith(local) and _RELEASE.fullmatch(text) is not None


class _Build:
    """One kernel in the making, in ``folder``."""

    def __init__(self, engine: Kbuild, tree: Tree, profile: Profile, folder: Path) -> None:
        self.engine, self.tree, self.profile, self.folder = engine, tree, profile, folder
        self.sandbox = engine.sandbox
        self.key = engine.key(tree, profile)
        self.local = f"-xdna-{self.key}"
        self.seed = engine.seed_for(tree, profile)
        self.differs_in_kconfig = False
        self.build = folder / "build"
        logs = engine.store.root / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"{self.key}.log"  # survives a failure, which leaves nothing of the folder
        self.ccache = engine.store.root / "ccache" / tree.source.key

    def make(self) -> None:
        """Fill the folder; from a seed if there is one, and in full if what that said is not beyond doubt, or make
        could not trust the clock."""
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
            proc.run(["rm", "-rf", "--", self.build, self.folder / "fresh"], what="clearing", timeout=600)
        self._make()

    def _make(self) -> None:
        self.log.unlink(missing_ok=True)
        how = "what differs from " + self.seed.key if self.seed else "in full"
        with step(f"kernel {self.tree.source.version}{self.local} ({self.profile}, {how})") as progress:
            make = self._start()
            if self.seed is None or self.differs_in_kconfig:
                self._configure(make)
            make.run([f"-j{os.cpu_count() or 1}", "bzImage", "modules"], BUILD_SECONDS, progress)
            if self.seed is not None:
                make.check_clock()
            release = self._release()
            modules = self._modules()
        buildfolder.drop(self.build, INTERMEDIATE)
        buildfolder.output(self.build, IMAGE)
        proc.run(["rm", "-rf", "--", self.folder / "fresh"], what="clearing", timeout=60)
        self.log.replace(self.folder / "make.log")
        record = self.engine.record(self, release, modules)
        notes.settle(self.build / name for name in (IMAGE, *record.modules))
        notes.write(self.folder / "kernel.json", json.dumps(asdict(record), indent=1))

    def _start(self) -> Make:
        """Lay the build folder, from the seed if there is one."""
        fresh = self._from_seed(self.seed) if self.seed else ()
        self.build.mkdir(exist_ok=True)
        asked = self.build / ASKED
        asked.unlink(missing_ok=True)
        asked.write_text(kconfig.render(self.engine.settings(self.profile)))
        self.sandbox.own(self.build)
        return Make(self.sandbox, self.tree, self.build, self.log, self.local, self.ccache, fresh)

    def _from_seed(self, seed: seeds.Seed) -> tuple[Bind, ...]:
        """Copy the seed's build folder; returns the files that make must see as new."""
        source = self.tree.source.path
        differs = seeds.changed(seed, fingerprints(self.tree))
        present = {name for name in differs if self.tree.file(name).exists()}
        added = [name for name in present if not seed.had(name, in_source=(source / name).exists())]
        origin = self.engine.store.path("kernels", seed.key) / "build"
        if seeds.shadows(added, buildfolder.dependency_files(origin)):
            self.seed = None
            return ()
        self.differs_in_kconfig = any("Kconfig" in name for name in differs)
        buildfolder.copy(origin, self.build)
        buildfolder.drop(self.build, seeds.orphans(differs - present))
        fresh = buildfolder.fresh_copies(self.tree, present, self.folder / "fresh")
        return tuple(Bind(copy, f"{SOURCE}/{name}") for copy, name in fresh)

    def _configure(self, make: Make) -> None:
        """allnoconfig with what is asked; what was asked and did not come out is an error."""
        make.run([f"KCONFIG_ALLCONFIG={make.inside(ASKED)}", "allnoconfig"], CONFIGURE_SECONDS)
        config = buildfolder.text_of(self.build, ".config")
        wrong = kconfig.verify(self.engine.settings(self.profile), config)
        if wrong:
            first = wrong[0]
            message = f"{self.tree.source.origin}: {'; '.join(str(miss) for miss in wrong)}"
            if self.tree.touched:
                raise BuildFailed(message, build_log.BuildError("kconfig", "", 0, str(first)), self.log)
            raise UsageError(
                message, hint=f"change {first.setting.where}, or call the symbol optional there", log=self.log
            )

    def _release(self) -> str:
        """What ``uname -r`` will say; it must carry our key."""
        release = buildfolder.text_of(self.build, "include/config/kernel.release").strip()
        if not is_release(release, self.local):
            raise BuildFailed(
                f"the release string is {release[:80]!r}, no release that ends in {self.local}", None, self.log
            )
        return release

    def _modules(self) -> tuple[str, ...]:
        """The driver and what it needs, in load order, by the modules' own words."""
        order = buildfolder.text_of(self.build, "modules.order")
        try:
            paths = files_of(order)
            needs = {name: depends_of(buildfolder.content(self.build, path)) for name, path in paths.items()}
            return tuple(paths[name] for name in load_order(DRIVER, needs))
        except NotAModule as error:
            raise BuildFailed(f"the driver's modules are not in order: {error}", None, self.log) from error
