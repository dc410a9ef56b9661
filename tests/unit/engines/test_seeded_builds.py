# SPDX-License-Identifier: GPL-2.0-only
"""From which build another one starts, and when it starts from nothing after all."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from harness.engines import kbuild, module
from harness.engines.make import Make
from harness.engines.module import RECIPE, Modules
from harness.host.sandbox import Sandbox
from harness.host.store import Store
from harness.model.kernel import Kernel, Profile
from harness.model.tree import Source, Tree

SKEW = "make: warning:  Clock skew detected.  Your build may be incomplete.\n"


class Bench:
    """A store with a kernel and a driver of it, of which nothing was ever compiled."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.store = folder, Store(folder / "store")
        self.engine = Modules(self.store, Sandbox("bwrap", ""), folder)
        (folder / "source").mkdir()
        self.tree = Tree("t", folder / "source", Source("dir:x", "x", "7.3.4", "s", folder / "source"))
        self.kernel = Kernel("k", "7.3.4", Profile.PLAIN, folder / "bz", (), folder / "build", folder / "log")
        self.logs: list[str] = []
        self.found: list[list[str]] = []
        monkeypatch.setattr(kbuild.Kbuild, "_family", lambda *_: "f")
        monkeypatch.setattr(Make, "run", lambda make, *_: self._made(make))

    def _made(self, make: Make) -> None:
        """In place of make: notes what was there to start from."""
        make.log.write_text(self.logs[len(self.found)])
        self.found.append(sorted(path.name for path in make.build.glob("*.o")))

    def driver(self, key: str, text: str = "") -> Path:
        record = {"recipe": RECIPE, "kernel": "k", "touched": {}, "doubt": "", "warnings": {}}
        return self._entry("modules", key, "obj", "module.json", text or json.dumps(record))

    def built(self, key: str, text: str = "") -> Path:
        return self._entry("kernels", key, "build", "kernel.json", text or json.dumps({"family": "f", "touched": {}}))

    def _entry(self, kind: str, key: str, build: str, record: str, text: str) -> Path:
        entry = self.store.path(kind, key)
        (entry / build).mkdir(parents=True)
        (entry / build / "old.o").write_text("")
        (entry / record).write_text(text)
        return entry / record

    def seeds(self) -> tuple[str | None, str | None]:
        """Of a driver and of a kernel."""
        driver = self.engine.seed_for(self.kernel, {})
        kernel = self.engine.kernels.seed_for(self.tree, Profile.PLAIN)
        return driver.key if driver else None, kernel.key if kernel else None


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_nothing_starts_from_what_the_future_has_made(bench: Bench) -> None:
    """The clock was put back: copies of the files that differ would be older than its objects."""
    made = [bench.driver("d"), bench.built("b")]
    assert bench.seeds() == ("d", "b")
    for record in made:
        os.utime(record, (time.time() + 3600,) * 2)
    assert bench.seeds() == (None, None)


@pytest.mark.parametrize("text", ["\n", '{"recipe": ', json.dumps({"recipe": RECIPE, "family": "f"})])
def test_a_record_that_was_cut_off_is_nobodys_seed(bench: Bench, text: str) -> None:
    bench.driver("cut", text)
    bench.built("cut", text)
    assert bench.seeds() == (None, None)
    bench.driver("whole")
    bench.built("whole")
    assert bench.seeds() == ("whole", "whole")


@pytest.mark.parametrize(("first", "times"), [("", 1), (SKEW, 2)])
def test_a_driver_is_built_in_full_when_make_cannot_trust_the_clock(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, first: str, times: int
) -> None:
    bench.driver("d")
    bench.logs = [first, SKEW]
    monkeypatch.setattr(module._Build, "_record", lambda _: module.Record(RECIPE, "k", {}))
    folder = bench.folder / "new"
    folder.mkdir()
    module._Build(bench.engine, bench.tree, bench.kernel, {}, "n", folder, False).make()
    assert bench.found == [["old.o"], []][:times]
    assert (folder / "module.json").exists()


@pytest.mark.parametrize(("first", "times"), [("", 1), (SKEW, 2)])
def test_a_kernel_is_built_in_full_when_make_cannot_trust_the_clock(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, first: str, times: int
) -> None:
    bench.built("b")
    bench.logs = [first, SKEW]
    for name, value in (("_release", "7.3.4"), ("_modules", ()), ("_configure", None)):
        monkeypatch.setattr(kbuild._Build, name, lambda *_, value=value: value)
    monkeypatch.setattr(kbuild.Kbuild, "settings", lambda *_: ())
    monkeypatch.setattr("harness.engines.kbuild.buildfolder.output", lambda *_: None)
    folder = bench.folder / "new"
    folder.mkdir()
    kbuild._Build(bench.engine.kernels, bench.tree, Profile.PLAIN, folder).make()
    assert bench.found == [["old.o"], []][:times]
    assert (folder / "kernel.json").exists()
