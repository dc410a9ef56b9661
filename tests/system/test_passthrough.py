# SPDX-License-Identifier: GPL-2.0-only
"""A lab host of QEMU lends its devices to vfio-pci, is killed meanwhile, and starts a guest of its own whose unmodified
driver probes the NPU: silicon, host and guest are three levels of emulation here."""

from __future__ import annotations

import importlib.util
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.engines.module import Modules
from harness.host import lab_host
from harness.host.data import data_folder
from harness.host.lab_host import Hardware, LabHost
from harness.host.sandbox import Sandbox
from harness.host.ssh import Connection
from harness.host.store import Store
from harness.host.trees import make_tree
from harness.lab import Lab
from harness.model.kernel import Profile
from harness.model.passthrough import VFIO
from harness.model.tree import Source
from harness.model.variant import AddressMode, Variant

RNG, NPU = "0000:00:09.0", "0000:00:05.0"
HOME = "/opt/harness"
PURE = ("rich", "markdown_it", "mdurl", "pygments", "qemu")
"""What harness/host needs of others for this; all without a line of C, so that another Python runs it too."""
UP_SECONDS = 600.0
GUEST_SECONDS = 2400.0

pytestmark = [pytest.mark.kernel, pytest.mark.qemu, pytest.mark.lab]


def packages() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in PURE:
            spec = importlib.util.find_spec(name)
            assert spec is not None
            for place in spec.submodule_search_locations or ():
                tar.add(place, name)
        tar.add(data_folder("harness"), "harness")
        tar.add(data_folder("tests/target"), "tests/target")
        tar.add(Path(__file__).with_name("passthrough_guest.py"), "passthrough_guest.py")
    return buffer.getvalue()


class LendingHost:
    def __init__(self, host: LabHost) -> None:
        self.host = host

    def log_in(self) -> Connection:
        return self.host.log_in(UP_SECONDS)

    def run(self, script: str, seconds: float = 300, stdin: bytes = b"") -> tuple[int, str]:
        there = self.log_in()
        try:
            return there.run(script, seconds, stdin)
        finally:
            there.close()

    def does(self, words: str, seconds: float = 300) -> tuple[int, str]:
        return self.run(f"cd {HOME} && exec python3 -s passthrough_guest.py {words}", seconds)

    def driver(self, address: str) -> str:
        return self.run(f"basename $(readlink /sys/bus/pci/devices/{address}/driver)")[1].strip()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LendingHost]:
    before = lab_host.MEMORY
    lab_host.MEMORY = "5G"  # the guest's memory is locked in it
    try:
        folder = tmp_path_factory.mktemp("lending-host")
        with LabHost(Hardware.prepare(Store()), folder, Variant(address_mode=AddressMode.CARVEOUT)) as machine:
            made = LendingHost(machine)
            assert made.run(f"mkdir -p {HOME} && tar -xf - -C {HOME}", 300, packages())[0] == 0
            yield made
    finally:
        lab_host.MEMORY = before


def test_a_device_goes_to_vfio_and_back(host: LendingHost) -> None:
    status, said = host.does(f"lend {RNG} 0.1")
    assert said.splitlines() == ["before virtio-pci", f"lent {VFIO}", "after virtio-pci"], said
    assert status == 0


def test_after_kill_9_it_is_given_back(host: LendingHost) -> None:
    script = (
        f"cd {HOME}; python3 -s passthrough_guest.py lend {RNG} 600 >lent & p=$!; "
        "for i in $(seq 120); do grep -q ^lent lent && break; sleep 1; done; kill -9 $p"
    )
    host.run(script)
    assert host.driver(RNG) == VFIO
    assert host.does("repair") == (0, f"gives back {RNG}\n")
    assert host.driver(RNG) == "virtio-pci"
    assert host.does("repair") == (0, "")


def test_a_guest_of_the_host_probes_the_npu(host: LendingHost, source: Source) -> None:
    """Under the KVM of a host that is emulated itself."""
    store = Store()
    built = Modules(store, Sandbox.detect(), data_folder("jobs") / "kconfig")
    module = built.build(make_tree(source, (), store), Profile.PLAIN)
    lab = Lab.prepare(store)
    files = [module.kernel.image, *module.files, lab.root, lab.initrd]
    told = {
        "image": str(module.kernel.image),
        "release": module.kernel.release,
        "files": [str(path) for path in module.files],
        "build_id": module.build_id,
        "root": str(lab.root),
        "initrd": str(lab.initrd),
        "qemu": lab.qemu.argv,
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in (*files, *_prefix(lab.qemu.argv)):
            tar.add(path)
    assert host.run("tar -xf - -C /", 900, buffer.getvalue())[0] == 0
    assert host.run(f"cat > {HOME}/guest.json", 60, json.dumps(told).encode())[0] == 0
    assert host.run("modprobe kvm_amd && test -e /dev/kvm")[0] == 0, "no other test wants it: udev may not load it"
    status, said = host.does(f"guest {NPU} {HOME}/guest", GUEST_SECONDS)
    rows = said.splitlines()
    assert f"release {module.kernel.release}" in rows, said + host.run(f"tail -n 60 {HOME}/guest/console.log")[1]
    assert f"driver {module.build_id}" in rows, said
    assert any(row.startswith("node 0 accel0") for row in rows), said
    tests = [row for row in rows if row.startswith("test ")]
    assert tests
    assert all(row.startswith("test pass ") for row in tests), said
    assert status == 0
    assert host.driver(NPU) != VFIO


def _prefix(argv: tuple[str, ...]) -> list[Path]:
    """The folder of a QEMU that brought its own libraries."""
    root = next((Path(word) for word in argv if word.endswith("/usr/bin/qemu-system-x86_64")), None)
    if root is None or root == Path("/usr/bin/qemu-system-x86_64"):
        pytest.skip("the host's own QEMU would need its libraries along")
    return [root.parents[2]]
