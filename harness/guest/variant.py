# SPDX-License-Identifier: GPL-2.0-only
"""What this suite runs on: the only reasons for which a test may skip."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from harness.drm.device import Device

OPTIONS = Path(__file__).resolve().parents[2] / "options.json"

_GENERATIONS = {
    ("0x1502", "0x00"): "npu1",
    ("0x17f0", "0x10"): "npu4",
    ("0x17f0", "0x11"): "npu5",
    ("0x17f0", "0x20"): "npu6",
}


@dataclass(frozen=True)
class Variant:
    """``target`` is "emulated", or something else where there is no emulated NPU to ask."""

    target: str
    npu: str
    address_mode: str


def read(device: Device, path: Path = OPTIONS) -> Variant:
    """From what the host sent along (options.json); without it, what the PCI device says."""
    options: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    return Variant(
        options.get("target", "local"),
        options.get("npu") or generation(device.sys),
        options.get("mode", "sva"),
    )


def generation(sys: Path) -> str:
    """The NPU's generation by PCI device id and revision, or "unknown"."""
    names = tuple((sys / name).read_text().strip() for name in ("device", "revision"))
    return _GENERATIONS.get((names[0], names[1]), "unknown")
