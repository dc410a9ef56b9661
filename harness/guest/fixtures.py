# SPDX-License-Identifier: GPL-2.0-only
"""What tests in tests/target ask for, and the marks that decide where they run.

A plain pytest on a machine with an NPU may use them too: ``pytest -p harness.guest.fixtures tests/target``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict

import pytest

from harness.drm.client import Client
from harness.drm.device import Device
from harness.drm.heap import Heap
from harness.guest import sensors, spoiled
from harness.guest import variant as variants
from harness.guest.npu import Npu
from harness.guest.port import Link
from harness.guest.scenario import Scenario
from harness.guest.sensors import Watch
from harness.guest.spoiled import WAYS, Message, Sweep
from harness.guest.variant import Variant

MARKS = (
    "modes(*names): runs in these address modes only (sva, force-iova, carveout)",
    "generations(*names): runs on these NPU generations only",
    "quick: in the quick set, which takes 25 seconds in all on the plain kernel under emulation",
    "fw: needs answers of firmware after probe",
    "mode: what it finds depends on the address mode; the suite of this name runs in every mode",
    "stress: many repetitions, threads or processes; the suite of this name runs them all",
    "long: too long for the default suite, which leaves it out; mark it stress as well",
    "leaves(counter, count): what stays behind and is not the driver's: so much more of a counter is no leak",
    "spoils: when it fails, the device is of no use to other tests: the rest of them gets a fresh guest",
    "root: needs more than an open file: sysfs, debugfs, modules",
    "soak: loads the NPU for as long as it may, while power and temperature are recorded; a suite of its own",
    "enumeration: makes every allocation or message fail, one after the other; a suite of its own",
    "hunt: does a script that the host sends; a suite of its own",
)
LINK = pytest.StashKey[Link]()
VARIANT = pytest.StashKey[Variant]()
LIMIT = pytest.StashKey[float]()
"""How long a test may take, in seconds."""
SERIES = pytest.StashKey[dict[str, dict[str, object]]]()
"""What sensors said while a test ran."""

Opener = Callable[[], Client]


def pytest_configure(config: pytest.Config) -> None:
    for mark in MARKS:
        config.addinivalue_line("markers", mark)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip by address mode and generation. Nothing else may skip, but a missing emulated NPU."""
    if not any(item.iter_markers("modes")) and not any(item.iter_markers("generations")):
        return
    here = _variant(item.config)
    for mark in item.iter_markers("modes"):
        if here.address_mode not in mark.args:
            pytest.skip(f"address mode {here.address_mode}: only {', '.join(mark.args)}")
    for mark in item.iter_markers("generations"):
        if here.npu not in mark.args:
            pytest.skip(f"{here.npu}: only {', '.join(mark.args)}")


def _variant(config: pytest.Config) -> Variant:
    if VARIANT not in config.stash:
        config.stash[VARIANT] = variants.read(Device.find())
    return config.stash[VARIANT]


@pytest.fixture(scope="session")
def device() -> Device:
    """The NPU in sysfs."""
    return Device.find()


@pytest.fixture(scope="session")
def variant(request: pytest.FixtureRequest) -> Variant:
    """Target, generation and address mode."""
    return _variant(request.config)


@pytest.fixture
def open_client(device: Device) -> Iterator[Opener]:
    """Opens the device as often as it is called; all files are closed afterwards."""
    clients: list[Client] = []

    def open_one() -> Client:
        clients.append(Client.open(device.node))
        return clients[-1]

    yield open_one
    for client in reversed(clients):
        client.close()


@pytest.fixture
def client(open_client: Opener) -> Client:
    """An open file of the device."""
    return open_client()


@pytest.fixture
def heap(open_client: Opener) -> Iterator[Heap]:
    """An empty heap on a client of its own (``heap.client``)."""
    heap = Heap(open_client())
    yield heap
    heap.client.close()
    heap.release()


@pytest.fixture
def npu(request: pytest.FixtureRequest) -> Iterator[Npu]:
    """The emulated NPU, answering as firmware would; skips where there is none."""
    link = request.config.stash.get(LINK, None)
    if link is None or _variant(request.config).target != "emulated":
        pytest.skip("needs the emulated NPU")
    npu = Npu(link.ask)
    npu.reset()
    yield npu
    npu.reset()


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Callable[[str, float, str], None]:
    """``measure(name, value, unit)`` adds a number to the test's result."""

    def add(name: str, value: float, unit: str) -> None:
        request.node.user_properties.append((name, {"value": value, "unit": unit}))

    return add


@pytest.fixture
def sustained(request: pytest.FixtureRequest) -> float:
    """For how many seconds a load is sustained: half of what the test may take."""
    return request.config.stash.get(LIMIT, 60.0) / 2


@pytest.fixture
def watch(request: pytest.FixtureRequest, client: Client) -> Iterator[Watch]:
    """Reads the machine's sensors, and the driver's own, until the test ends; their series go into its result."""
    probes = sensors.distinct([*sensors.hwmon(), *sensors.rapl(), *sensors.driver(client)])
    with Watch(probes) as watching:
        yield watching
    request.node.stash[SERIES] = {name: asdict(series) for name, series in watching.thinned().items()}


@pytest.fixture
def spoil(device: Device, npu: Npu, measure: Callable[[str, float, str], None]) -> Iterator[Callable[..., None]]:
    """Firmware's answers in a scenario go wrong in one way (:data:`harness.guest.spoiled.WAYS`), one after the other.

    ``known``: places that are not asked; ``only``: those that alone are. ``part`` of ``parts``: see :class:`Sweep`.
    """

    def run(
        kind: type[Scenario],
        name: str,
        known: Collection[str] = (),
        only: Collection[str] = (),
        part: int = 0,
        parts: int = 1,
    ) -> None:
        way = WAYS[name]

        def wanted(message: Message) -> bool:
            where = spoiled.place(message, way)
            return where in only if only else where not in known

        sweep = Sweep(device, npu, kind, way)
        sweep.run(wanted, part, parts)
        spoiled.report(sweep, measure)

    yield run
    npu.reset()
    device.suspend()
