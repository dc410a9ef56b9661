# SPDX-License-Identifier: GPL-2.0-only
"""A saved guest that is not what was saved, does not run or cannot be saved is noticed, and never becomes a verdict.

XDNA_HARNESS_RESTORES=200 restores as often in a row as that, on the plain kernel and on the debug kernel.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest

from conftest import KERNEL, Edit, Harness, Plant, Ran
from harness.engines.module import Modules
from harness.guests import Guests
from harness.host.data import data_folder
from harness.host.guest_memory import prove
from harness.host.sandbox import Sandbox
from harness.host.snapshot import StateDamaged
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.lab import Lab
from harness.model.kernel import Profile
from harness.model.session import Start
from harness.model.tree import Source
from harness.model.variant import AddressMode, Variant
from harness.standby import Standby

DRIVER = "drivers/accel/amdxdna"
RESTORES = int(os.environ.get("XDNA_HARNESS_RESTORES", "10"))
PROFILES = list(Profile) if "XDNA_HARNESS_RESTORES" in os.environ else [Profile.PLAIN]
ONE = "test_e01"
NEVER_IDLE = Edit(
    f"{DRIVER}/amdxdna_pm.c", r"(\tpm_runtime_use_autosuspend\(dev\);\n)", r"\1\tpm_runtime_get_noresume(dev);\n"
)

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """The user's cache, but for saved guests and answers, which are this test's own."""
    private = Store(tmp_path / "cache" / "xdna-harness")
    private.root.mkdir(parents=True)
    for path in Store().root.iterdir():
        if path.name not in ("guests", "results"):
            (private.root / path.name).symlink_to(path)
    return private


@pytest.fixture
def guests(source: Source, store: Store) -> Guests:
    """The source's own driver, its guests not saved yet."""
    return guests_of(source, store, Profile.PLAIN)


def guests_of(source: Source, store: Store, profile: Profile) -> Guests:
    user = Store()
    module = Modules(user, Sandbox.detect(), data_folder("jobs") / "kconfig").build(
        make_tree(source, (), user), profile
    )
    return Lab.prepare(user).guests(module, Variant(profile=profile), 120.0, store)


def make(guests: Guests, folder: Path) -> None:
    guests.make_kernel(folder / "kernel")
    with guests.open(folder / "driver", Start.KERNEL) as session:
        session.load_driver(60 * guests.factor)
        assert session.settle(20 * guests.factor)
        guests.save_driver(session)


@pytest.mark.parametrize("profile", PROFILES)
def test_restores_in_a_row_each_draw_their_own_and_know_the_time(
    source: Source, store: Store, profile: Profile, tmp_path: Path
) -> None:
    guests = guests_of(source, store, profile)
    make(guests, tmp_path)
    for _ in range(RESTORES):
        with guests.open(tmp_path / "again", Start.DRIVER) as session:  # thaw() proves clock and random numbers
            assert session.release == guests.payload.module.kernel.release
            assert session.build_id == guests.payload.module.build_id
            code = "import os, time; os.open('/dev/accel/accel0', 2); print(time.time())"
            status, said = session.run(["python3", "-c", code])
            assert status == 0, said
            assert abs(float(said) - time.time()) < 30


def test_one_saved_kernel_serves_every_mode_and_npu(guests: Guests, tmp_path: Path) -> None:
    guests.make_kernel(tmp_path / "kernel")
    lab, payload = Lab.prepare(Store()), guests.payload
    for number, (mode, npu) in enumerate([(AddressMode.CARVEOUT, "npu4"), (AddressMode.FORCE_IOVA, "npu5")]):
        other = lab.guests(payload.module, Variant(npu=npu, address_mode=mode), 120.0, guests.store)
        assert other.has(Start.KERNEL)
        with other.open(tmp_path / str(number), Start.KERNEL) as session:
            assert session.load_driver(60) == payload.module.build_id


@pytest.mark.parametrize("start", [Start.KERNEL, Start.DRIVER])
@pytest.mark.parametrize("damage", ["cut", "changed", "devices", "gone"])
def test_a_damaged_state_is_noticed_and_thrown_away(guests: Guests, tmp_path: Path, start: Start, damage: str) -> None:
    folder = guests.saved[start].path
    folder.mkdir(parents=True)
    (folder / "memory").write_bytes(bytes(8192) + b"data" * 2048)
    (folder / "devices").write_bytes(b"stream")
    if damage != "gone":
        (folder / "state.json").write_text(
            '{"proofs": {"memory": {"size": 1, "data": 1, "checksum": 1},'
            ' "devices": {"size": 6, "data": 6, "checksum": 1}}}'
        )
    with pytest.raises(StateDamaged), guests.open(tmp_path / "x", start):
        pass
    assert not folder.exists()


@pytest.fixture
def kernel_guests(guests: Guests, tmp_path: Path) -> Guests:
    """The same, with the kernel's guest saved."""
    guests.make_kernel(tmp_path / "kernel")
    return guests


def stand_by(guests: Guests, folder: Path) -> Standby:
    """A guest for that folder, which has come up."""
    guests.standby = standby = Standby(guests.saved[Start.KERNEL], folder, guests.payload.module.kernel.modules[:-1])
    standby._coming.exception()
    return standby


def qemus(folder: Path) -> list[int]:
    """Those that write their console into the folder."""
    return [pid for pid, argv in processes() if f"path={folder}/console.log" in argv]


def processes() -> Iterator[tuple[int, str]]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield int(path.parent.name), path.read_bytes().replace(bytes(1), b" ").decode(errors="replace")


def test_a_guest_that_stands_by_is_taken_once_by_whom_it_is_for(kernel_guests: Guests, tmp_path: Path) -> None:
    standby, folder = stand_by(kernel_guests, tmp_path / "its"), tmp_path / "its"
    (waiting,) = qemus(folder)
    with kernel_guests.open(tmp_path / "other", Start.KERNEL) as session:
        assert session.boot.folder == tmp_path / "other"
    with kernel_guests.open(folder, Start.KERNEL) as session:
        assert qemus(folder) == [waiting]
        assert session.load_driver(60) == kernel_guests.payload.module.build_id
    assert not qemus(folder)
    with kernel_guests.open(folder, Start.KERNEL) as session:
        assert session.load_driver(60) == kernel_guests.payload.module.build_id
        assert qemus(folder) not in ([], [waiting])
    standby.close()


def test_a_guest_that_died_while_it_stood_by_is_nobodys(kernel_guests: Guests, tmp_path: Path) -> None:
    standby = stand_by(kernel_guests, tmp_path / "its")
    (waiting,) = qemus(tmp_path / "its")
    os.kill(waiting, signal.SIGKILL)
    while standby._coming.result().alive():
        time.sleep(0.05)
    with kernel_guests.open(tmp_path / "its", Start.KERNEL) as session:
        assert session.load_driver(60) == kernel_guests.payload.module.build_id


def test_a_guest_that_nobody_took_ends_with_the_run(kernel_guests: Guests, tmp_path: Path) -> None:
    standby = stand_by(kernel_guests, tmp_path / "its")
    assert qemus(tmp_path / "its")
    standby.close()
    assert not qemus(tmp_path / "its")


def test_a_state_that_cannot_stand_by_is_damaged_for_whoever_comes_next(kernel_guests: Guests, tmp_path: Path) -> None:
    saved = kernel_guests.saved[Start.KERNEL]
    os.truncate(saved.path / "memory", 1 << 20)
    stand_by(kernel_guests, tmp_path / "its")
    with pytest.raises(StateDamaged), kernel_guests.open(tmp_path / "its", Start.KERNEL):
        pass
    assert not saved.exists()


def test_a_run_takes_the_guest_that_stood_by_for_its_driver(
    job: tuple[Harness, dict[str, str]], plant: Plant, store: Store
) -> None:
    """One line that no earlier run has built, so that make runs; and its kernel is saved."""
    harness, env = job
    assert harness("run", "--kernel", KERNEL, "-k", ONE, env=env).status == 0
    new = Edit(f"{DRIVER}/amdxdna_gem.c", r"\Z", f"\nint xdna_{time.time_ns()};\n")
    ran = harness("run", plant("a new one", new), "--kernel", KERNEL, "-k", ONE, "-v", env=env)
    assert ran.status == 0, ran
    assert "takes the guest that stood by" in ran.stderr, ran


@pytest.fixture
def job(harness: Harness, store: Store) -> tuple[Harness, dict[str, str]]:
    return harness, {"XDG_CACHE_HOME": str(store.root.parent)}


def saved(store: Store) -> list[Path]:
    return sorted(path for path in (store.root / "guests").iterdir() if path.is_dir() and path.name[0] != ".")


def answers(ran: Ran) -> dict[str, str]:
    return {r["id"]: r["outcome"] for r in ran.report["lanes"]["head"]["results"] if ONE in r["id"]}


@pytest.mark.parametrize("damage", ["memory cut", "a page changed", "devices cut", "devices of another machine"])
def test_a_run_on_a_damaged_state_makes_it_anew(job: tuple[Harness, dict[str, str]], store: Store, damage: str) -> None:
    harness, env = job
    first = harness("run", "--kernel", KERNEL, "-k", ONE, env=env)
    assert first.status == 0, first
    for folder in saved(store):
        if damage == "memory cut":
            os.truncate(folder / "memory", 1 << 20)
        elif damage == "a page changed":
            with (folder / "memory").open("r+b") as stream:
                stream.seek(os.lseek(stream.fileno(), 64 << 20, os.SEEK_DATA))
                stream.write(os.urandom(64))
        elif damage == "devices cut":
            os.truncate(folder / "devices", 1000)
        else:  # whole by its papers, and yet not what this QEMU can run
            (folder / "devices").write_bytes(b"QEVM" + os.urandom(5000))
            proofs = {name: asdict(prove(folder / name)) for name in ("memory", "devices")}
            (folder / "state.json").write_text(json.dumps({"proofs": proofs, "facts": {}}))
    again = harness("run", "--kernel", KERNEL, "-k", ONE, "--fresh", env=env)
    assert again.status == 0, again
    assert answers(again) == answers(first)
    assert "made anew" in again.stdout


def test_a_full_disk_while_saving_means_cold_boots(source: Source, harness: Harness, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small disk")
    cache = tmp_path / "cache" / "xdna-harness"
    cache.mkdir(parents=True)
    for path in Store().root.iterdir():
        if path.name not in ("guests", "results"):
            (cache / path.name).symlink_to(path)
    (cache / "guests").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(cache / "guests")], check=True)
    try:
        ran = harness("run", "--kernel", KERNEL, "-k", ONE, env={"XDG_CACHE_HOME": str(cache.parent)})
    finally:
        subprocess.run(["umount", str(cache / "guests")], check=True)
    assert ran.status == 0, ran
    assert "guests start cold from now on" in ran.stdout
    assert "64 MiB are free" in ran.stdout


def test_a_driver_that_never_suspends_is_tested_all_the_same(harness: Harness, plant: Plant) -> None:
    ran = harness("run", plant("never idle", NEVER_IDLE), "--kernel", KERNEL, "-k", "test_e01 or test_e02", "--fresh")
    assert "does not suspend its idle device" in ran.stdout, ran
    assert ran.status == 0, ran


def test_a_change_of_nothing_needs_no_run(harness: Harness, plant: Plant) -> None:
    comment = Edit(f"{DRIVER}/amdxdna_gem.c", r"\Z", "/* the end */\n")
    ran = harness("run", plant("say where it ends", comment), "--kernel", KERNEL, "-k", ONE)
    assert ran.status == 0, ran
    assert "bit for bit the driver of base: not run" in ran.stdout
