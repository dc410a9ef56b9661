# SPDX-License-Identifier: GPL-2.0-only
"""What is measured, part by part. All but ``cold`` measure with warm caches: the user's own."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import raw
from benchmarks.ours import KERNEL, command, compile_seconds, first_test_seconds, harness, timed
from benchmarks.table import Row, middle
from harness.engines.module import Modules
from harness.guests import Guests
from harness.host.data import data_folder
from harness.host.fetch import fetch
from harness.host.sandbox import Sandbox
from harness.host.sources import resolve
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.lab import Lab
from harness.model.kernel import Kernel, Profile
from harness.model.session import Start
from harness.model.tree import Source
from harness.model.variant import Variant
from harness.standby import Standby
from harness.starts import SLOWER

COLD_BOOTS, RESTORES, REPEATS = 3, 20, 3
PATCHES = 5
DEBUG = Variant(profile=Profile.DEBUG)
ONE_TEST = "test_e01_first_chunk"


@dataclass(frozen=True)
class Bench:
    """Where it is done: ``scratch`` is empty at first, ``stamp`` makes every change of the driver a new one."""

    scratch: Path
    stamp: int

    @property
    def source(self) -> Source:
        return resolve(KERNEL, Store())

    def folder(self, name: str) -> Path:
        path = self.scratch / name
        path.mkdir()
        return path

    def tree(self, name: str) -> Path:
        """A kernel tree under git, with the kernel's source as its one commit."""
        tree = self.scratch / name
        command(["cp", "-a", str(self.source.path), str(tree)])
        command(["chmod", "-R", "u+w", str(tree)])
        git(tree, "init", "-q", "-b", "main")
        git(tree, "add", "-A", "-f")
        git(tree, "commit", "-q", "-m", "base")
        git(tree, "tag", "-a", "-m", "base", "base")
        return tree

    def change(self, tree: Path, number: int) -> None:
        """Change one file of the driver, so that another driver comes out."""
        name = f"xdna_benchmark_{self.stamp}_{number}"
        path = tree / raw.DRIVER / "aie2_pm.c"
        path.write_text(path.read_text() + f"\nint {name}(int x);\nint {name}(int x)\n{{\n\treturn x + {number};\n}}\n")
        git(tree, "commit", "-q", "-a", "-m", f"accel/amdxdna: harmless change {number}")


def git(tree: Path, *words: str) -> str:
    """Always the same commits of the same content, so that the cache keeps the kernel of the first one."""
    who = ["-c", "user.name=A Tester", "-c", "user.email=tester@example.org", "-c", "gc.auto=0"]
    dates = {f"GIT_{whose}_DATE": "2026-01-01T00:00:00Z" for whose in ("AUTHOR", "COMMITTER")}
    return command(["git", *who, *words], tree, {"GIT_CONFIG_GLOBAL": "/dev/null", **dates})


def restore(bench: Bench) -> Iterator[Row]:
    """From the start of QEMU to a driver that is ready, restored and booted."""
    for profile, seconds, share in ((Profile.PLAIN, 0.6, 0.1), (Profile.DEBUG, 1.2, 0.05)):
        store = Store()
        modules = Modules(store, Sandbox.detect(), data_folder("jobs") / "kconfig")
        module = modules.build(make_tree(bench.source, (), store), profile)
        lab = Lab.prepare(store)
        variant = Variant(profile=profile)
        guests = lab.guests(module, variant, 120.0, store)
        folder = bench.folder(f"restore-{profile}")
        cold = middle([ready(guests, folder / f"cold-{n}", Start.COLD, profile) for n in range(COLD_BOOTS)])
        if not guests.has(Start.KERNEL):
            guests.make_kernel(folder / "kernel")
        if not guests.has(Start.DRIVER):
            with guests.open(folder / "driver", Start.KERNEL) as session:
                session.load_driver(60 * SLOWER[profile])
                session.settle(30)
                guests.save_driver(session)
        restored = middle([ready(guests, folder / f"again-{n}", Start.DRIVER, profile) for n in range(RESTORES)])
        machine = lab.machine(module.kernel, variant)
        bare = middle([timed(raw.boot, machine, folder) for _ in range(COLD_BOOTS)])
        yield Row(f"ready driver, restored, {profile}", restored, "booted", cold, seconds, share)
        yield Row(f"ready driver, booted, {profile}", cold, "raw QEMU to its first program", bare)


def ready(guests: Guests, folder: Path, start: Start, profile: Profile) -> float:
    """Seconds from the start of QEMU to a driver that can be opened."""
    with guests.open(folder, start) as session:
        if start is Start.COLD:
            session.load_driver(60 * SLOWER[profile])
        seconds = time.monotonic() - session.boot.started
        status, said = session.run(["python3", "-c", "import os; os.open('/dev/accel/accel0', 2)"])
        if status != 0:
            raise RuntimeError(f"the driver is not ready: {said}")
    return seconds


def nothing(bench: Bench) -> Iterator[Row]:
    """The same run again: nothing has changed."""
    words = ("run", "--kernel", KERNEL, "--quick", "--out")
    folder = bench.folder("nothing")
    harness(*words, folder / "first")
    again = middle([timed(harness, *words, folder / str(n)) for n in range(REPEATS)])
    yield Row("nothing changed since the last run", again, most=2.0)


def presubmit(bench: Bench) -> Iterator[Row]:
    """One more commit that touches the driver, with the base's answers at hand."""
    tree, folder = bench.tree("presubmit"), bench.folder("presubmit-runs")
    words = ("presubmit", "--plain-only", "--count", "1", "--out")
    bench.change(tree, 0)
    harness(*words, folder / "warm", folder=tree)
    kernel = raw.own_kernel(_kernel_build(Profile.PLAIN), bench.source.path, folder / "kernel")
    seconds, compiled, by_hand = [], [], []
    objects = folder / "objects"
    raw.make_driver(kernel, tree, objects)
    for number in range(1, REPEATS + 1):
        git(tree, "reset", "-q", "--hard", "base")
        bench.change(tree, number)
        run = folder / str(number)
        seconds.append(timed(harness, *words, run, folder=tree))
        compiled.append(compile_seconds(run / "plain")["head"])
        by_hand.append(timed(raw.make_driver, kernel, tree, objects))
    one = ("run", "--kernel", KERNEL, "--quick", "--out")
    suite = timed(harness, *one, folder / "suite", "--fresh") - timed(harness, *one, folder / "none")
    both = middle(compiled) + suite
    yield Row("presubmit: a commit, quick suite, plain kernel", middle(seconds), "compile + suite", both, 60.0, 1.3)
    yield Row("of it: compiling the driver", middle(compiled), "make M= by hand", middle(by_hand))


def patches(bench: Bench) -> Iterator[Row]:
    """Each further patch of a series that is tested patch by patch."""
    tree, folder = bench.tree("patches"), bench.folder("patches-runs")
    for number in range(PATCHES):
        bench.change(tree, 100 + number)
    runs = {}
    for count in (1, PATCHES):
        mbox = folder / f"{count}.mbox"
        mbox.write_text(git(tree, "format-patch", "--stdout", "--thread", f"base..main~{PATCHES - count}"))
        words = ("run", mbox, "--kernel", KERNEL, "--quick", "--per-patch", "--fresh", "--out", folder / str(count))
        runs[count] = timed(harness, *words)
    compiled = compile_seconds(folder / str(PATCHES))
    each = (runs[PATCHES] - runs[1]) / (PATCHES - 1)
    further = [seconds for lane, seconds in compiled.items() if lane != "base"]
    compiling = sum(further) / len(further)
    yield Row("each further patch of a series, quick suite", each, "its compile", compiling, 15.0 + compiling)


def virtme(bench: Bench) -> Iterator[Row]:
    """The same change of the driver, built and booted, as virtme-ng does it; both warm."""
    lab, store = Lab.prepare(Store()), Store()
    tree = bench.tree("virtme")
    config = _kernel_build(Profile.PLAIN) / ".config"
    kvm = "kvm" in lab.accelerator.argv
    other = raw.Virtme(tree, config, lab.qemu.argv, kvm, bench.scratch)
    other.build()
    other.boot()
    built, booted, ours, debug = [], [], [], []
    modules = Modules(store, Sandbox.detect(), data_folder("jobs") / "kconfig")
    bench.change(tree, 199)
    for profile in (Profile.PLAIN, Profile.DEBUG):
        _ours_ready(bench, modules, lab, tree, profile)
    for number in range(200, 200 + REPEATS):
        bench.change(tree, number)
        built.append(timed(other.build))
        booted.append(timed(other.boot))
        ours.append(timed(_ours_ready, bench, modules, lab, tree, Profile.PLAIN))
        debug.append(timed(_ours_ready, bench, modules, lab, tree, Profile.DEBUG))
    whole = middle([build + boot for build, boot in zip(built, booted, strict=True)])
    yield Row("one file changed, to a ready driver", middle(ours), "virtme-ng, build and boot", whole, most_of=0.2)
    yield Row("virtme-ng: of it the boot", middle(booted), "its build", middle(built))
    # Building a whole debug kernel for virtme-ng takes half an hour. No boot is faster than this one.
    machine = lab.machine(modules.source_kernel(make_tree(bench.source, (), store), Profile.DEBUG), DEBUG)
    bare = middle([timed(raw.boot, machine, bench.scratch) for _ in range(COLD_BOOTS)])
    yield Row("the same on the debug kernel", middle(debug), "raw QEMU to its first program", bare, most_of=0.2)


def _ours_ready(bench: Bench, modules: Modules, lab: Lab, tree: Path, profile: Profile) -> None:
    """Build the driver of a tree's last commit and load it in a restored guest."""
    store = modules.store
    mbox = bench.scratch / "virtme.mbox"
    mbox.write_text(git(tree, "format-patch", "--stdout", "base..main"))
    variant, folder = Variant(profile=profile), bench.scratch / f"ours-{time.monotonic_ns()}"
    standing: list[Standby | None] = []

    def stand_by(kernel: Kernel) -> None:
        standing.append(lab.standby(kernel, variant, folder, store))

    module = modules.build(make_tree(bench.source, fetch(str(mbox)).patches, store), profile, making=stand_by)
    guests = lab.guests(module, variant, 120.0, store, standing[0] if standing else None)
    if not guests.has(Start.KERNEL):  # once, before anything is measured
        guests.make_kernel(bench.scratch / f"kernel-{profile}")
    with guests.open(folder, Start.KERNEL) as session:
        if session.load_driver(60 * SLOWER[profile]) != module.build_id:
            raise RuntimeError("another driver was loaded")


def cold(bench: Bench) -> Iterator[Row]:
    """From an empty cache to a verdict, one lane, plain kernel."""
    cache = bench.scratch / "cache"
    env = {"XDG_CACHE_HOME": str(cache)}
    one = ("run", "--kernel", KERNEL, "-k", ONE_TEST, "--start", "cold", "--out")
    whole = timed(harness, *one, bench.scratch / "cold", env=env)
    boot = first_test_seconds(bench.scratch / "cold")
    own = Store(cache / "xdna-harness")
    kernels = sorted(own.root.glob("kernels/[!.]*"))
    again = timed(harness, *one, bench.scratch / "again", "--fresh", env=env)
    if sorted(own.root.glob("kernels/[!.]*")) != kernels:
        raise RuntimeError("the second run built something")
    download = timed(resolve, KERNEL, Store(bench.scratch / "raw-cache"))
    source = next(own.root.glob("sources/*/Makefile")).parent
    make = timed(raw.make_kernel, source, kernels[0] / "build/.config", bench.scratch / "raw-build")
    yield Row("from nothing to a verdict", whole, "download + make + boot", download + make + boot, most_of=1.2)
    yield Row("the same again, asked anew", again, "from nothing", whole)
    yield Row("QEMU to the first test, booted", boot, most=10.0)
    yield Row("download and unpack the source", download, "make", make)


def _kernel_build(profile: Profile) -> Path:
    """The build folder of the kernel that every change of the driver is built against."""
    store = Store()
    modules = Modules(store, Sandbox.detect(), data_folder("jobs") / "kconfig")
    module = modules.build(make_tree(resolve(KERNEL, store), (), store), profile)
    return store.path("kernels", re.sub(r".*-", "", module.kernel.release)) / "build"


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "restore": restore,
    "nothing": nothing,
    "presubmit": presubmit,
    "patches": patches,
    "virtme": virtme,
    "cold": cold,
}
