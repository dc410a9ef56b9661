# SPDX-License-Identifier: GPL-2.0-only
from __future__ import annotations

import stat
from pathlib import Path

import paramiko
import pytest

from harness.errors import UsageError
from harness.host.data import data_folder
from harness.host.disk_image import DiskRecipe, new_key
from harness.host.image import read_recipe


def test_the_recipe_in_the_project_is_in_order() -> None:
    recipe = read_recipe(data_folder("vm-images") / "lab-host" / "recipe.toml", DiskRecipe)
    assert {"openssh-server", "kexec-tools", "grub2-common", "linux-image-amd64"} <= set(recipe.packages)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [("suite = 'x'", "packages"), ("suite = 'x'\npackages = []\ndisk_mb = 1\nleave_out = []\nmore = 1", "more")],
)
def test_one_that_is_not_names_its_keys(text: str, wrong: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(UsageError, match=rf"recipe\.toml: {wrong}: ") as caught:
        read_recipe(tmp_path / "recipe.toml", DiskRecipe)
    assert "suite, packages, disk_mb, leave_out" in (caught.value.hint or "")


def test_a_key_is_its_owners(tmp_path: Path) -> None:
    public = new_key(tmp_path / "id")
    assert stat.S_IMODE((tmp_path / "id").stat().st_mode) == 0o600
    assert (tmp_path / "id.pub").read_text() == public + "\n"
    assert paramiko.Ed25519Key.from_private_key_file(str(tmp_path / "id")).get_base64() == public.split()[1]
