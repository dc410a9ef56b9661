# SPDX-License-Identifier: GPL-2.0-only
"""A switch and a console that others made: OpenIPMI's simulator of a BMC, asked by ipmitool, and labgrid's own driver.

The simulated machine is a file that holds its power, and a TCP server that is its serial port.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.errors import InfraError, UsageError
from harness.host.console import CommandConsole
from harness.host.power import IpmiPower, LabgridPower

BMC = """\
name "simulated"
set_working_mc 0x20
startlan 1
  addr 127.0.0.1 {port}
  priv_limit admin
  allowed_auths_callback none md2 md5 straight
  allowed_auths_user none md2 md5 straight
  allowed_auths_operator none md2 md5 straight
  allowed_auths_admin none md2 md5 straight
  guid a123456789abcdefa123456789abcdef
endlan
chassis_control "{chassis}"
sol "tcp:127.0.0.1:{serial}" 115200
user 1 true "" "nobody" user 10 none md2 md5 straight
user 2 true "tester" "secret" admin 10 none md2 md5 straight
"""
COMMANDS = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
mc_enable 0x20
"""
CHASSIS = """\
#!/bin/sh
for last; do :; done
case "$*" in
*get*power*) echo "power:$(cat {state})";;
*set*power*) echo $last > {state}; echo $last >> {state}.all;;
esac
"""


@dataclass(frozen=True)
class Bmc:
    """``state``: a file with 0 or 1; beside it all that it ever was."""

    power: IpmiPower
    state: Path


def free_port(kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def talk(server: socket.socket, ended: threading.Event) -> None:
    """A serial port whose machine counts, for whoever listens."""
    server.settimeout(0.2)
    while not ended.is_set():
        try:
            line, _ = server.accept()
            for number in range(10**6):
                line.sendall(b"kernel line %d\r\n" % number)
                if ended.wait(0.1):
                    break
        except OSError:
            continue


@pytest.fixture
def serial() -> Iterator[int]:
    ended = threading.Event()
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        thread = threading.Thread(target=talk, args=(server, ended))
        thread.start()
        yield int(server.getsockname()[1])
        ended.set()
        thread.join(10)


@pytest.fixture
def bmc(tmp_path: Path, serial: int) -> Iterator[Bmc]:
    if not shutil.which("ipmi_sim") or not shutil.which("ipmitool"):
        pytest.skip("no ipmi_sim (openipmi) or no ipmitool")
    state, chassis, password = (tmp_path / name for name in ("state", "chassis", "password"))
    state.write_text("0\n")
    chassis.write_text(CHASSIS.format(state=state))
    chassis.chmod(0o755)
    password.write_text("secret")
    port = free_port(socket.SOCK_DGRAM)
    (tmp_path / "lan.conf").write_text(BMC.format(port=port, chassis=chassis, serial=serial))
    (tmp_path / "commands").write_text(COMMANDS)
    argv = ["ipmi_sim", "-n", "-c", "lan.conf", "-f", "commands", "-s", str(tmp_path)]
    simulator = subprocess.Popen(argv, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    power = IpmiPower("box", "127.0.0.1", "tester", password, port=port)
    try:
        wait_until(lambda: answers(power))
        yield Bmc(power, state)
    finally:
        simulator.kill()
        simulator.wait(10)


def answers(power: IpmiPower) -> bool:
    try:
        return power.status() is not None
    except InfraError:
        return False


def wait_until(what: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "nothing came in time"
        time.sleep(0.1)


def test_a_bmc_switches(bmc: Bmc) -> None:
    assert bmc.power.status() is False
    bmc.power.cycle()
    assert bmc.power.status() is True, "what was off is on after a cycle"
    bmc.power.cycle()
    wait_until(lambda: (bmc.state.with_name("state.all").read_text().split()) == ["1", "0", "1"])
    bmc.power.off()
    assert bmc.power.status() is False
    assert bmc.state.read_text() == "0\n"


def test_a_wrong_password_is_said(bmc: Bmc, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("guess")
    with pytest.raises(InfraError, match="IPMI power on of box failed"):
        IpmiPower("box", "127.0.0.1", "tester", wrong, port=bmc.power.port).on()
    assert bmc.state.read_text() == "0\n"


def test_the_console_comes_over_the_lan(bmc: Bmc, tmp_path: Path) -> None:
    heard = CommandConsole(bmc.power.serial_over_lan(), tmp_path / "console.log")
    try:
        wait_until(lambda: "kernel line" in heard.since_mark())
        heard.mark()
        wait_until(lambda: "kernel line" in heard.since_mark())
    finally:
        heard.close()


LABGRID = """\
targets:
  main:
    drivers:
      ExternalPowerDriver:
        cmd_on: "{script} on"
        cmd_off: "{script} off"
        delay: 0.1
  bare:
    resources:
      RawSerialPort:
        port: "/dev/null"
"""


def test_a_driver_of_labgrids_switches(tmp_path: Path) -> None:
    pytest.importorskip("labgrid", reason="labgrid is not installed")
    script, environment = tmp_path / "switch", tmp_path / "env.yaml"
    script.write_text(f"#!/bin/sh\necho $1 >> {tmp_path}/calls\n[ ! -e {tmp_path}/broken ]\n")
    script.chmod(0o755)
    environment.write_text(LABGRID.format(script=script))
    power = LabgridPower("box", environment)
    power.on()
    power.cycle()
    power.off()
    assert (tmp_path / "calls").read_text().split() == ["on", "off", "on", "off"]
    (tmp_path / "broken").touch()
    with pytest.raises(InfraError, match="power on of box: labgrid says: "):
        power.on()
    with pytest.raises(UsageError, match=r"box: no power driver in .*env\.yaml"):
        LabgridPower("box", environment, "bare").on()
