# SPDX-License-Identifier: GPL-2.0-only
"""What a tree's changes reach: the driver alone, or more, by what Kbuild wrote when it built the kernel of the source.

modules/<key>/reach.json     a kernel's dependencies, once per kernel
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from harness.engines import seed as seeds
from harness.engines.kbuild import DRIVER
from harness.engines.make import DRIVER_FOLDER as FOLDER
from harness.formats import kbuild_deps
from harness.host import buildfolder
from harness.host.sandbox import SOURCE, Sandbox
from harness.host.store import Store, key_of
from harness.model.kernel import Kernel
from harness.model.tree import Tree

RECIPE = 2
"""Count up when reach.json has other things in it."""
MAKEFILE = f"{FOLDER}/Makefile"
FIRST_WITH_MO = (6, 13)
"""The first kernel whose make takes MO=, the folder of an outside module's objects."""


class NotBuilt(Exception):
    """Something would have to be made."""


def never_alone(tree: Tree, sandbox: Sandbox) -> str:
    """Why no driver of this source is built without its kernel; empty if it may be."""
    if not sandbox.isolated:
        return "not sandboxed"
    return "" if _version(tree.source.version) >= FIRST_WITH_MO else "make takes no MO= before 6.13"


def reach_of(tree: Tree, kernel: Kernel, store: Store, *, make: bool) -> kbuild_deps.Reach:
    """What the tree's changes reach, judged by ``kernel``, its source's. :class:`NotBuilt` if that kernel's
    dependencies were never read and must not be now."""
    changed = {path: (tree.source.path / path).exists() for path in tree.touched if not seeds.is_document(path)}
    if not changed:
        return kbuild_deps.Reach()
    key = key_of(recipe=RECIPE, reach=kernel.key)
    if not make and not store.has("modules", key):
        raise NotBuilt
    entry = store.get("modules", key, lambda folder: _write_index(kernel, folder))
    known = json.loads((entry / "reach.json").read_text())
    found = kbuild_deps.reach(changed, known["reached"], MAKEFILE)
    if not found.doubt and MAKEFILE in changed and not _lists_objects(tree):
        return kbuild_deps.Reach(doubt=f"{MAKEFILE} changes more than the list of its objects")
    added = [path for path, in_source in changed.items() if not in_source]
    if not found.doubt and (hiding := seeds.hiding(added, frozenset(known["headers"]))):
        return kbuild_deps.Reach(doubt=f"{listed(hiding)} may hide another header")
    return found


def _write_index(kernel: Kernel, folder: Path) -> None:
    """Who was made from what in this kernel; read once from some 70 MB of dependency files, then kept."""
    mod = buildfolder.text_of(kernel.build, f"{FOLDER}/{DRIVER}.mod")
    ours = kbuild_deps.objects_of(mod) | {f"{FOLDER}/{DRIVER}.{end}" for end in ("o", "ko", "mod", "mod.o")}
    files = list(buildfolder.named_dependency_files(kernel.build))
    reached = kbuild_deps.index(files, frozenset(ours), SOURCE)
    headers = sorted(seeds.headers(text for _, text in files))
    (folder / "reach.json").write_text(json.dumps({"reached": reached, "headers": headers}))


def _lists_objects(tree: Tree) -> bool:
    """Whether the tree changes nothing in the driver's Makefile but the list of its objects."""
    old, new = tree.source.path / MAKEFILE, tree.file(MAKEFILE)
    if new.is_symlink() or not (old.is_file() and new.is_file()):
        return False
    return seeds.only_lists_objects(old.read_text(errors="replace"), new.read_text(errors="replace"), DRIVER)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few, without the driver's folder."""
    short = [name.removeprefix(f"{FOLDER}/") for name in names[:most]]
    return ", ".join(short) + (f" and {len(names) - most} more" if len(names) > most else "")
