# SPDX-License-Identifier: GPL-2.0-only
"""The guest image's recipe, its key, and what is put into its root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.formats.debian import Package
from harness.host import image
from harness.host.data import data_folder

RECIPE = 'suite = "trixie"\npackages = ["python3"]\ninit = "init.py"\ndrop = ["usr/share/doc", "usr/bin/perl*"]\n'
PACKAGES = [Package("python3", "3.13.5-1", "amd64")]


@pytest.fixture
def recipe(tmp_path: Path) -> image.Recipe:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return image.read_recipe(path, image.Recipe)


def test_the_projects_recipe_is_valid() -> None:
    recipe = image.read_recipe(data_folder("vm-images") / "guest" / "recipe.toml", image.Recipe)
    assert {"python3", "python3-pytest", "kmod"} <= set(recipe.packages)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (RECIPE + "pakages = []\n", "pakages"),
        (RECIPE.replace('["python3"]', '"python3"'), "packages"),
        ("suite = \n", "TOML"),
    ],
)
def test_a_wrong_recipe_says_where(tmp_path: Path, text: str, names: str) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(UsageError, match=names):
        image.read_recipe(tmp_path / "recipe.toml", image.Recipe)


def test_the_key_follows_all_that_matters(recipe: image.Recipe) -> None:
    key = image.image_key(recipe, "init", PACKAGES)
    assert key == image.image_key(recipe, "init", list(PACKAGES))
    others = {
        image.image_key(recipe, "another init", PACKAGES),
        image.image_key(recipe, "init", [Package("python3", "3.13.5-2", "amd64")]),
        image.image_key(recipe.model_copy(update={"drop": []}), "init", PACKAGES),
        image.image_key(recipe.model_copy(update={"suite": "forky"}), "init", PACKAGES),
    }
    assert len(others | {key}) == 5


def test_the_root_holds_no_password_and_nothing_dropped(
    recipe: image.Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "_compile", lambda root: None)
    root = tmp_path / "root"
    for name in ("usr/share/doc/x/copyright", "usr/bin/su", "etc/shadow"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("root::1:")
    (root / "usr/bin/su").chmod(0o4755)
    (root / "usr/bin/perl5").symlink_to("/nowhere")
    (tmp_path / "init.py").write_text("#!/usr/bin/python3\n")
    image.assemble(root, recipe, tmp_path / "init.py")
    assert not (root / "etc/shadow").exists()
    assert all(line.split(":")[1] == "*" for line in (root / "etc/passwd").read_text().splitlines())
    assert not (root / "usr/share/doc").exists()
    assert not os.path.lexists(root / "usr/bin/perl5")
    assert (root / "usr/bin/su").stat().st_mode & 0o7777 == 0o755
    assert (root / "init").stat().st_mode & 0o7777 == 0o755
    assert all((root / name).is_dir() for name in ("proc", "sys", "dev", "run", "tmp"))
