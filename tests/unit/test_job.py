# SPDX-License-Identifier: GPL-2.0-only
"""Jobs are strict, and say what is wrong in the user's words."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from harness.cli import cli
from harness.errors import UsageError
from harness.job import UNSAID, Job, PlantedFile, check, claim, command, read_known, read_toml, write_job
from harness.model.kernel import Profile
from harness.model.known import hide
from harness.model.planted import BugKind
from harness.model.result import Outcome, Result
from harness.model.variant import AddressMode


def written(folder: Path, text: str) -> Path:
    path = folder / "job.toml"
    path.write_text(text)
    return path


def test_unknown_key_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        read_toml(written(tmp_path, 'kernal = "debian:7.3"\n'), Job)
    assert "'kernal'" in raised.value.message
    assert raised.value.hint == "did you mean 'kernel'?"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('kernel = "x"\nnpu = "npu9"\n', "npu"),
        ("kernel = 3\n", "kernel"),
        ('kernel = "x"\nattempts = 1\n', "attempts"),
        ("kernel = \n", "not TOML"),
        (f"kernel = {'[' * 5000}\n", "not TOML"),
        (f"kernel = 'x'\nworkers = {'1' * 5001}\n", "not TOML"),
        ('series = "x"\n', "kernel"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word) as raised:
        read_toml(written(tmp_path, text), Job)
    assert len(raised.value.lines()) == 2


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_toml(tmp_path / "none.toml", Job)


def test_a_written_job_reads_back_with_every_default(tmp_path: Path) -> None:
    job = check({"kernel": 'dir:/a "b"\\c', "select": "e03 or\n\x1b[31m"}, Job, "here")
    assert read_toml(written(tmp_path, write_job(job)), Job) == job
    assert "test_seconds = 60.0" in write_job(job)


def test_options_replace_keys_only_where_given(tmp_path: Path) -> None:
    path = written(tmp_path, 'kernel = "debian:7.3"\nnpu = "npu1"\n')
    job = read_toml(path, Job, npu=None, kernel="debian:7.2")
    assert (job.kernel, job.npu) == ("debian:7.2", "npu1")


KNOWN = """
[[known]]
test = "test_x.py::test_a"
kernels = ["7.3.*"]
reason = "posted fix"
expires = 2027-01-01
"""


def test_known_failure_hides_only_what_it_names(tmp_path: Path) -> None:
    entries = read_known(written(tmp_path, KNOWN))
    bad, other = Result("test_x.py::test_a", Outcome.FAIL), Result("test_x.py::test_b", Outcome.FAIL)
    today = date(2026, 12, 1)
    assert hide(bad, entries).result.outcome is Outcome.PASS
    assert hide(bad, entries).known == ("posted fix",)
    assert hide(other, entries).result.outcome is Outcome.FAIL
    assert entries[0].covers("7.3.4", "emulated-npu4-sva-plain-restored", today)
    assert not entries[0].covers("7.2.1", "emulated-npu4-sva-plain-restored", today)
    assert not entries[0].covers("7.3.4", "emulated-npu4-sva-plain-restored", date(2027, 1, 2))


def test_known_entry_must_name_one_thing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="either a test or a fingerprint"):
        read_known(written(tmp_path, KNOWN.replace("test =", 'fingerprint = "x"\ntest =')))


def test_a_known_failure_that_says_must_name_a_fingerprint(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="names no fingerprint"):
        read_known(written(tmp_path, KNOWN.replace("test =", 'says = ["x"]\ntest =')))


def test_findings_of_a_known_failure_belong_to_a_test(tmp_path: Path) -> None:
    found = read_known(written(tmp_path, KNOWN + 'findings = ["LEAK:shmem"]\n'))
    assert found[0].findings == ("LEAK:shmem",)
    with pytest.raises(UsageError, match="names no test"):
        read_known(written(tmp_path, KNOWN.replace("test =", "fingerprint =") + 'findings = ["LEAK:shmem"]\n'))


def test_kmemleak_needs_the_kernel_that_has_it() -> None:
    with pytest.raises(ValueError, match="needs the debug profile"):
        Job(kernel="debian:7.3", kmemleak=True)
    assert Job(kernel="debian:7.3", profile=Profile.DEBUG, kmemleak=True).kmemleak


PLANTED = """
title = "the heap is put twice"
kind = "extra-put"
series = true
[[edit]]
file = "drivers/accel/amdxdna/amdxdna_gem.c"
function = "f"
replace = "x"
by = "y"
"""


def test_a_planted_bug_is_an_edit_of_a_kind(tmp_path: Path) -> None:
    bug = read_toml(written(tmp_path, PLANTED), PlantedFile).bug("heap-put-twice")
    assert (bug.id, bug.kind, bug.series, bug.survives) == ("heap-put-twice", BugKind.EXTRA_PUT, True, "")
    assert bug.edits.edits[0].by == "y"


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [("extra-put", "extra", "kind"), ("series", "serie", "did you mean 'series'"), ("series", "optional", "optional")],
)
def test_a_planted_bug_must_fit_and_be_of_a_kind_that_is_known(tmp_path: Path, old: str, new: str, word: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_toml(written(tmp_path, PLANTED.replace(old, new, 1)), PlantedFile)
    assert word in " ".join(raised.value.lines())


def test_a_lent_npu_is_booted_cold_one_at_a_time_from_its_carveout() -> None:
    job = check({"kernel": "debian:7.3", "target": "passthrough:c5:00.1"}, Job, "x")
    assert (job.start, job.workers, job.address_mode, job.lent) == ("cold", 1, AddressMode.CARVEOUT, "c5:00.1")
    assert job.variant.name == "passthrough-npu4-carveout-plain-cold"
    for wrong in ({"workers": 2}, {"start": "restored"}, {"address_mode": "sva"}):
        with pytest.raises(UsageError):
            check({"kernel": "debian:7.3", "target": "passthrough:c5:00.1", **wrong}, Job, "x")


@pytest.mark.parametrize("place", ["file", "file/run"])
def test_a_run_folder_that_can_be_none(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used: Not a directory"):
        claim(Job(kernel="x"), tmp_path / place, "run")


EVERYTHING: dict[str, object] = {
    "kernel": "x", "series": "y", "base": "b", "base_patch": "p", "npu": "npu1", "address_mode": "carveout",
    "profile": "debug", "kconfig": ["one", "two"], "suite": "stress", "select": "e01", "quick": True, "per_patch": True,
    "edits": ["e", "f"], "start": "cold", "fresh": True, "twins": True, "coverage": True, "kmemleak": True,
    "traced": True, "workers": 2, "attempts": 3, "test_seconds": 7.0, "boot_seconds": 8.0,
}  # fmt: skip
ON_A_MACHINE: dict[str, object] = {
    "kernel": "x", "target": "ssh:host", "wait_seconds": 9.0, "place": "p", "boot": "grub", "boot_parameters": "a b",
    "leave": True,
}  # fmt: skip


@pytest.mark.parametrize("data", [EVERYTHING, ON_A_MACHINE], ids=["emulated", "machine"])
def test_the_command_of_a_job_has_words_that_run_has(data: dict[str, object]) -> None:
    words = list(command(check(data, Job, "here"))[2:])
    asked = cli.commands["run"].make_context("run", words).params
    given = {key: value for key, value in asked.items() if value is not None and key in Job.model_fields}
    said = {key: value for key, value in data.items() if key not in UNSAID}
    assert check(given, Job, "command line") == check(said, Job, "here")


def test_every_key_of_a_job_is_in_a_command_or_known_not_to_be() -> None:
    assert Job.model_fields.keys() == EVERYTHING.keys() | ON_A_MACHINE.keys()
