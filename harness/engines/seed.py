# SPDX-License-Identifier: GPL-2.0-only
"""From which kernel that is built already can another one be made by building only what differs? Pure.

make trusts modification times and Kbuild the ``.cmd`` files beside each object, so a copy of a build folder
can go on with another tree if make sees as new every file in which the two trees may differ. What that does
not cover is built in full: when in doubt, build everything.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

MOST_CHANGED = 300
"""Each changed file is a mount of its own in the sandbox; a change larger than this is no small step
anyway."""

_CODE_SUFFIXES = (".c", ".h", ".S")
_HARMLESS_FOLDERS = (
    "drivers/accel/",
    "drivers/gpu/drm/scheduler/",
    "drivers/iommu/",
    "drivers/dma-buf/",
    "include/drm/",
    "include/uapi/drm/",
)
_PROGRAM_FOLDERS = (
    "scripts/",
    "tools/",
    "usr/",
    "certs/",
    "arch/x86/tools/",
    "arch/x86/boot/",
    "arch/x86/entry/",
)

_HEADER = re.compile(rb"/([^\s/]+\.h)(?=[ \n)])")

ABSENT = "absent"


@dataclass(frozen=True)
class Seed:
    """A built kernel: its key, and the files in which its tree differs from the source, with a hash of the
    content that they have there, :data:`ABSENT` if they are not there."""

    key: str
    touched: Mapping[str, str]

    def had(self, path: str, *, in_source: bool) -> bool:
        """Whether its tree has the file; ``in_source``: whether the source has it."""
        return self.touched[path] != ABSENT if path in self.touched else in_source


def is_document(path: str) -> bool:
    """Whether nothing in a build reads the file, as long as no file includes it. Its name alone says nothing:
    arch/x86/lib has a .txt that is compiled."""
    if path.startswith("Documentation/"):
        return not _is_makefile(path)
    return path in ("MAINTAINERS", "CREDITS")


def runs_at_build(path: str) -> bool:
    """Whether changing the file can change what make *executes*: Makefiles, Kconfig, scripts, host programs.

    The folders named above have no host programs, so their code is only ever compiled. A build folder or
    compiler cache that was made while a stranger's commands ran is not taken for anybody else's kernel.
    """
    return not is_document(path) and not (path.startswith(_HARMLESS_FOLDERS) and path.endswith(_CODE_SUFFIXES))


def is_trusted(touched: Iterable[str]) -> bool:
    """Whether a tree with these changes runs nothing at build time that the source does not run."""
    return not any(runs_at_build(path) for path in touched)


def is_doubtful(path: str) -> bool:
    """Whether a change to the file can reach objects in a way that neither times nor ``.cmd`` files show."""
    if is_document(path):
        return False
    if path.startswith(_PROGRAM_FOLDERS) or "/" not in path:
        return True
    if _is_makefile(path):
        return path.startswith(("arch/", "include/"))
    return not path.endswith(_CODE_SUFFIXES)


def _is_makefile(path: str) -> bool:
    """Whether make or kconfig reads it as its own."""
    name = PurePosixPath(path).name
    return name in ("Makefile", "Kbuild") or name.startswith("Kconfig")


def changed(seed: Seed, touched: Mapping[str, str]) -> frozenset[str]:
    """The paths in which a tree differs from the seed's tree, both made from the same source. ``touched`` is
    the tree's, as in :class:`Seed`."""
    return frozenset(path for path in (*seed.touched, *touched) if seed.touched.get(path) != touched.get(path))


def choose(seeds: Iterable[Seed], touched: Mapping[str, str]) -> Seed | None:
    """The trusted seed that leaves least to build; None when everything has to be built."""
    fit = [
        (len(differs), seed.key, seed)
        for seed in seeds
        if is_trusted(seed.touched)
        and len(differs := changed(seed, touched)) <= MOST_CHANGED
        and not any(is_doubtful(path) for path in differs)
    ]
    return min(fit, key=lambda entry: entry[:2])[2] if fit else None


def orphans(absent: Iterable[str]) -> tuple[str, ...]:
    """What to delete from the seed's build folder because its source is ``absent`` from the tree: make would
    take an object without a source for finished."""
    paths = [PurePosixPath(path) for path in absent if path.endswith((".c", ".S"))]
    return tuple(
        str(path.with_name(name))
        for path in paths
        for name in (f"{path.stem}.o", f".{path.stem}.o.cmd", f"{path.stem}.mod", f"{path.stem}.ko")
    )


def shadows(added: Iterable[str], dependencies: Iterable[bytes]) -> bool:
    """Whether a header among ``added`` has the name of one that some object was made with: the object may now
    mean the new one, and its ``.cmd`` file does not know."""
    names = [b"/" + PurePosixPath(path).name.encode() for path in added if path.endswith(".h")]
    if not names:
        return False
    return any(name + end in text for text in dependencies for name in names for end in (b" ", b"\n", b")"))


def headers(dependencies: Iterable[bytes]) -> frozenset[str]:
    """The names, without folders, of all headers that objects were made with."""
    return frozenset(name.decode(errors="replace") for text in dependencies for name in _HEADER.findall(text))


def hiding(added: Iterable[str], known: Container[str]) -> tuple[str, ...]:
    """Those among ``added`` of which :func:`shadows` holds; ``known`` are the :func:`headers`."""
    return tuple(path for path in added if path.endswith(".h") and PurePosixPath(path).name in known)


def only_lists_objects(old: str, new: str, module: str) -> bool:
    """Whether two Makefiles differ in nothing but which objects the module is linked from. make runs a Makefile: any
    other difference may make, export or leave out anything."""
    rest = []
    for text in (old, new):
        lines = text.replace("\\\n", " ").split("\n")
        rest.append([line.rstrip() for line in lines if line.strip() and not _is_list(line, module)])
    return rest[0] == rest[1]


def _is_list(line: str, module: str) -> bool:
    """A list of the module's objects, or a comment. One after a statement is none for sure: make takes ``#`` within a
    function as it stands."""
    which = rf"{re.escape(module)}-(?:y|objs|\$\(CONFIG_[A-Z0-9_]+\))"
    return bool(re.fullmatch(rf" *#.*|{which}[ \t]*[:+]?=(?:[ \t]+[\w-]+(?:/[\w-]+)*\.o)*[ \t]*", line))
