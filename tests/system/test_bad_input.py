# SPDX-License-Identifier: GPL-2.0-only
"""Bad input ends soon, with two lines: what happened, and what to do."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from conftest import KERNEL, Edit, Harness, Plant, Ran, mail
from harness.model.tree import Source

HARMLESS = Edit("drivers/accel/amdxdna/amdxdna_gem.c", r"\Z", "\n/* planted */\n")


def said(ran: Ran) -> list[str]:
    """The last two lines on standard error."""
    return [line.strip() for line in ran.stderr.strip().splitlines()[-2:]]


def no_archive(port: int) -> dict[str, str]:
    """git configuration by environment: an archive on a port of this machine."""
    masks = {
        "b4.midmask": f"http://127.0.0.1:{port}/x/%s",
        "b4.searchmask": f"http://127.0.0.1:{port}/x/?x=m&q=%s",
    }
    env = {"GIT_CONFIG_COUNT": str(len(masks))}
    for number, (key, value) in enumerate(masks.items()):
        env |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return env


def test_a_damaged_mail_is_its_authors(harness: Harness, plant: Plant) -> None:
    path = plant("damaged", HARMLESS)
    text = path.read_text()
    context = next(line for line in text.splitlines() if re.match(r" \t?\w", line) and "Made" not in line)
    path.write_text(text.replace(context, context + "damaged", 1))
    ran = harness("run", path, "--kernel", KERNEL)
    assert ran.status == 1, ran
    assert "amdxdna_gem.c" in ran.stdout
    assert ran.report["regressed"] == ["stage/apply"]


def test_a_series_for_another_base_is_the_users(harness: Harness, source: Source, tmp_path: Path) -> None:
    text = mail(source, "another base", [HARMLESS])
    file = re.escape("drivers/accel/amdxdna/amdxdna_gem.c")
    text = re.sub(rf"(b/{file}\n)index \w+", r"\g<1>index 123456789012", text)
    context = next(line for line in text.splitlines() if re.match(r" \t?\w", line))
    path = tmp_path / "other.mbox"
    path.write_text(text.replace(context, context + " of another kernel", 1))
    ran = harness("run", path, "--kernel", KERNEL)
    assert ran.status == 2, ran
    assert "amdxdna_gem.c" in ran.stderr
    assert "--kernel" in ran.stderr
    assert "--base" in ran.stderr


def test_a_truncated_mbox(harness: Harness, plant: Plant) -> None:
    path = plant("truncated", HARMLESS)
    path.write_text(path.read_text()[: path.read_text().index("+/* planted")])
    ran = harness("run", path, "--kernel", KERNEL)
    assert ran.status in (1, 2), ran
    assert "planted.mbox" in ran.stdout + ran.stderr


def test_a_wrong_key_in_a_job(harness: Harness, tmp_path: Path) -> None:
    job = tmp_path / "job.toml"
    job.write_text(f'kernel = "{KERNEL}"\nadress_mode = "sva"\n')
    ran = harness("run", "--job", job)
    assert ran.status == 2, ran
    assert "adress_mode" in said(ran)[0]
    assert "address_mode" in said(ran)[1]


def test_an_unreachable_archive_is_the_labs(harness: Harness) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    ran = harness("run", "20261101-nothing-1@example.org", "--kernel", KERNEL, env=no_archive(port), timeout=300)
    assert ran.status == 3, ran
    assert len(said(ran)) == 2


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("run", "--kernel", "debian:1.2.3"), "1.2.3"),
        (("run", "--kernel", "dir:/nonexistent"), "/nonexistent"),
        (("run", "--kernel", "nonsense"), "nonsense"),
        (("run", "/nonexistent.mbox", "--kernel", KERNEL), "nonexistent"),
        (("report", "/nonexistent"), "/nonexistent"),
    ],
)
def test_what_is_not_there_is_named(harness: Harness, words: tuple[str, ...], word: str) -> None:
    ran = harness(*words, timeout=300)
    assert ran.status == 2, ran
    assert word in ran.stderr
    assert "Traceback" not in ran.stderr
