# SPDX-License-Identifier: GPL-2.0-only
"""``jobs/nightly.toml``: a matrix of jobs, and what it may cost."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from harness.errors import UsageError
from harness.host.store import key_of
from harness.job import Job, check, read_toml

LISTS = ("edits",)
"""Keys of a job that are lists themselves."""


class Keep(BaseModel):
    """How much may lie about: run folders of so many nights and so many gigabytes, and how many gigabytes stay free on
    the cache's disk. The last night in which a job failed is kept in any case."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    nights: int = Field(default=14, ge=1)
    gigabytes: float = Field(default=10.0, gt=0)
    free_gigabytes: float = Field(default=15.0, ge=0)


class Matrix(BaseModel):
    """``hours``: no run is begun that would probably end later. ``confirm``: so often a new failure is asked again in
    fresh guests. Each ``[[matrix]]`` is a job whose values may be lists: it stands for all their combinations."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hours: float = Field(default=6.0, gt=0, le=168)
    confirm: int = Field(default=2, ge=0, le=5)
    keep: Keep = Field(default_factory=Keep)
    matrix: tuple[dict[str, Any], ...] = Field(min_length=1)


def read_matrix(path: Path) -> tuple[Matrix, list[Job]]:
    """The matrix of a file and its jobs, each once. UsageError names the block and the key that is wrong."""
    matrix = read_toml(path, Matrix)
    jobs = [job for number, block in enumerate(matrix.matrix, 1) for job in jobs_of(block, f"{path}: block {number}")]
    return matrix, list({key_of(job=job.model_dump(mode="json")): job for job in jobs}.values())


def jobs_of(block: Mapping[str, Any], where: str) -> list[Job]:
    """Every combination of a block. Nights ask anew: what an earlier one answered says nothing about flakes."""
    lists = {key: value for key, value in block.items() if isinstance(value, list) and key not in LISTS}
    empty = next((key for key, value in lists.items() if not value), None)
    if empty:
        raise UsageError(f"{where}: {empty} is an empty list", hint="name one value, or leave the key out")
    fixed = {"fresh": True, **{key: value for key, value in block.items() if key not in lists}}
    return [
        check({**fixed, **dict(zip(lists, values, strict=True))}, Job, where)
        for values in itertools.product(*lists.values())
    ]


def title(job: Job) -> str:
    """What distinguishes the job, in one line: ``debian:7.3 npu4 sva plain heap``."""
    words = [job.kernel, job.npu, job.address_mode.value, job.profile.value, job.suite]
    said = {"kernel", "npu", "address_mode", "profile", "suite", "fresh", "workers"}
    others = job.model_dump(mode="json", exclude_defaults=True, exclude=said)
    return " ".join([*words, *(f"{key}={value}" for key, value in others.items())])
