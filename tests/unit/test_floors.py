# SPDX-License-Identifier: GPL-2.0-only
"""A floor imports only from floors below it; only host and the leaves touch the machine."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "harness"
FLOORS = {
    "model": 0,
    "formats": 1,
    "host": 2,
    "engines": 3,
    "targets": 3,
    "checks": 3,
    "reporters": 3,
    "job": 4,
    "plan": 4,
    "lane": 4,
    "starts": 4,
    "kmemleak": 4,
    "report": 4,
    "run": 4,
    "lab": 4,
    "machines": 4,
    "guests": 4,
    "saved_guest": 4,
    "standby": 4,
    "pool": 4,
    "answers": 4,
    "builds": 4,
    "intake": 4,
    "repeat": 4,
    "evidence": 4,
    "knowledge": 4,
    "presubmit": 4,
    "review": 4,
    "standing": 4,
    "cli_review": 5,
    "control": 4,
    "trial": 4,
    "prove": 4,
    "score": 4,
    "itself": 4,
    "walks": 4,
    "hunt": 4,
    "doctor": 4,
    "shell": 4,
    "runs": 4,
    "repro": 4,
    "nightly": 4,
    "matrix": 4,
    "cli": 5,
    "ending": 4,
    "cli_prove": 5,
    "cli_nightly": 5,
    "cli_self": 5,
    "cli_out": 5,
    "cli_hosts": 5,
    "cli_compare": 5,
    "compare": 4,
    "holding": 4,
    "repair": 4,
    "manpage": 4,
}
SAME_FLOOR = {
    ("job", "plan"),
    *((a, b) for a in FLOORS for b in FLOORS if FLOORS[a] == FLOORS[b] >= 4),
    *(("host", "host"),),
}
SHARED = {"errors", "log"}
LEAVES: dict[str, set[str]] = {"vfio_user": set(), "npu": {"vfio_user"}, "drm": set(), "guest": {"drm"}}
MACHINE = {"subprocess", "socket", "shutil"}


def part_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "harness"}
    return found


def complaints(path: Path, modules: set[str]) -> list[str]:
    """What is wrong about the imports of one file."""
    part = part_of(path)
    wrong = []
    for module in sorted(modules):
        top, _, rest = module.partition(".")
        other = rest.split(".")[0]
        if part in LEAVES:
            if top == "harness" and rest and other not in {part, *LEAVES[part]}:
                wrong.append(f"leaf {part} imports {module}")
            elif (
                top != "harness"
                and top not in sys.stdlib_module_names
                and not (part == "guest" and top in ("pytest", "_pytest"))
            ):
                wrong.append(f"leaf {part} imports {module}, which is not in the standard library")
            continue
        if top in MACHINE and part != "host":
            wrong.append(f"{part} imports {module}: only host touches the machine")
        if top != "harness" or not rest or other in SHARED or part in SHARED or part == "__init__":
            continue
        if other in LEAVES:
            wrong.append(f"{part} imports the leaf {module}")
        elif FLOORS[other] > FLOORS[part] or (
            FLOORS[other] == FLOORS[part] and other != part and (part, other) not in SAME_FLOOR
        ):
            wrong.append(f"{part} imports {module}, which is not below it")
    return wrong


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    assert complaints(path, imports(path)) == []


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("model/x.py", "harness.formats.mail"),
        ("formats/x.py", "subprocess"),
        ("engines/x.py", "harness.targets.emulated"),
        ("host/x.py", "harness.run"),
        ("npu/x.py", "harness.host.qmp"),
        ("drm/x.py", "pytest"),
        ("reporters/x.py", "harness.npu.heap"),
    ],
)
def test_the_rule_catches(name: str, module: str) -> None:
    assert complaints(ROOT / name, {module})
