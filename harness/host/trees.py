# SPDX-License-Identifier: GPL-2.0-only
"""Patched source trees: what the patches change, as hard links to the pristine source with the patches applied on top.
A patch that adds, removes or renames has all files beside it, too; so has who asks for a :func:`complete` tree.

Two keys, because two things are asked. *Where is the tree* is known before anything is applied: source and
diffs, byte for byte. Not patch-ids: these ignore white space, also inside strings and in Makefiles, so two
patches that make different kernels can share one. *What is in it* is known afterwards: the source's key and
the content of each file that came out differently. That one is ``Tree.key``, on which kernels depend, so the
same content is built once however it came about, and a series that undoes the base patch leads back to the
source.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness.errors import HarnessError, InfraError, UsageError
from harness.host import edits as editing
from harness.host import git, notes, proc
from harness.host.sandbox import SOURCE, Bind
from harness.host.store import Store, key_of
from harness.model.edit import Edits
from harness.model.series import Patch
from harness.model.tree import Source, Tree

RECIPE = 3  # count up when the layout of an entry changes
COPY_SECONDS = 600.0
ABSENT = "absent"


def make_tree(source: Source, layers: Sequence[Patch], store: Store, edits: Sequence[Edits] = ()) -> Tree:
    """The source with ``layers`` applied in this order, and ``edits`` on top; without any the source itself.

    Lanes with the same layers and edits share the entry. Raises what :func:`harness.host.git.apply` and
    :func:`harness.host.edits.make` raise.
    """
    if source.shipped and (layers or edits):
        raise UsageError(
            f"{source.spec} is a kernel as shipped: no patch and no edit can be applied to it",
            hint=f"use its source, {source.spec.replace('debian-bin:', 'debian:')}",
        )
    if not layers and not edits:
        return Tree(content_key(source, {}), source.path, source)
    diffs = [hashlib.sha256(git.diff_of(layer.mail)).hexdigest() for layer in layers]
    on_top = [asdict(edit) for edit in edits]
    where = key_of(recipe=RECIPE, source=source.key, layers=diffs, **({"edits": on_top} if on_top else {}))
    entry, made = store.record("trees", where, "tree.json", lambda folder: _fill(folder, source, layers, edits))
    return Tree(made["key"], entry / "tree", source, frozenset(made["touched"]), made["whole"])


def complete(tree: Tree, store: Store) -> Tree:
    """The same tree with all its files in one folder: for what cannot look in two."""
    if tree.whole:
        return tree

    def fill(folder: Path) -> None:
        _link(tree.source.path, folder / "tree")
        for name in tree.touched:
            (folder / "tree" / name).unlink()
            os.link(tree.path / name, folder / "tree" / name)

    entry = store.get("trees", key_of(recipe=RECIPE, complete=tree.key), fill)
    return Tree(tree.key, entry / "tree", tree.source, tree.touched)


def shown(tree: Tree) -> tuple[Path, tuple[Bind, ...]]:
    """The folder that a sandbox shows as the tree's source, and the files that must cover its own."""
    if tree.whole:
        return tree.path, ()
    return tree.source.path, tuple(Bind(tree.path / name, f"{SOURCE}/{name}") for name in sorted(tree.touched))


def content_key(source: Source, changed: dict[str, str]) -> str:
    """The key of a tree by what is in it: ``changed`` has the :func:`fingerprint` of each file that
    differs."""
    return key_of(source=source.key, changed=sorted(changed.items()))


def fingerprint(path: Path) -> str:
    """What git would keep of a file: content, and whether it can be executed; ``absent`` without one, also where a
    folder has its name, or where no disk takes that."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ABSENT
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return ABSENT
        raise
    if stat.S_ISDIR(mode):
        return ABSENT
    data = os.fsencode(os.readlink(path)) if stat.S_ISLNK(mode) else path.read_bytes()
    kind = "link" if stat.S_ISLNK(mode) else "program" if mode & stat.S_IXUSR else "file"
    return f"{kind} {hashlib.sha256(data).hexdigest()}"


def fingerprints(tree: Tree) -> dict[str, str]:
    """The :func:`fingerprint` of each file in which the tree differs from its source."""
    return {name: fingerprint(tree.path / name) for name in sorted(tree.touched)}


def _fill(folder: Path, source: Source, layers: Sequence[Patch], edits: Sequence[Edits]) -> None:
    tree = folder / "tree"
    touched = _changed_alone(tree, source, layers, edits)
    whole = touched is None
    if touched is None:
        _link(source.path, tree)
        touched = _change(tree, layers, edits)
    after = {name: fingerprint(tree / name) for name in touched}
    changed = {name: print_ for name, print_ in after.items() if print_ != fingerprint(source.path / name)}
    record = {"key": content_key(source, changed), "touched": sorted(changed), "whole": whole}
    notes.settle(tree / name for name in changed if changed[name] != ABSENT)
    notes.write(folder / "tree.json", json.dumps(record))


def _change(tree: Path, layers: Sequence[Patch], edits: Sequence[Edits]) -> set[str]:
    touched: set[str] = set()
    for number, layer in enumerate(layers, 1):
        touched |= git.apply(tree, layer, f"patch {number} of {len(layers)}")
    for edit in edits:
        touched |= editing.make(tree, edit)
    return touched


def _changed_alone(tree: Path, source: Source, layers: Sequence[Patch], edits: Sequence[Edits]) -> set[str] | None:
    """Change only the files that are named, without the others: what was touched. None, and nothing in ``tree``: this
    is not enough, since a file comes, goes or is no plain one; or it does not fit, which all the files say better."""
    try:
        names = {name for layer in layers for name in git.named(layer)} | {e.file for each in edits for e in each.edits}
        if not all(editing.is_plain(source.path, name) for name in names):
            return None
        for name in names:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(source.path / name, tree / name)
        touched = _change(tree, layers, edits)
        if touched <= names and all(editing.is_plain(tree, name) for name in names):
            return touched
    except (HarnessError, OSError):
        pass
    if tree.exists():
        proc.run(["rm", "-rf", "--", tree], what="removing half a tree", timeout=COPY_SECONDS)
    return None


def _link(source: Path, tree: Path) -> None:
    """Copy folders, and hard-link files: 2 to 10 s for the 96 000 files of a kernel. Files are copied where
    links are impossible: the source on another file system, or a user who may not link what is not theirs."""
    try:
        proc.run(
            ["cp", "-a", "--link", "--", source, tree],
            what=f"linking the tree {source}",
            timeout=COPY_SECONDS,
        )
    except proc.CommandFailed as failed:
        text = failed.done.stderr
        if "Invalid cross-device link" not in text and "Operation not permitted" not in text:
            raise InfraError(f"cannot copy {source}: {failed.message}", hint="is the disk full?") from failed
        proc.run(["rm", "-rf", "--", tree], what="removing half a tree", timeout=COPY_SECONDS)
        proc.run(["cp", "-a", "--", source, tree], what=f"copying the tree {source}", timeout=COPY_SECONDS)
