# SPDX-License-Identifier: GPL-2.0-only
"""Reading a sysfs tree, and lending a device: laid out as Documentation/ABI/testing/sysfs-bus-pci says, with a kernel
that does what is written to it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness import doctor
from harness.errors import InfraError, UsageError
from harness.host import holder as holder_module
from harness.host import loan as loans_module
from harness.host.loan import Loan, Loans
from harness.host.pci import Pci, full_address
from harness.model.passthrough import VFIO, lacks
from harness.model.session import Lost, SessionLost

NPU, AUDIO, BRIDGE = "0000:c5:00.1", "0000:c5:00.0", "0000:00:08.2"


class Host:
    """A machine below ``root``: an NPU, and a neighbour in its group."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.pci = Pci(root)
        self.refuses: set[str] = set()
        for driver in ("amdxdna", "snd_hda_intel", "pcieport", VFIO):
            (root / "sys/bus/pci/drivers" / driver).mkdir(parents=True)
        (root / "sys/class/iommu/ivhd0").mkdir(parents=True)
        self.add(NPU, "0x1022", "0x17f0", "0x10", "0x118000", "amdxdna", "17")
        self.add(BRIDGE, "0x1022", "0x14eb", "0x00", "0x060400", "pcieport", "17")
        (self.pci.folder(NPU) / "reset_method").write_text("flr bus\n")
        (self.pci.folder(NPU) / "accel/accel0").mkdir(parents=True)
        for module in ("vfio_pci", "vfio_iommu_type1"):
            (root / "sys/module" / module).mkdir(parents=True)

    def add(self, address: str, vendor: str, device: str, revision: str, kind: str, driver: str, group: str) -> None:
        folder = self.pci.folder(address)
        folder.mkdir(parents=True)
        for name, text in (("vendor", vendor), ("device", device), ("revision", revision), ("class", kind)):
            (folder / name).write_text(text + "\n")
        (folder / "driver_override").write_text("(null)\n")
        members = self.root / "sys/kernel/iommu_groups" / group / "devices"
        members.mkdir(parents=True, exist_ok=True)
        (members / address).symlink_to(folder)
        (folder / "iommu_group").symlink_to(members.parent)
        if driver:
            (folder / "driver").symlink_to(self.root / "sys/bus/pci/drivers" / driver)

    def process(self, pid: int, name: str, opened: str) -> None:
        fds = self.root / "proc" / str(pid) / "fd"
        fds.mkdir(parents=True)
        (fds.parent / "comm").write_text(name + "\n")
        (fds / "3").symlink_to(opened)

    def put(self, path: Path, text: str) -> None:
        """What the kernel does with a write: drivers/pci/pci-driver.c, pci_match_device()."""
        if path.name == "unbind":
            path.parent.unlink()
        elif path.name == "driver_override":
            path.write_text(text if text.strip() else "(null)\n")
        elif path.name == "drivers_probe":
            folder = self.pci.folder(text)
            override = (folder / "driver_override").read_text().strip()
            driver = "amdxdna" if override == "(null)" else override
            if driver not in self.refuses:
                (folder / "driver").symlink_to(self.root / "sys/bus/pci/drivers" / driver)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    made = Host(tmp_path / "root")
    monkeypatch.setattr(loans_module, "_put", made.put)
    monkeypatch.setattr(loans_module, "BIND_SECONDS", 0.2)
    return made


@pytest.fixture
def loans(host: Host, tmp_path: Path) -> Loans:
    return Loans(host.pci, tmp_path / "state")


@pytest.mark.parametrize("text", ["c5:00.1", "0000:c5:00.1", "0000:C5:00.1"])
def test_an_address_may_be_written_as_lspci_does(text: str) -> None:
    assert full_address(text) == NPU


@pytest.mark.parametrize("text", ["", "c5:00", "../c5:00.1", "0000:c5:00.8", "c5:00.1\n"])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(UsageError):
        full_address(text)


def test_a_good_host_lacks_nothing(host: Host) -> None:
    now = host.pci.situation(NPU)
    assert now.function is not None
    assert (now.function.driver, now.group, now.resets, now.iommu) == ("amdxdna", "17", ("flr", "bus"), True)
    assert [member.address for member in now.members] == [BRIDGE]
    assert lacks(now, 0) == []


def test_a_device_that_is_not_there(host: Host) -> None:
    assert [lack.what for lack in lacks(host.pci.situation("0000:01:00.0"), 0)] == ["no PCI device 0000:01:00.0"]


def test_who_shares_the_group_and_who_has_it_open(host: Host) -> None:
    host.add(AUDIO, "0x1022", "0x15e3", "0x00", "0x040300", "snd_hda_intel", "17")
    host.process(314, "python3", "/dev/accel/accel0")
    host.process(315, "sh", "/dev/null")
    said = [str(lack) for lack in lacks(host.pci.situation(NPU), 0)]
    assert len(said) == 2
    assert said[0].startswith("0000:c5:00.0 (1022:15e3, snd_hda_intel) is in the same IOMMU group (17)")
    assert said[1] == "process 314 (python3) has the device open: end it"


def test_modules_that_could_be_loaded_are_there(host: Host) -> None:
    for module in ("vfio_pci", "vfio_iommu_type1"):
        (host.root / "sys/module" / module).rmdir()
    assert len(lacks(host.pci.situation(NPU), 0)) == 2
    release = host.root / "proc/sys/kernel/osrelease"
    release.parent.mkdir(parents=True)
    release.write_text("7.3.4\n")
    folder = host.root / "lib/modules/7.3.4"
    folder.mkdir(parents=True)
    (folder / "modules.dep").write_text("kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/drivers/vfio/vfio.ko.xz\n")
    (folder / "modules.builtin").write_text("kernel/drivers/vfio/vfio_iommu_type1.ko\n")
    assert lacks(host.pci.situation(NPU), 0) == []


def state(host: Host) -> tuple[str, str]:
    return host.pci.driver(NPU), (host.pci.folder(NPU) / "driver_override").read_text().strip()


def test_a_device_is_lent_and_goes_back(host: Host, loans: Loans) -> None:
    with loans.lent(NPU, "a run"):
        assert state(host) == (VFIO, VFIO)
        assert loans.path(NPU).exists()
    assert state(host) == ("amdxdna", "(null)")
    assert not loans.path(NPU).exists()


def test_one_without_a_driver_goes_back_to_none(host: Host, loans: Loans) -> None:
    (host.pci.folder(NPU) / "driver").unlink()
    with loans.lent(NPU, "a run"):
        assert host.pci.driver(NPU) == VFIO
    assert state(host) == ("", "(null)")


def test_one_that_does_not_bind_goes_back_at_once(host: Host, loans: Loans) -> None:
    host.refuses.add(VFIO)
    with pytest.raises(InfraError, match=r"vfio-pci does not take 0000:c5:00\.1"):
        loans.lend(NPU, "a run")
    assert state(host) == ("amdxdna", "(null)")
    assert not loans.path(NPU).exists()


def test_one_that_does_not_go_back_is_told_and_still_on_the_list(
    host: Host, loans: Loans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run's report is not lost over it."""
    host.refuses.add("amdxdna")
    told: list[str] = []
    with loans.lent(NPU, "a run", tell=told.append):
        pass
    (said,) = told
    assert said.startswith(f"{NPU} was not given back (amdxdna does not take")
    assert "doctor --repair" in said
    assert loans.path(NPU).exists()
    assert loans.left() == [], "we live"
    monkeypatch.setattr(loans_module, "is_gone", lambda holder: True)
    assert [loan.address for loan in loans.left()] == [NPU]


def test_what_happened_meanwhile_counts_more_than_what_does_not_go_back(host: Host, loans: Loans) -> None:
    host.refuses.add("amdxdna")
    with pytest.raises(SessionLost, match="the guest is gone"):
        with loans.lent(NPU, "a run", tell=lambda text: None):
            raise SessionLost(Lost(False, "the guest is gone", ""))


def test_what_this_process_could_not_give_back_goes_back_before_the_next_guest(host: Host, loans: Loans) -> None:
    host.refuses.add("amdxdna")
    with loans.lent(NPU, "a run", tell=lambda text: None):
        pass
    with pytest.raises(InfraError, match="amdxdna does not take") as caught:
        Loans(host.pci, loans.folder).lend(NPU, "a run")
    assert "doctor --repair" in caught.value.hint
    host.refuses.clear()
    with Loans(host.pci, loans.folder).lent(NPU, "a run"):
        assert state(host) == (VFIO, VFIO)
    assert state(host) == ("amdxdna", "(null)")


def test_one_that_neither_binds_nor_goes_back_says_the_first(host: Host, loans: Loans) -> None:
    host.refuses |= {VFIO, "amdxdna"}
    with pytest.raises(InfraError, match=r"vfio-pci does not take 0000:c5:00\.1"):
        loans.lend(NPU, "a run")
    assert loans.path(NPU).exists()


@pytest.mark.parametrize("steps", range(8))
def test_killed_at_any_step_it_is_put_right(
    host: Host, loans: Loans, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel does so many writes; then the process is gone."""

    class Killed(BaseException):
        pass

    left = [steps]

    def put(path: Path, text: str) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1
        host.put(path, text)

    monkeypatch.setattr(loans_module, "_put", put)
    try:
        with loans.lent(NPU, "a run"):
            pass
    except Killed:
        monkeypatch.setattr(loans_module, "_put", host.put)
        assert loans.left() == [], "we live"
        monkeypatch.setattr(loans_module, "is_gone", lambda holder: True)
        for old in loans.left():
            loans.give_back(old)
    assert state(host) == ("amdxdna", "(null)")
    assert not loans.path(NPU).exists()


def test_an_npu_that_was_lent_by_another_user_is_named(
    host: Host, loans: Loans, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """'sudo xdna-harness run' keeps its journal in root's folder."""
    host.add(AUDIO, "0x1022", "0x15e3", "0x00", "0x040300", VFIO, "17")
    other = Loans(host.pci, tmp_path / "another user's")
    doctor._passthrough(other, doctor._Teller(False))
    assert capsys.readouterr().out == ""
    loans.lend(NPU, "a run")
    doctor._passthrough(loans, doctor._Teller(False))
    assert capsys.readouterr().out == "", "its run lives"
    doctor._passthrough(other, doctor._Teller(False))
    said = capsys.readouterr().out
    assert said.startswith(f"!! passthrough: {NPU}, an npu4, has vfio-pci, and no loan of this user")
    assert "'xdna-harness doctor --repair' as the user who ran it" in said
    assert AUDIO not in said


def test_after_a_reboot_only_the_journal_goes(host: Host, loans: Loans) -> None:
    loans.lend(NPU, "a run")
    old = Loan.read(loans.path(NPU).read_text())
    loans._write(replace(old, holder=replace(old.holder, place="another-boot pid:[1]")))
    (host.pci.folder(NPU) / "driver").unlink()
    host.put(host.pci.folder(NPU) / "driver_override", "\n")
    host.put(host.root / "sys/bus/pci/drivers_probe", NPU)
    for left in loans.left():
        loans.give_back(left)
    assert state(host) == ("amdxdna", "(null)")
    assert loans.left() == []


def test_a_living_borrower_is_named(loans: Loans) -> None:
    loans.lend(NPU, "runs/1")
    ours = Loan.read(loans.path(NPU).read_text())
    parent = replace(ours.holder, pid=os.getppid(), started=holder_module._started(os.getppid()) or 0)
    loans._write(replace(ours, holder=parent))
    with pytest.raises(InfraError, match=rf"lent to .* process {os.getppid()}, runs/1"):
        loans.lend(NPU, "runs/2")
