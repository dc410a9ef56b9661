# SPDX-License-Identifier: GPL-2.0-only
"""One make in the sandbox: its words, its environment, and whose its failure is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.engines import seed as seeds
from harness.errors import HarnessError, InfraError, UsageError
from harness.formats import build_log
from harness.host import buildfolder
from harness.host.sandbox import BUILD, TOOL_PATH, Bind, Limits, Sandbox, SandboxSpec
from harness.host.trees import shown
from harness.log import Step
from harness.model.tree import Tree

CCACHE = "/ccache"
OBJECTS = "/obj"
DRIVER_FOLDER = "drivers/accel/amdxdna"
MOST_AT_ONCE = 1 << 20
"""So much of a growing log is read at a time, which is several times a second."""
STAMPS = {
    "KBUILD_BUILD_USER": "xdna",
    "KBUILD_BUILD_HOST": "harness",
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 1970",
    "KBUILD_BUILD_VERSION": "1",
}


class BuildFailed(HarnessError):
    """The tree does not build. ``first`` is the first error; whose fault it is the lanes decide."""

    exit_code = 1

    def __init__(self, message: str, first: build_log.BuildError | None, log: Path) -> None:
        super().__init__(message, hint="the log has the rest", log=log)
        self.first = first


class ClockSkewed(Exception):
    """make left alone what may have to be made: the times of its files are wrong."""


@dataclass(frozen=True)
class Make:
    """make on a tree, into ``build``, with its output appended to ``log``. ``local`` ends the release string;
    ``ccache`` is the compiler cache of the tree's source; ``fresh`` are files that cover those of the
    tree. ``against``: the build folder of a kernel; then only the driver is made, outside of it, and ``build`` is its
    own folder; with ``coverage`` it counts its lines, and leaves a .gcno beside each object."""

    sandbox: Sandbox
    tree: Tree
    build: Path
    log: Path
    local: str
    ccache: Path
    fresh: tuple[Bind, ...] = ()
    against: Path | None = None
    coverage: bool = False

    def run(self, words: Sequence[str], seconds: float, progress: Step | None = None) -> None:
        """Make these targets. :class:`BuildFailed`, :class:`UsageError` (the source folder is not clean) or
        :class:`InfraError` (disk, memory, time)."""
        spec = self._spec(seconds)
        source, build = self.sandbox.source_path(spec), self.sandbox.build_path(spec)
        argv = ["make", "-C", source, f"O={build}"]
        if self.against is None:
            argv += [f"LOCALVERSION={self.local}", *words]
        else:
            counts = ["GCOV_PROFILE=y"] if self.coverage else []
            argv += [f"M={source}/{DRIVER_FOLDER}", f"MO={OBJECTS}", *counts, *words]
        what = f"building {self.tree.source.version}{self.local}"
        watch = _Watch(self.log, progress)
        done = self.sandbox.run(argv, spec, what=what, log=self.log, check=False, poll=watch.look)
        if done.status != 0:
            raise self._failure(done.status)

    def check_clock(self) -> None:
        """:class:`ClockSkewed` if what it started from was not there in time, by the clock of now: then only all of it,
        made anew, is good."""
        if build_log.clock_is_skewed(buildfolder.read_log(self.log)):
            raise ClockSkewed

    def inside(self, name: str) -> str:
        """What make calls a file of the build folder."""
        return f"{self.sandbox.build_path(self._spec(0))}/{name}"

    def _spec(self, seconds: float) -> SandboxSpec:
        """One compiler cache per source, so that a hostile source spoils only its own; and only a tree that
        runs nothing of a stranger's while it is built may write to it."""
        limits = Limits(seconds=seconds)
        if not self.sandbox.isolated:
            env = {"CCACHE_DISABLE": "1", **STAMPS}
            return SandboxSpec(self.build, limits, source=self.tree.path, env=env)
        source, changed = shown(self.tree)
        if self.against is not None:
            # A driver that was built before is in the store, and its unchanged objects come from a seed: ccache has
            # nothing to give, and stands before each of the 25 compilers that Kbuild only asks for their options.
            binds = (*changed, *self.fresh, Bind(self.against, BUILD), Bind(self.build, OBJECTS, writable=True))
            return SandboxSpec(self.build, limits, source=source, binds=binds, env={"PATH": TOOL_PATH, **STAMPS})
        writable = seeds.is_trusted(self.tree.touched)
        # Never CCACHE_DEPEND: it skips the preprocessor, and with it the check for .incbin. piggy.S, which holds the
        # compressed kernel, was then seen to come out of the cache with another tree's kernel in it.
        # NOCPP2 compiles what the preprocessor left instead of running it twice: a miss costs 10 % instead of 45 %
        # (block/ of 7.3, 32 files), and the objects are the same bit for bit.
        env = {"CCACHE_DIR": CCACHE, "CCACHE_NOCPP2": "1", "CCACHE_MAXSIZE": "2G", **STAMPS}
        if not writable:
            env |= {"CCACHE_READONLY": "1", "CCACHE_TEMPDIR": "/tmp"}
        self.ccache.mkdir(parents=True, exist_ok=True)
        if writable:
            self.sandbox.own(self.ccache)
        binds = (*changed, *self.fresh, Bind(self.ccache, CCACHE, writable=writable))
        return SandboxSpec(self.build, limits, source=source, binds=binds, env=env)

    def _failure(self, status: int) -> HarnessError:
        text = buildfolder.read_log(self.log)
        if build_log.source_is_unclean(text):
            return UsageError(
                f"somebody built inside {self.tree.source.origin}: make wants a clean source",
                hint="run 'make mrproper' there, or name another source",
            )
        lacking = build_log.machine_failure(text)
        first = build_log.first_error(text)
        if lacking or status < 0:
            return InfraError(
                f"the build of {self.tree.source.version} was cut short: {lacking or f'signal {-status}'}",
                hint="the log may say more",
                log=self.log,
                transient=lacking is not None,
            )
        return BuildFailed(f"does not build: {first or f'make ended with {status}'}", first, self.log)


class _Watch:
    """Tells a step how far make is, from its growing log."""

    def __init__(self, log: Path, progress: Step | None) -> None:
        self.log, self.progress = log, progress
        self.offset, self.made = 0, 0

    def look(self) -> None:
        """Read what is new, up to the last line that is whole, but not much at a time: a Makefile may write without
        end, and without lines."""
        if self.progress is None:
            return
        with self.log.open("rb") as stream:
            stream.seek(self.offset)
            new = stream.read(MOST_AT_ONCE)
        whole = new[: new.rfind(b"\n") + 1]
        if not whole and len(new) == MOST_AT_ONCE:
            whole = new
        self.offset += len(whole)
        count, last = build_log.steps(whole.decode(errors="replace"))
        self.made += count
        if count:
            self.progress.update(f"{self.made} files, {last}")
