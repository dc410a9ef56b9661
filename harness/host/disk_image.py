# SPDX-License-Identifier: GPL-2.0-only
"""A whole Debian on a disk that boots by itself, made by mmdebstrap from a recipe; no root rights, no daemon, no mount.

images/<key>/disk.img       MBR, GRUB, one ext4 partition; sparse. Never written to: machines put an overlay over it
images/<key>/id, id.pub     the key that opens its accounts: root, and dev, who may use sudo
images/<key>/host_key.pub   what its sshd says it is
"""

from __future__ import annotations

import os
import uuid
import zlib
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict

from harness.errors import InfraError
from harness.formats.acpi import ivrs_override
from harness.formats.mbr import SECTOR, boot_sectors
from harness.host import proc
from harness.host.apt import PrivateApt
from harness.host.data import data_folder
from harness.host.image import read_recipe
from harness.host.store import Store, hash_tree, key_of
from harness.log import step

LAYOUT = 2
"""Part of every key; to be raised when the code below changes what comes out."""
START = 1 << 20
"""Where the partition begins, in bytes; GRUB lies before it."""
INSTALL_SECONDS = 1800.0


class DiskRecipe(BaseModel):
    """``recipe.toml`` of a disk: packages of a suite, the disk's size in MiB, patterns of paths that dpkg leaves out.
    Beside it stand ``files`` (a tree that is there before the packages) and ``finish.sh``."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    suite: str
    packages: list[str]
    disk_mb: int
    leave_out: list[str]


def disk_image(store: Store, folder: Path | None = None) -> Path:
    """The folder of a disk (see above), made if it is not in the store; ``folder`` has the recipe (else
    vm-images/lab-host). InfraError: mirror, disk, mmdebstrap."""
    folder = folder or data_folder("vm-images") / "lab-host"
    recipe = read_recipe(folder / "recipe.toml", DiskRecipe)
    ivrs = ivrs_override()
    key = key_of(recipe=hash_tree(folder), ivrs=ivrs.hex(), layout=LAYOUT)

    def make(out: Path) -> None:
        new_key(out / "id")
        (out / "ivrs.aml").write_bytes(ivrs)
        with step("installing a Debian for the lab host"):
            _install(recipe, folder, PrivateApt(store), out)
            _boot_sectors(out)

    return store.get("images", key, make)


def new_key(private: Path) -> str:
    """Make a pair of keys: ``private``, and its public half beside it, which is also returned."""
    key = Ed25519PrivateKey.generate()
    form = serialization.PrivateFormat.OpenSSH
    with open(private, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as stream:
        stream.write(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private.with_suffix(".pub").write_bytes(public + b"\n")
    return public.decode()


def _install(recipe: DiskRecipe, folder: Path, apt: PrivateApt, out: Path) -> None:
    log = out.parent / f"{out.name}.log"
    sources, options = apt.for_others()
    hook = 'sh "$XDNA_FINISH" "$1" "$XDNA_OUT" "$XDNA_UUID" "$XDNA_BLOCKS"'
    blocks = (recipe.disk_mb << 10) - START // 1024
    argv = [
        "mmdebstrap",
        "--mode=auto",
        "--format=null",
        "--variant=minbase",
        f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={option}" for option in options),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.leave_out),
        f"--essential-hook=sync-in {folder / 'files'} /",
        f"--customize-hook={hook}",
        recipe.suite,
        "-",
        str(sources),
    ]
    env = {
        **os.environ,
        "XDNA_FINISH": str(folder / "finish.sh"),
        "XDNA_OUT": str(out),
        "XDNA_UUID": str(uuid.uuid4()),
        "XDNA_BLOCKS": f"{blocks}k",
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C.UTF-8",
    }
    proc.run(argv, what="mmdebstrap", timeout=INSTALL_SECONDS, env=env, log=log)  # a log that tells of a failure stays
    log.rename(out / "install.log")


def _boot_sectors(out: Path) -> None:
    """Put GRUB and the partition table before the file system."""
    disk = out / "disk.img"
    boot, core = (out / "boot.img").read_bytes(), (out / "core.img").read_bytes()
    try:
        head = boot_sectors(boot, core, zlib.crc32(core), START // SECTOR, (disk.stat().st_size - START) // SECTOR)
    except ValueError as error:
        raise InfraError(f"GRUB does not fit: {error}", log=out / "install.log") from error
    with disk.open("r+b") as stream:
        stream.write(head)
