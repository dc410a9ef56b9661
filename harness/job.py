# SPDX-License-Identifier: GPL-2.0-only
"""What to run: one TOML per question, strict, and every default written out.

pydantic does the checking: it names the place and the kind of a mistake, and its models are typed. (msgspec is
faster, which matters for nothing here, and says less about what is wrong.)
"""

from __future__ import annotations

import difflib
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.errors import UsageError
from harness.model.edit import Edit, Edits
from harness.model.judge import ATTEMPTS
from harness.model.kernel import Profile
from harness.model.known import KnownFailure
from harness.model.planted import BugKind, Planted
from harness.model.result import Outcome
from harness.model.variant import AddressMode, Variant

Model = TypeVar("Model", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


MACHINE_SECONDS = 300.0
"""How long a machine of metal may take to boot: memory is trained for a minute before anything else happens."""

TARGET = (
    r"^(emulated|ssh:([A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9_][\w.:-]*"
    r"|passthrough:([0-9A-Fa-f]{4}:)?[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])$"
)


SOAK_SECONDS = 1200.0


class Job(_Strict):
    """One question about one series. Paths are as the user wrote them, relative to where he stands.

    ``suite``: all tests but the long ones and the enumeration, those that depend on the address mode, those with many
    repetitions, the enumeration, or a load that lasts for half of ``test_seconds`` (soak). ``quick``: only the tests
    that are marked so.
    ``per_patch``: every patch of the series is built and tested.
    ``edits``: changes by pattern on top of every lane: files, or names in patches/edits.
    ``start``: whether guests are restored from a saved one or booted. ``fresh``: ask every test, also what an earlier
    run answered. ``twins``: ask each of two drivers that are bit for bit the same.
    ``coverage``: the head lane's driver counts its lines.
    ``kmemleak``: each group of tests runs once more and looks for memory that nobody points to (debug kernel).
    ``traced``: each test's record has what the system calls answered and which messages went to firmware and back.
    ``workers``: guests at a time, 0 for as many as cores and memory allow. ``target``: emulated,
    ssh:[USER@]HOST, a machine on which the kernels are installed and booted, or passthrough:PCI-ADDRESS, this host's
    NPU in a guest; ``wait_seconds``: how long for it, while others have it; ``place``: labgrid's, acquired meanwhile.
    ``kconfig``: fragments on top of what the profile and the target ask for.
    On a machine: ``boot``: the way into a kernel once, or never: it runs the right one already. ``boot_parameters``:
    added to the kernel's command line. ``leave``: it stays in the last kernel under test.
    ``boot_seconds``: how long a kernel may take until it answers.
    """

    kernel: str = Field(min_length=1)
    series: str = ""
    base: str = ""
    base_patch: str = ""
    target: str = Field(default="emulated", pattern=TARGET)
    npu: Literal["npu1", "npu4", "npu5", "npu6"] = "npu4"
    address_mode: AddressMode = AddressMode.SVA
    profile: Profile = Profile.PLAIN
    kconfig: tuple[str, ...] = ()
    suite: Literal["heap", "mode", "stress", "enumeration", "soak"] = "heap"
    select: str = ""
    quick: bool = False
    per_patch: bool = False
    edits: tuple[str, ...] = ()
    start: Literal["restored", "cold"] = "restored"
    fresh: bool = False
    twins: bool = False
    coverage: bool = False
    kmemleak: bool = False
    traced: bool = False
    workers: int = Field(default=0, ge=0, le=64)
    attempts: int = Field(default=ATTEMPTS, ge=2, le=ATTEMPTS)
    test_seconds: float = Field(default=60.0, gt=0, le=3600)
    boot_seconds: float = Field(default=90.0, gt=0, le=3600)
    wait_seconds: float = Field(default=3600.0, ge=0)
    place: str = ""
    boot: Literal["auto", "kexec", "grub", "systemd-boot", "never"] = "auto"
    boot_parameters: str = ""
    leave: bool = False

    @model_validator(mode="after")
    def _who_can_do_that(self) -> Job:
        if self.kernel.startswith("debian-bin:") and self.kconfig:
            raise ValueError("a kernel as shipped is not built: no kconfig")
        if self.kernel.startswith("debian-bin:") and self.machine and self.boot != "never":
            raise ValueError("a kernel as shipped is not installed from here: boot it there, and say --boot never")
        if not self.machine and (self.boot != "auto" or self.boot_parameters or self.leave):
            raise ValueError("boot, boot_parameters and leave are for a target behind ssh")
        if self.kernel.startswith("debian-bin:") and (self.coverage or self.profile is not Profile.PLAIN):
            raise ValueError("a kernel as shipped is not built: neither coverage nor the debug profile")
        if self.place and not self.real:
            raise ValueError("a place of labgrid is for a target behind ssh, or passthrough")
        if self.kmemleak and self.profile is not Profile.DEBUG:
            raise ValueError("kmemleak needs the debug profile")
        return self

    @model_validator(mode="before")
    @classmethod
    def _long_enough(cls, data: Any) -> Any:
        """A load is sustained for half of what a test may take."""
        soaks = isinstance(data, dict) and data.get("suite") == "soak"
        return {"test_seconds": SOAK_SECONDS, **data} if soaks else data

    @model_validator(mode="before")
    @classmethod
    def _one_npu(cls, data: Any) -> Any:
        """A machine behind ssh and a lent NPU are not restored, and there is one of each."""
        kind = str(data.get("target", "")).partition(":")[0] if isinstance(data, dict) else ""
        if kind not in ("ssh", "passthrough"):
            return data
        if kind == "ssh" and data.get("coverage"):
            raise ValueError("coverage needs the emulated target")
        slow = {"boot_seconds": MACHINE_SECONDS} if kind == "ssh" else {}
        data = {"start": "cold", "workers": 1, **slow, **data}
        if (data["start"], data["workers"]) != ("cold", 1):
            raise ValueError(f"on the target {kind}, start is cold and workers is 1")
        if kind == "passthrough" and data.setdefault("address_mode", AddressMode.CARVEOUT) != AddressMode.CARVEOUT:
            raise ValueError(
                "with passthrough the address mode is carveout: QEMU's IOMMUs pass neither PASIDs nor v2 tables on"
            )
        return data

    @property
    def machine(self) -> str:
        """[USER@]HOST behind ssh; empty for other targets."""
        return self._named("ssh")

    @property
    def lent(self) -> str:
        """The PCI address of this host's NPU; empty for other targets."""
        return self._named("passthrough")

    @property
    def real(self) -> bool:
        """Whether the answers are those of a machine or device that we did not make."""
        return self.target != "emulated"

    def _named(self, kind: str) -> str:
        found, _, name = self.target.partition(":")
        return name if found == kind else ""

    @property
    def variant(self) -> Variant:
        target = self.target.partition(":")[0]
        return Variant(target, self.npu, self.address_mode, self.profile, self.start)


class SeriesKnowledge(_Strict):
    """``patches/<series>/series.toml``: what is known about a series. Never its code."""

    title: str
    message_ids: tuple[str, ...]
    merged_in: str
    commits: tuple[str, ...] = ()


class _EditEntry(_Strict):
    file: str = Field(min_length=1)
    function: str = Field(min_length=1)
    replace: str = Field(min_length=1)
    by: str

    @field_validator("replace")
    @classmethod
    def _is_pattern(cls, text: str) -> str:
        try:
            re.compile(text)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return text

    @field_validator("file")
    @classmethod
    def _stays_inside(cls, name: str) -> str:
        if name.startswith("/") or ".." in name.split("/"):
            raise ValueError("a path below the kernel's top folder, please")
        return name


class EditsFile(_Strict):
    """``patches/edits/*.toml``: changes of the source by pattern. Never its code."""

    title: str = Field(min_length=1)
    optional: bool = False
    edit: tuple[_EditEntry, ...] = Field(min_length=1)

    def edits(self, name: str) -> Edits:
        return Edits(name, self.title, tuple(Edit(**entry.model_dump()) for entry in self.edit), self.optional)


class PlantedFile(EditsFile):
    """``patches/planted/*.toml``: a bug on purpose, or an edit that changes nothing. It must fit the kernel."""

    optional: Literal[False] = False
    kind: BugKind
    series: bool = False
    survives: str = ""

    def bug(self, name: str) -> Planted:
        return Planted(self.kind, self.edits(name), self.series, self.survives)


class _KnownEntry(_Strict):
    reason: str = Field(min_length=1)
    kernels: tuple[str, ...] = Field(min_length=1)
    expires: date
    test: str = ""
    fingerprint: str = ""
    rate: float | None = Field(default=None, gt=0, le=1)
    says: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    findings: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    outcome: Literal[Outcome.FAIL, Outcome.LOST] = Outcome.FAIL
    variants: tuple[str, ...] = Field(default=("*",), min_length=1)


class _KnownFile(_Strict):
    known: tuple[_KnownEntry, ...] = ()


class Expectation(_Strict):
    """``patches/<series>/expect.toml``: the tests that the series turns from failing to passing."""

    fixed: tuple[str, ...]


def read_toml(path: Path, model: type[Model], **overrides: object) -> Model:
    """The file as ``model``; ``overrides`` that are not None replace its keys. UsageError names file and key."""
    try:
        return parse_toml(path.read_text(), model, str(path), **overrides)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="name an existing TOML file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", hint="mend the line that is named") from error


def parse_toml(text: str, model: type[Model], where: str, **overrides: object) -> Model:
    """The same of a text; ``where`` names it."""
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of 5000 digits, and as many brackets
        raise UsageError(f"{where} is not TOML: {error}", hint="mend the line that is named") from error
    return check({**data, **_given(overrides)}, model, where)


def _given(overrides: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in overrides.items() if value is not None}


def check(data: dict[str, object], model: type[Model], where: str) -> Model:
    """``data`` as ``model``; the first mistake becomes a UsageError in the user's words."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        # A misspelt key is also a missing one: the misspelling says more.
        first = min(error.errors(), key=lambda mistake: mistake["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            names = [str(name) for name in model.model_fields]
            near = difflib.get_close_matches(str(first["loc"][-1]), names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(names)}"
            raise UsageError(f"{where}: unknown key {key!r}", hint=hint) from error
        raise UsageError(f"{where}: {key}: {first['msg']}", hint="mend that value") from error


def read_known(path: Path) -> tuple[KnownFailure, ...]:
    """Known failures; an entry names a test or a fingerprint, not both, not none."""
    if not path.exists():
        return ()
    entries = read_toml(path, _KnownFile).known
    for entry in entries:
        if bool(entry.test) == bool(entry.fingerprint):
            raise UsageError(
                f"{path}: the entry {entry.reason!r} must name either a test or a fingerprint",
                hint="mend that entry",
            )
        if entry.says and not entry.fingerprint:
            raise UsageError(
                f"{path}: the entry {entry.reason!r} says, but names no fingerprint", hint="mend that entry"
            )
        if entry.findings and not entry.test:
            raise UsageError(
                f"{path}: the entry {entry.reason!r} has findings, but names no test", hint="mend that entry"
            )
    return tuple(KnownFailure(**entry.model_dump()) for entry in entries)


UNSAID = ("fresh", "workers", "twins", "attempts")
"""What does not change the question; of these ``run`` has no option for twins and attempts."""


def command(job: Job) -> tuple[str, ...]:
    """The words that ask this job, for somebody who has no job file. How often a doubt is asked again, and what an
    earlier run answered, is left to whom they are for."""
    words = ["xdna-harness", "run", *([job.series] if job.series else [])]
    given = job.model_dump(mode="json", exclude_defaults=True, exclude={"series", *UNSAID})
    for name, value in given.items():
        option = {"select": "-k", "edits": "--edit"}.get(name, f"--{name.replace('_', '-')}")
        values = value if isinstance(value, list) else [value]
        words += [word for one in values for word in ([option] if one is True else [option, str(one)])]
    return tuple(words)


def write_job(job: Job) -> str:
    """The job as TOML with every default written out; reading it back gives the same job."""
    return "# resolved job: 'xdna-harness run --job' on this file repeats the run\n" + tomli_w.dumps(
        job.model_dump(mode="json")
    )


def claim(job: Job, folder: Path, what: str) -> bool:
    """Make ``folder`` the home of ``job``; whether it was that already. UsageError: it holds another ``what`` ("run"),
    or something else, or can be no folder."""
    try:
        return _claim(job, folder, what)
    except OSError as error:
        raise UsageError(f"{folder} cannot be used: {error.strerror}", hint="name another --out") from error


def _claim(job: Job, folder: Path, what: str) -> bool:
    path, text = folder / "job.toml", write_job(job)
    if path.exists():
        if path.read_text() != text:
            raise UsageError(f"{folder} holds another {what}", hint="name another --out, or delete that folder")
        return True
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no {what}", hint="name another --out")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return False
