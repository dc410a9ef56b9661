# SPDX-License-Identifier: GPL-2.0-only
"""The same suite on two NPUs: asking both, or reading what was asked of them, and what each test was told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import InfraError, UsageError
from harness.formats import mailbox_trace
from harness.formats.events import load_events
from harness.formats.records import fold
from harness.job import Job, check, read_toml
from harness.log import say
from harness.model.told import Comparison, Told, answers, compare, skipped, tests, unanswered
from harness.model.variant import AddressMode
from harness.plan import HEAD

NPUS = ("npu1", "npu4", "npu5", "npu6")
Ask = Callable[[Job, Path], object]
Sides = tuple[Job | Path, Job | Path]
LENT = "passthrough:"
TAKEN_OVER = {"npu", "address_mode", "suite", "select", "quick"}
"""Of a run that is there already: how the other side is asked, if nobody says otherwise."""
WHAT_IS_ASKED = (
    *("kernel", "series", "base_patch", "edits", "kconfig", "profile"),
    *("npu", "address_mode", "suite", "select", "quick"),
)
"""All of a job that can change an answer, but for the target."""


def sides(texts: tuple[str, str], asked: Mapping[str, Any]) -> Sides:
    """What a person named. What he did not say is as on the side that is fixed: a run's folder, or a device that is
    lent. UsageError: it is none, or cannot be asked that."""
    first, second = map(_fixed, texts)
    one = side(texts[0], {**_of(texts[0], second), **first, **asked})
    return one, side(texts[1], {**_of(texts[1], first), **second, **asked})


def _of(text: str, other: Mapping[str, Any]) -> dict[str, Any]:
    """What a side can take over: a machine has no memory for a carveout."""
    none = {"address_mode": AddressMode.CARVEOUT} if text.startswith("ssh:") else {}
    return {key: value for key, value in other.items() if none.get(key) != value}


def _fixed(text: str) -> dict[str, Any]:
    """In which way this side is asked, and no other can be."""
    path = Path(text) / "job.toml"
    if path.is_file():
        return read_toml(path, Job).model_dump(include=TAKEN_OVER)
    return {"address_mode": AddressMode.CARVEOUT} if text.startswith(LENT) else {}


def side(text: str, asked: Mapping[str, Any]) -> Job | Path:
    """A run folder, a target, or emulated:NPU. UsageError: none of these."""
    folder = Path(text)
    if (folder / "job.toml").is_file():
        if not read_toml(folder / "job.toml", Job).traced:
            raise UsageError(f"the run in {folder} was not traced", hint="make it with compare-npu, or run --traced")
        return folder
    kind, _, npu = text.partition(":")
    if kind == "emulated" and npu in NPUS:
        text, asked = kind, {**asked, "npu": npu}
    if kind != "ssh":
        asked = {key: value for key, value in asked.items() if key != "boot"}
    try:
        return check({**asked, "target": text, "traced": True, "fresh": True}, Job, text)
    except UsageError as error:
        hint = (
            f"emulated, emulated:NPU ({', '.join(NPUS)}), ssh:HOST, passthrough:PCI-ADDRESS, or a traced run's folder"
        )
        raise UsageError(error.message, hint=f"{error.hint}; a target is {hint}") from error


def unlike(both: Sides) -> tuple[str, ...]:
    """In what the two are not asked the same, each with both words for it: it can be why they differ."""
    jobs = [read_toml(one / "job.toml", Job) if isinstance(one, Path) else one for one in both]
    first, second = (job.model_dump(mode="json") for job in jobs)
    return tuple(
        f"{name}: {_words(first[name])} | {_words(second[name])}"
        for name in WHAT_IS_ASKED
        if first[name] != second[name]
    )


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "none" if isinstance(value, list) else str(value) or "none"


def ask(both: Sides, times: int, out: Path, run: Ask) -> tuple[list[Path], list[Path]]:
    """The run folders of both sides, asked ``times`` each where they are not runs already."""
    folders: tuple[list[Path], list[Path]] = ([], [])
    for name, one, found in zip("ab", both, folders, strict=True):
        if isinstance(one, Path):
            found.append(one)
            continue
        for number in range(1, times + 1):
            found.append(out / f"{name}-{number}")
            say(f"{name}: {one.target}, {one.npu}, time {number} of {times}")
            run(one, found[-1])
    return folders


def compared(
    folders: tuple[list[Path], list[Path]], names: tuple[str, str], otherwise: tuple[str, ...] = ()
) -> Comparison:
    """Read the runs, which were asked ``otherwise`` in that. InfraError: a side has not answered a single test."""
    first, second = ([read(folder) for folder in of_side] for of_side in folders)
    named = tuple(zip(names, (first, second), folders, strict=True))
    for name, told, of_side in named:
        if not any(answers(test, told) for test in tests(told, ())):
            raise InfraError(
                f"{name} has not answered a single test", hint=f"'xdna-harness report {of_side[0]}' says why"
            )
    both = [test for test in tests(first, second) if answers(test, first) and answers(test, second)]
    deaf = tuple(f"{name}: {why}" for name, _, of_side in named for why in sorted(_deaf(of_side)))
    once = tuple(row for name, told, _ in named for row in _once(name, [len(answers(test, told)) for test in both]))
    missing = tuple(unanswered(first, second, names))
    left_out = tuple(skipped(first, second, names))
    return Comparison(names, len(both), tuple(compare(first, second)), deaf, missing, once, otherwise, left_out)


def _once(name: str, times: Sequence[int]) -> Iterator[str]:
    """Whom nobody has seen repeat himself, by how often he has answered each test."""
    if count := times.count(1):
        yield f"{name} has answered {'each' if count == len(times) else f'{count} tests'} only once"


def read(folder: Path) -> dict[str, Told]:
    """What each test of a run's head lane was told in its first attempt; where the lab spoiled that, when it was asked
    once more."""
    events = _events(folder)
    ends = {str(e["id"]): e for e in events if e.get("event") == "test-end" and e.get("attempt") == 1}
    return {
        result.id: Told(
            result.outcome,
            tuple((str(name), int(answer)) for name, answer in ends.get(result.id, {}).get("calls") or ()),
            mailbox_trace.messages(map(str, ends[result.id]["mailbox"]))
            if "mailbox" in ends.get(result.id, {})
            else None,
            result.evidence,
        )
        for result in fold(events).results
        if "::" in result.id and result.attempt == 1
    }


def _deaf(folders: Sequence[Path]) -> set[str]:
    return {str(event["deaf"]) for folder in folders for event in _events(folder) if event.get("deaf")}


def _events(folder: Path) -> list[dict[str, Any]]:
    return [event for path in sorted((folder / HEAD).glob("*/results.jsonl")) for event in load_events(path)]
