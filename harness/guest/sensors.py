# SPDX-License-Identifier: GPL-2.0-only
"""Power and temperature of the machine, as far as it tells: hwmon, RAPL, and the driver's own.

Documentation/hwmon/sysfs-interface.rst, Documentation/power/powercap/powercap.rst; the driver's: GET_INFO, sensors.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.drm.client import Client
from harness.drm.structs import Info, Sensor

POINTS = 240
"""As many points of a series are kept: a plot has no more room."""
DRIVER_SENSORS = 64
CELSIUS, WATT = "°C", "W"
_HWMON = {"temp": (CELSIUS, 1e-3, ("input",)), "power": (WATT, 1e-6, ("input", "average"))}
_POWER = 0  # AMDXDNA_SENSOR_TYPE_POWER


@dataclass(frozen=True)
class Probe:
    """One sensor. ``read`` raises OSError or ValueError when it has nothing to say. ``place``: the device that it is a
    part of."""

    name: str
    unit: str
    read: Callable[[], float]
    place: str = ""


@dataclass
class Series:
    """What a sensor said, every ``every`` seconds."""

    unit: str
    every: float
    values: list[float] = field(default_factory=list)

    def thinned(self, most: int = POINTS) -> Series:
        """At most so many values: each the mean of as many neighbours."""
        step = -(-len(self.values) // most) or 1
        parts = [self.values[at : at + step] for at in range(0, len(self.values), step)]
        return Series(self.unit, self.every * step, [round(sum(part) / len(part), 3) for part in parts])


def distinct(probes: Iterable[Probe]) -> list[Probe]:
    """A name for each: those that several have (two disks, two sockets) get their place, and a number if that does not
    tell them apart."""
    probes = list(probes)
    shared = Counter(probe.name for probe in probes)
    named = [f"{p.name} ({p.place})" if shared[p.name] > 1 and p.place else p.name for p in probes]
    found: list[Probe] = []
    for at, (probe, name) in enumerate(zip(probes, named, strict=True)):
        number = named[:at].count(name) + 1
        found.append(replace(probe, name=name if number == 1 else f"{name} #{number}"))
    return found


def hwmon(sysfs: Path = Path("/sys")) -> Iterator[Probe]:
    """Temperatures and powers of every chip."""
    for chip in sorted((sysfs / "class/hwmon").glob("hwmon*")):
        with suppress(OSError):
            name = chip.joinpath("name").read_text().strip()
            device = chip / "device"
            place = device.resolve().name if device.exists() else chip.name
            for kind, (unit, factor, endings) in _HWMON.items():
                paths = sorted(path for ending in endings for path in chip.glob(f"{kind}*_{ending}"))
                for path in paths:
                    yield Probe(f"{name} {_label(path)}", unit, _scaled(path, factor), place)


def _label(path: Path) -> str:
    """A channel's own label, or its name; which of its values it is, where it has both."""
    channel, _, value = path.name.partition("_")
    both = value == "average" and path.with_name(f"{channel}_input").exists()
    label = channel
    with suppress(OSError):
        label = path.with_name(f"{channel}_label").read_text().strip()
    return f"{label} average" if both else label


def _scaled(path: Path, factor: float) -> Callable[[], float]:
    return lambda: int(path.read_text()) * factor


def rapl(sysfs: Path = Path("/sys")) -> Iterator[Probe]:
    """The power of each domain, from its energy counter."""
    for domain in sorted((sysfs / "class/powercap").glob("*-rapl:*")):
        with suppress(OSError, ValueError):
            name = domain.joinpath("name").read_text().strip()
            wraps = int(domain.joinpath("max_energy_range_uj").read_text())
            yield Probe(f"RAPL {name}", WATT, _Power(domain / "energy_uj", wraps), domain.name)


class _Power:
    """Energy since the last look, over the time since then."""

    def __init__(self, path: Path, wraps: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._wraps = wraps
        self._clock = clock
        self._last = self._look()

    def _look(self) -> tuple[int, float]:
        return int(self._path.read_text()), self._clock()

    def __call__(self) -> float:
        (before, since), (now, at) = self._last, self._look()
        self._last = now, at
        used = now - before if now >= before else now + self._wraps - before
        return used * 1e-6 / max(at - since, 1e-3)


def driver(client: Client) -> Iterator[Probe]:
    """The NPU's power, as the driver asks the platform for it; none where that does not tell (EOPNOTSUPP)."""

    def ask() -> list[Sensor]:
        data = client.get_info(Info.SENSORS, Sensor.SIZE * DRIVER_SENSORS)
        return [Sensor.from_buffer_copy(data, at) for at in range(0, len(data) - Sensor.SIZE + 1, Sensor.SIZE)]

    with suppress(OSError):
        for number, sensor in enumerate(ask()):
            if sensor.type == _POWER and sensor.label:
                name = sensor.label.decode(errors="replace")
                yield Probe(f"NPU {name}", WATT, lambda n=number: ask()[n].scaled)  # type: ignore[misc]


class Watch:
    """Reads sensors in a thread while the body runs. ``series`` by name; what a sensor could not say is left out."""

    def __init__(self, probes: list[Probe], every: float = 1.0) -> None:
        self._probes = probes
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.series: dict[str, Series] = {}

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            for probe in self._probes:
                with suppress(OSError, ValueError, IndexError):
                    found = self.series.setdefault(probe.name, Series(probe.unit, self._every))
                    found.values.append(probe.read())

    def thinned(self) -> Mapping[str, Series]:
        return {name: series.thinned() for name, series in self.series.items() if series.values}
