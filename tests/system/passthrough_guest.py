# SPDX-License-Identifier: GPL-2.0-only
"""What test_passthrough.py runs on a lab host, as a harness there would: ``lend ADDRESS SECONDS``, ``repair``, or
``guest ADDRESS FOLDER`` with guest.json beside it (where kernel, driver, image and QEMU are)."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent


def lend(address: str, seconds: str) -> None:
    from harness.host.loan import Loans

    loans = Loans()
    print("before", loans.pci.driver(address), flush=True)
    with loans.lent(address, "a test"):
        print("lent", loans.pci.driver(address), flush=True)
        time.sleep(float(seconds))
    print("after", loans.pci.driver(address), flush=True)


def repair() -> None:
    from harness.host.loan import Loans

    loans = Loans()
    for loan in loans.left():
        print("gives back", loan.address, flush=True)
        loans.give_back(loan)


def guest(address: str, folder: str) -> None:
    """A guest of this host's, with its NPU: e01 of the suite."""
    from harness.host import machine, vm
    from harness.host.payload import Payload
    from harness.model.kernel import Kernel, Module, Profile
    from harness.model.session import Start, SuiteRequest
    from harness.model.variant import AddressMode, Variant
    from harness.targets.passthrough import PassthroughGuests

    machine.CONNECT_SECONDS, vm.CPUS, vm.MEMORY_MB[Profile.PLAIN] = 300.0, 1, 1536
    told = json.loads((HERE / "guest.json").read_text())
    variant = Variant("passthrough", "npu4", AddressMode.CARVEOUT)
    kernel = Kernel("", told["release"], Profile.PLAIN, Path(told["image"]), (), Path(), Path())
    module = Module("", kernel, tuple(map(Path, told["files"])), told["build_id"], "", Path())
    box = vm.Machine(
        tuple(told["qemu"]),
        ("-accel", "kvm", "-cpu", "host,-hypervisor,-la57"),
        kernel.image,
        Path(told["initrd"]),
        Path(told["root"]),
        variant,
        vm.Sockets(Path("/SOCKETS")),
        lent=address,
    )
    payload = Payload(module, HERE / "harness", HERE / "tests/target", variant)
    with PassthroughGuests(box, payload, "a test", 1200.0, lambda: None).open(Path(folder), Start.COLD) as session:
        print("release", session.release, flush=True)
        print("driver", session.load_driver(600), flush=True)
        print("node", *session.run(["ls", "/dev/accel"], 300), flush=True)
        for event in session.suite(SuiteRequest("heap", None, "e01", limit=600.0)):
            if event.get("event") == "test-end":
                print("test", event["outcome"], event["id"], event.get("text", ""), flush=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["lend", address, seconds]:
            lend(address, seconds)
        case ["repair"]:
            repair()
        case ["guest", address, folder]:
            guest(address, folder)
