# SPDX-License-Identifier: GPL-2.0-only
"""Each misbehaviour of a lab machine (benchmarks/misbehaviour.py), played to its end without a person's help."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.misbehaviour import MISBEHAVIOURS, Misbehaviour
from harness.host.lab_host import Hardware, LabHost
from harness.host.store import Store

TIMES = 3

pytestmark = [pytest.mark.kernel, pytest.mark.qemu, pytest.mark.lab]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHost]:
    """One machine for all: what a misbehaviour leaves is the next one's to find."""
    with LabHost(Hardware.prepare(Store()), tmp_path_factory.mktemp("lab-host")) as host:
        yield host


@pytest.mark.parametrize("one", MISBEHAVIOURS, ids=lambda one: one.name)
@pytest.mark.parametrize("number", range(1, TIMES + 1))
def test_it_recovers_without_a_person(one: Misbehaviour, number: int, host: LabHost, tmp_path: Path) -> None:
    played = one.play(host, tmp_path)
    print(f"{one.about}: answers after {played.answers:.0f} s, HEALTHY after {played.healthy:.0f} s")
