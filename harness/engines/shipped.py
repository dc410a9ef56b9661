# SPDX-License-Identifier: GPL-2.0-only
"""Tree -> Module for a kernel that was built by its distribution: nothing is made, what is there is read."""

from __future__ import annotations

import hashlib
import json

from harness.formats.modinfo import build_id
from harness.host.shipped import RECORD
from harness.model.kernel import Kernel, Module, Profile
from harness.model.tree import Tree


def module_of(tree: Tree) -> Module:
    """The driver of an unpacked package, with its kernel."""
    folder, key = tree.path, tree.source.key
    record = json.loads((folder / RECORD).read_text())
    files = tuple(folder / "modules" / f"{name}.ko" for name in record["modules"])
    contents = [path.read_bytes() for path in files]
    kernel = Kernel(
        key=key,
        release=record["release"],
        profile=Profile.PLAIN,
        image=folder / "vmlinuz",
        modules=files,
        build=folder,
        log=folder / "make.log",
        initrd=folder / "initrd",
    )
    digest = hashlib.sha256(b"".join(contents)).hexdigest()
    return Module(key, kernel, files, build_id(contents[-1]), digest, kernel.log, "as shipped: nothing is built")
