# SPDX-License-Identifier: GPL-2.0-only
"""A machine behind a real sshd that runs the right kernel already: a guest that knows nothing of the harness
(vm-images/ssh-host), with the emulated NPU on its bus. It is booted once for all tests here."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from conftest import KERNEL, Edit, Harness, Plant, Ran
from harness.errors import HarnessError
from harness.host.data import data_folder
from harness.host.database import Database
from harness.host.image import guest_image
from harness.host.leases import TABLE, URL
from harness.host.machine import Boot
from harness.host.ssh import Connection, connect
from harness.host.ssh_config import CONFIG, reach
from harness.host.store import Store
from harness.lab import Lab
from harness.model.kernel import Kernel
from harness.model.lease import SECONDS
from harness.model.variant import Variant

UP_SECONDS = 180.0
TARGET = ("--target", "ssh:testhost", "--boot", "never")
NO_SYNC = Edit(
    "drivers/accel/amdxdna/amdxdna_gem.c",
    r"int amdxdna_drm_sync_bo_ioctl\([^{]*?\)\n\{\n",
    r"\g<0>\tif (1)\n\t\treturn -EIO;\n",
)
LAST_WORDS = Edit(
    "drivers/accel/amdxdna/amdxdna_pci_drv.c",
    r"static void amdxdna_remove\([^{]*?\)\n\{\n",
    r'\g<0>\tWARN(1, "planted: gone");\n',
)

pytestmark = [pytest.mark.kernel, pytest.mark.qemu]


class LabMachine:
    """A booted guest and how to reach it."""

    def __init__(self, boot: Boot, folder: Path, port: int) -> None:
        self.boot = boot
        self.folder = folder
        self.port = port

    def config(self, known_hosts: Path, user: str = "root") -> Path:
        """An ssh configuration that calls the guest "testhost"."""
        path = self.folder / f"config-{user}-{known_hosts.name}"
        new = path.with_name(f".{path.name}.{threading.get_ident()}")
        new.write_text(
            f"Host testhost\n  HostName 127.0.0.1\n  Port {self.port}\n  User {user}\n  IdentitiesOnly yes\n"
            f"  IdentityFile {self.folder}/id\n  UserKnownHostsFile {known_hosts}\n"
        )
        return new.replace(path)  # another thread may be reading it

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def env(self, user: str = "root", known_hosts: Path | None = None) -> dict[str, str]:
        leases = {URL: str(self.folder / "leases.sqlite")}
        return {CONFIG: str(self.config(known_hosts or self.known_hosts, user)), **leases}

    def log_in(self) -> Connection:
        return connect(reach("testhost", self.env()))


def new_key(private: Path) -> str:
    """A key pair: the public half as the guest's command line takes it."""
    key = Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.OpenSSH
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    private.chmod(0o600)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return public.decode()


def wait_for(what: Callable[[], object], boot: Boot, seconds: float = UP_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert boot.alive(), boot.console()
        assert time.monotonic() < deadline, boot.console()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def machine(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabMachine]:
    folder = tmp_path_factory.mktemp("ssh-host")
    store = Store()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    plain = Lab.prepare(store).machine(kernel, Variant())
    network = ("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:22")
    device = ("-device", "virtio-net-pci,netdev=net,bus=pcie.0,addr=0xa,romfile=")
    networked = replace(
        plain,
        qemu=(*plain.qemu, *network, *device),
        root=guest_image(store, data_folder("vm-images") / "ssh-host" / "recipe.toml"),
        parameters=("xdna.key=" + new_key(folder / "id").replace(" ", ","),),
    )
    with Boot(networked, folder) as boot:
        wait_for(lambda: "Server listening on" in boot.console(), boot)
        found = re.search(r"host key: (\S+ \S+)", boot.console())
        assert found, boot.console()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {found[1]}\n")
        boot.announce_device_table()
        yield LabMachine(boot, folder, port)


def outcomes(ran: Ran, lane: str = "head") -> dict[str, str]:
    return {r["id"]: r["outcome"] for r in ran.report["lanes"][lane]["results"] if "::" in r["id"]}


def test_the_suite_runs_there_and_skips_what_needs_the_emulated_npu(harness: Harness, machine: LabMachine) -> None:
    words = (*TARGET, "-k", "e01 or e02_wrong or l01 or e23")
    ran = harness("run", "--kernel", KERNEL, *words, env=machine.env())
    assert ran.status == 0, ran
    assert ran.report["verdict"] == "GOOD"
    assert ran.report["facts"]["target"] == "testhost, reached by ssh"
    assert "qemu" not in ran.report["facts"]
    found = outcomes(ran)
    for test in ("e01", "e02", "l01"):
        assert {o for name, o in found.items() if f"_{test}_" in name} == {"PASS"}, found
    assert "SKIP" in found.values()
    assert set(found.values()) == {"PASS", "SKIP"}
    there = machine.log_in()
    assert there.run("ls -d /tmp/xdna-*", 60)[0] != 0, "the agent's folder is left behind"
    there.close()


def test_each_lane_gets_its_own_driver(harness: Harness, machine: LabMachine, plant: Plant) -> None:
    words = (*TARGET, "-k", "e01 or e31")
    ran = harness("run", plant("sync fails", NO_SYNC), "--kernel", KERNEL, *words, env=machine.env())
    assert ran.status == 1, ran
    assert ran.report["regressed"]
    assert all("e31" in test for test in ran.report["regressed"]), ran
    probed = {
        lane: [r["evidence"] for r in ran.records(lane) if r.get("id") == "stage/probe"] for lane in ("base", "head")
    }
    assert probed["base"] != probed["head"]


def test_what_a_driver_complains_of_as_it_goes_is_its_own(harness: Harness, machine: LabMachine, plant: Plant) -> None:
    """The machine lives on, and the other lane's driver comes next."""
    words = (*TARGET, "-k", "e01_", "--workers", "1")
    ran = harness("run", plant("last words", LAST_WORDS), "--kernel", KERNEL, *words, env=machine.env())
    assert ran.status == 1, ran
    assert ran.report["regressed"] == ["boot/kernel-log"], ran
    assert "planted: gone" in ran.stdout
    assert set(outcomes(ran, "base").values()) == {"PASS"}
    assert not [r for r in ran.report["lanes"]["base"]["results"] if r["findings"]], ran


def test_the_machine_answers_as_an_emulated_guest_does(harness: Harness, machine: LabMachine, tmp_path: Path) -> None:
    words = ("--kernel", KERNEL, "-k", "e01 or l01", "--boot", "never", "--times", "1", "--json")
    ran = harness("compare-npu", "emulated", "ssh:testhost", *words, "--out", tmp_path / "both", env=machine.env())
    assert ran.status == 0, ran
    found = json.loads(ran.stdout)
    assert found["differences"] == []
    assert found["asked"] >= 2
    assert found["deaf"] == []


def test_an_unknown_host_key_is_refused(harness: Harness, machine: LabMachine, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody"
    nobody.touch()
    env = machine.env(known_hosts=nobody)
    ran = harness("run", "--kernel", KERNEL, *TARGET, "-k", "e01", env=env)
    assert ran.status == 2, ran
    assert re.search(r"testhost: its host key is unknown: ssh-ed25519 SHA256:\S+", ran.stderr), ran
    assert str(nobody) in ran.stderr
    assert nobody.read_text() == "", "a refused key must not be remembered"


def test_a_changed_host_key_is_refused(harness: Harness, machine: LabMachine, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(f"[127.0.0.1]:{machine.port} {new_key(tmp_path / 'key')}\n")
    env = machine.env(known_hosts=other)
    ran = harness("run", "--kernel", KERNEL, *TARGET, "-k", "e01", env=env)
    assert ran.status == 2, ran
    assert "testhost: its host key has changed" in ran.stderr


def test_who_may_not_load_a_driver_is_told(harness: Harness, machine: LabMachine) -> None:
    ran = harness("run", "--kernel", KERNEL, *TARGET, "-k", "e01", env=machine.env("guest"))
    assert ran.status == 3, ran
    assert ran.report["verdict"] == "UNKNOWN"
    assert "lets this user load no driver" in ran.stdout


def run_and_kill(harness: Harness, machine: LabMachine, tmp_path: Path, victims: str, *words: str) -> Ran:
    """Kill processes of the lab machine by name while a test runs."""
    ended: list[Ran] = []
    words = (*TARGET, "-k", "e01 or e15_heap or l01", *words)
    run = threading.Thread(target=lambda: ended.append(harness("run", "--kernel", KERNEL, *words, env=machine.env())))
    run.start()
    there = machine.log_in()
    records = tmp_path / "run-0" / "head" / "ssh-npu4-sva-plain-cold" / "results.jsonl"
    started = re.compile(r'"event": "test-start"[^\n]*e15')
    wait_for(lambda: records.exists() and started.search(records.read_text()), machine.boot)
    with suppress(HarnessError):  # it takes our own connection too
        there.run(f"pkill -9 '{victims}'", 30)
    run.join()
    return ended[0]


def test_a_machine_that_is_taken_away_is_left_at_once(harness: Harness, machine: LabMachine, tmp_path: Path) -> None:
    """As if we had stood still, and somebody else had come. What was answered before stands; what was not says
    nothing about the driver, and the newcomer's machine is not touched. The suite goes on there until the next one
    comes, on the machine that the tests below need: without those that take the NPU along."""
    ended: list[Ran] = []
    words = ("run", "--kernel", KERNEL, *TARGET, "-k", "not test_deadlock")
    run = threading.Thread(target=lambda: ended.append(harness(*words, env=machine.env())))
    there = machine.log_in()  # not while a test counts processes: the harness takes those of this machine for its own
    run.start()
    records = tmp_path / "run-0" / "head" / "ssh-npu4-sva-plain-cold" / "results.jsonl"
    wait_for(lambda: records.exists() and '"event": "test-end"' in records.read_text(), machine.boot)
    table = Database(machine.env()[URL], (TABLE,))
    taken = "UPDATE leases SET token = token + 1, pid = 1, host = 'elsewhere', who = 'somebody', run = 'runs/other'"
    assert table.change(taken) == 1
    begun = time.monotonic()
    before = there.run("cat /var/lib/xdna-harness/fence", 30)
    run.join()
    assert time.monotonic() - begun < 2 * SECONDS, "waited for what is another's"
    (ran,) = ended
    assert ran.status == 3, ran
    assert ran.report["verdict"] == "UNKNOWN"
    assert re.search(r"the lease of 127.0.0.1:\d+ is lost: .*somebody", ran.stdout + ran.stderr), ran
    found = outcomes(ran)
    assert "PASS" in found.values()
    blamed = {test for test, outcome in found.items() if outcome not in ("PASS", "SKIP", "XFAIL", "ERROR")}
    assert blamed <= set(ran.report["known"]), "blamed on the driver"
    assert there.run("cat /var/lib/xdna-harness/fence", 30) == before
    (row,) = table.rows("SELECT who, held FROM leases")
    assert list(map(str, row)) == ["somebody", "1"], "given back what was another's"
    table.change("DELETE FROM leases")


def test_a_cut_connection_costs_nothing(harness: Harness, machine: LabMachine, tmp_path: Path) -> None:
    ran = run_and_kill(harness, machine, tmp_path, "^sshd-session")
    assert "testhost: the connection was lost" in ran.stderr
    assert ran.status == 0, ran
    assert set(outcomes(ran).values()) == {"PASS"}, ran
    assert len([e for e in ran.records("head") if e.get("event") == "boot"]) == 1, "in one session"


def test_a_machine_that_stays_away_is_no_verdict(harness: Harness, machine: LabMachine, tmp_path: Path) -> None:
    """The last one here: nobody starts sshd again."""
    ran = run_and_kill(harness, machine, tmp_path, "^sshd", "--boot-seconds", "30")
    assert ran.status == 3, ran
    assert ran.report["verdict"] == "UNKNOWN"
    assert "did not come back within 90 s" in ran.stdout
