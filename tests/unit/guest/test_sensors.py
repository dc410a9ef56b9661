# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from harness.guest import sensors
from harness.guest.sensors import Probe, Series, Watch


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    files = {
        "hwmon/hwmon0/name": "k10temp\n",
        "hwmon/hwmon0/temp1_input": "52125\n",
        "hwmon/hwmon0/temp1_label": "Tctl\n",
        "hwmon/hwmon1/name": "amdgpu\n",
        "hwmon/hwmon1/power1_average": "9023000\n",
        "hwmon/hwmon1/fan1_input": "1200\n",
        "powercap/intel-rapl:0/name": "package-0\n",
        "powercap/intel-rapl:0/energy_uj": "1000000\n",
        "powercap/intel-rapl:0/max_energy_range_uj": "2000000\n",
        "powercap/intel-rapl/enabled": "1\n",
    }
    for name, text in files.items():
        path = tmp_path / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_temperatures_and_powers_by_their_labels(sysfs: Path) -> None:
    found = {probe.name: (probe.read(), probe.unit) for probe in sensors.hwmon(sysfs)}
    assert found == {"k10temp Tctl": (52.125, "°C"), "amdgpu power1": (9.023, "W")}


def test_sensors_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Two disks, two sockets, and a power that is told as it is and as its average."""
    files = {
        "hwmon/hwmon0/name": "k10temp\n",
        "hwmon/hwmon0/temp1_input": "1000\n",
        "hwmon/hwmon1/name": "nvme\n",
        "hwmon/hwmon1/temp1_input": "2000\n",
        "hwmon/hwmon1/temp1_label": "Composite\n",
        "hwmon/hwmon2/name": "nvme\n",
        "hwmon/hwmon2/temp1_input": "3000\n",
        "hwmon/hwmon2/temp1_label": "Composite\n",
        "hwmon/hwmon3/name": "amdgpu\n",
        "hwmon/hwmon3/power1_input": "4000000\n",
        "hwmon/hwmon3/power1_average": "5000000\n",
        "hwmon/hwmon3/power1_label": "PPT\n",
        "powercap/intel-rapl:0:0/name": "core\n",
        "powercap/intel-rapl:1:0/name": "core\n",
    }
    for name, text in files.items():
        path = tmp_path / "class" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for socket in "01":
        for name in ("energy_uj", "max_energy_range_uj"):
            (tmp_path / f"class/powercap/intel-rapl:{socket}:0" / name).write_text("1\n")
    for disk in (0, 1):
        device = tmp_path / f"devices/nvme{disk}"
        device.mkdir(parents=True)
        (tmp_path / f"class/hwmon/hwmon{disk + 1}/device").symlink_to(device)
    found = sensors.distinct([*sensors.hwmon(tmp_path), *sensors.rapl(tmp_path)])
    assert {probe.name: probe.read() for probe in found[:5]} == {
        "k10temp temp1": 1.0,
        "nvme Composite (nvme0)": 2.0,
        "nvme Composite (nvme1)": 3.0,
        "amdgpu PPT average": 5.0,
        "amdgpu PPT": 4.0,
    }
    assert [probe.name for probe in found[5:]] == ["RAPL core (intel-rapl:0:0)", "RAPL core (intel-rapl:1:0)"]


def test_what_has_one_name_and_one_place_is_numbered() -> None:
    probes = [Probe(name, "W", lambda: 1.0, place) for name, place in [("a", "x"), ("a", "x"), ("b", ""), ("b", "")]]
    assert [probe.name for probe in sensors.distinct(probes)] == ["a (x)", "a (x) #2", "b", "b #2"]


def test_power_from_energy_that_wraps(sysfs: Path) -> None:
    (probe,) = sensors.rapl(sysfs)
    assert (probe.name, probe.unit) == ("RAPL package-0", "W")
    energy = sysfs / "class/powercap/intel-rapl:0/energy_uj"
    clock = itertools.count(0.0, 2.0)
    power = sensors._Power(energy, 2_000_000, lambda: next(clock))
    energy.write_text("1500000")
    assert power() == pytest.approx(0.25)
    energy.write_text("500000")
    assert power() == pytest.approx(0.5), "0.5 J to the end and 0.5 J from 0, in 2 s"


def test_a_sensor_that_says_nothing_is_left_out() -> None:
    def silent() -> float:
        raise OSError

    with Watch([Probe("a", "W", lambda: 2.0), Probe("b", "W", silent)], every=0.01) as watch:
        time.sleep(0.2)
    assert set(watch.thinned()) == {"a"}
    assert set(watch.series["a"].values) == {2.0}
    assert len(watch.series["a"].values) >= 3


def test_a_long_series_is_thinned_by_means() -> None:
    thin = Series("W", 1.0, [1.0, 3.0, 5.0, 7.0, 9.0]).thinned(most=3)
    assert (thin.values, thin.every) == ([2.0, 6.0, 9.0], 2.0)
    assert Series("W", 1.0, [1.0]).thinned() == Series("W", 1.0, [1.0])
