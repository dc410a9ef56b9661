# SPDX-License-Identifier: GPL-2.0-only
"""The guest's root file system, made from a recipe: the same bytes by any user (and one mkfs.erofs).

Packages are unpacked and their scripts not run. Python's modules are compiled beforehand, by the image's own
Python with the image's own libraries: under emulation that saves seconds at every start.
"""

from __future__ import annotations

import glob
import json
import os
import shutil
import stat
import tomllib
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.errors import UsageError
from harness.formats.debian import Package
from harness.host import debs, notes, proc
from harness.host.apt import PrivateApt
from harness.host.data import data_folder
from harness.host.store import Store, hash_file, key_of
from harness.log import step

LAYOUT = 1
"""Part of every key; to be raised when the code below changes what comes out."""
TIMESTAMP = 1_700_000_000
"""Seconds: every file's time, so that the image is the same however late it is made."""
UUID = "7b6c1f0e-5d0c-4c53-9f6b-786e64617872"
COMPILE_SECONDS = 300.0
MKFS_SECONDS = 120.0

# "*": no password opens these, and there is no /etc/shadow.
FILES = {
    "etc/passwd": "root:*:0:0:root:/root:/bin/bash\nnobody:*:65534:65534:nobody:/nonexistent:/bin/false\n",
    "etc/group": "root:*:0:\ntty:*:5:\nvideo:*:44:\nrender:*:992:\nnogroup:*:65534:\n",
    "etc/hostname": "guest\n",
    "etc/hosts": "127.0.0.1 localhost guest\n::1 localhost\n",
    "etc/fstab": "",
}
FOLDERS = ("dev", "proc", "sys", "run", "tmp", "root", "mnt", "var/tmp")
_PYTHON_FOLDERS = ("usr/lib/python3.*", "usr/lib/python3/dist-packages")
_LIBRARIES = ("usr/lib/x86_64-linux-gnu", "usr/lib")


Shape = TypeVar("Shape", bound=BaseModel)


class Recipe(BaseModel):
    """``recipe.toml``: ``packages`` are apt's words (names or patterns), ``drop`` patterns of paths in the
    image, ``init`` the file beside the recipe that becomes /init."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    suite: str
    packages: list[str]
    init: str
    drop: list[str]


def read_recipe(path: Path, shape: type[Shape]) -> Shape:
    """The recipe in a TOML file, of an image or a disk; UsageError names the key that is wrong."""
    try:
        return shape.model_validate(tomllib.loads(path.read_text()))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", hint="mend it") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        known = ", ".join(shape.model_fields)
        raise UsageError(f"{path}: {where}: {first['msg']}", hint=f"its keys are {known}") from error


def guest_image(store: Store, recipe_path: Path | None = None) -> Path:
    """The EROFS file made from a recipe (vm-images/guest unless another is given), made if it is not in the
    store. Beside it stands packages.json: what is in it.

    Which versions the packages have is found out once and then kept until the store is cleaned, so neither a
    network nor the index is needed again. InfraError: mirror, disk, mkfs.erofs.
    """
    path = recipe_path or data_folder("vm-images") / "guest" / "recipe.toml"
    recipe = read_recipe(path, Recipe)
    init = path.parent / recipe.init
    if not init.is_file():
        raise UsageError(f"the guest's bootstrap {init} is missing", hint=f"{path} names it")
    apt = PrivateApt(store)
    packages = _packages(recipe, apt, store)
    key = image_key(recipe, hash_file(init), packages)

    def make(folder: Path) -> None:
        with step("making the guest image"):
            root = folder / "root"
            debs.unpack(apt.download_all(packages, "downloading the guest's packages"), root)
            assemble(root, recipe, init)
            _mkfs(root, folder / "root.erofs")
            shutil.rmtree(root)
        (folder / "packages.json").write_text(json.dumps([asdict(package) for package in packages], indent=1))

    return store.get("images", key, make) / "root.erofs"


def image_key(recipe: Recipe, init_digest: str, packages: Iterable[Package]) -> str:
    """The key of an image: all that its content comes from."""
    files = [package.file for package in packages]
    return key_of(recipe=recipe.model_dump(), init=init_digest, packages=files, layout=LAYOUT)


def assemble(root: Path, recipe: Recipe, init: Path) -> None:
    """Make a root file system of unpacked packages: our files, /init, compiled Python, and no more."""
    for pattern in recipe.drop:
        for path in (root / name for name in glob.glob(pattern, root_dir=root)):  # also finds broken links
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        (root / name).write_text(text)
    for secret in ("etc/shadow", "etc/gshadow"):
        (root / secret).unlink(missing_ok=True)
    shutil.copyfile(init, root / "init")
    (root / "init").chmod(0o755)
    _compile(root)
    _same_modes(root)


def _packages(recipe: Recipe, apt: PrivateApt, store: Store) -> list[Package]:
    """The recipe's packages in the versions that were chosen the first time."""
    note = store.path("images", f"packages-{key_of(suite=recipe.suite, packages=recipe.packages)}.json")
    if known := notes.read_json(note):
        return [Package(**item) for item in known]
    packages = apt.resolve(recipe.packages, recipe.suite)
    note.parent.mkdir(parents=True, exist_ok=True)
    notes.write(note, json.dumps([asdict(package) for package in packages]))
    return packages


def _compile(root: Path) -> None:
    """Compile all modules; the compiled files are believed without a look at the source's time."""
    libraries = ":".join(str(root / folder) for folder in _LIBRARIES)
    loader = root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    python = [str(loader), "--library-path", libraries, str(root / "usr/bin/python3")]
    folders = [str(path) for pattern in _PYTHON_FOLDERS for path in sorted(root.glob(pattern))]
    argv = [*python, "-B", "-s", "-S", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    env = {"PYTHONHOME": str(root / "usr"), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "PATH": os.defpath}
    proc.run(
        [*argv, "-s", str(root), "-p", "/", *folders],
        what="compiling the image's Python modules",
        timeout=COMPILE_SECONDS,
        env=env,
    )


def _same_modes(root: Path) -> None:
    """Take away what depends on who unpacked it: set-user-id bits (root may keep them), the umask."""
    for place, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            mode = os.lstat(path).st_mode
            if not stat.S_ISLNK(mode):
                runs = stat.S_ISDIR(mode) or mode & stat.S_IXUSR
                os.chmod(path, 0o755 if runs else 0o644)


def _mkfs(root: Path, image: Path) -> None:
    argv = [
        "mkfs.erofs",
        "--quiet",
        f"-T{TIMESTAMP}",
        "-U",
        UUID,
        "--all-root",
        "-x-1",
        str(image),
        str(root),
    ]
    proc.run(argv, what="making the EROFS image", timeout=MKFS_SECONDS)
