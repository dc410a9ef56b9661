# SPDX-License-Identifier: GPL-2.0-only
"""Finds splats in kernel messages: pure, so it can be run again over a kept run.

A splat begins at a headline that the kernel's detectors print (sources named below, Linux 7.3) and ends at its own
end mark where it has one, else after its stack. A driver's ordinary dev_err() line begins with the driver's and
device's name and is never a headline. Nor is a stack that fault injection prints on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from harness.formats.kmsg import kernel_lines
from harness.formats.stack import fingerprint, frames_of, is_dump, is_trace
from harness.model.finding import Finding, Kind

MAX_SPLAT_LINES = 400
MAX_TITLE = 200

_CUT = re.compile(r"-+\[ cut here \]-+$")
_END = re.compile(r"---\[ end (?:trace|Kernel panic)")
_RULE = re.compile(r"={20,}$")

# kernel/locking/lockdep.c, debug_locks reports
_LOCKDEP = (
    r"WARNING: (?:possible (?:circular|recursive|irq lock inversion|bad)|\S+-safe -> \S+-unsafe lock order"
    r"|inconsistent lock state|bad unlock balance|bad contention|held lock freed|Nested lock was not taken"
    r"|lock held when returning|suspicious RCU usage|chain_key collision|\S+/\d+ still has locks held)"
    r"|\[ BUG: Invalid wait context \]|INFO: trying to register non-static key"
)
_HEADLINES: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (Kind.KASAN, r"BUG: KASAN: "),  # mm/kasan/report.c
        (Kind.KFENCE, r"BUG: KFENCE: "),  # mm/kfence/report.c
        (Kind.KCSAN, r"BUG: KCSAN: "),  # kernel/kcsan/report.c
        (Kind.UBSAN, r"UBSAN: "),  # lib/ubsan.c
        (Kind.LOCKDEP, _LOCKDEP),
        # kernel/watchdog.c, kernel/workqueue.c
        (
            Kind.LOCKUP,
            r"(?:watchdog: )?BUG: soft lockup |(?:\S+: )?.*Watchdog detected hard LOCKUP|BUG: workqueue lockup",
        ),
        (
            Kind.RCU_STALL,
            r"rcu: INFO: \S+ (?:self-detected stall|detected (?:expedited )?stalls?)",
        ),  # tree_stall.h
        (Kind.HUNG_TASK, r"INFO: task .{1,40}:\d+ blocked .*for more than \d+ seconds"),  # kernel/hung_task.c
        (Kind.SLAB, r"BUG \S+ \((?:Not tainted|Tainted)[^)]*\): "),  # mm/slub.c
        (Kind.OOPS, r"BUG: (?:kernel NULL pointer dereference|unable to handle)"),  # arch/x86/mm/fault.c
        (
            Kind.OOPS,
            r"Oops: |(?:general protection fault|invalid opcode|divide error|stack segment).*\[#\d+\]",
        ),
        (Kind.BUG, r"kernel BUG at "),  # lib/bug.c
        (Kind.BUG, r"BUG: "),
        (Kind.PANIC, r"Kernel panic - not syncing: "),  # kernel/panic.c
        (Kind.WARNING, r"WARNING: (?:CPU: \d+ PID: \d+ at |\S+:\d+ at |at )"),  # kernel/panic.c, __warn()
        (
            Kind.KMEMLEAK,
            r"kmemleak: (?:unreferenced object |\d+ new suspected memory leaks)",
        ),  # mm/kmemleak.c
        (Kind.DRM_MM, r"(?:\S+ \S+: )?\[drm:drm_mm_takedown\b.*\*ERROR\* node "),  # drivers/gpu/drm/drm_mm.c
        (Kind.IOMMU, r"(?:\S+ [0-9a-f:.]+: )?AMD-Vi: Event logged \["),  # drivers/iommu/amd/iommu.c
        (Kind.IOMMU, r"DMAR: \[(?:DMA|INTR)"),  # drivers/iommu/intel/dmar.c
        (
            Kind.DMA_API,
            r"(?:\S+ \S+: )?DMA-API: .*(?:device driver|leaked|error|out of memory)",
        ),  # kernel/dma/debug.c
    )
)
# What a WARNING is really about stands in the message of its WARN().
_SPECIAL = (
    (Kind.REFCOUNT, re.compile(r"refcount_t: ")),
    (Kind.DMA_API, re.compile(r"(?:\S+ \S+: )?DMA-API: ")),
    (Kind.DRM_MM, re.compile(r"Memory manager not clean during takedown")),
)
_ONE_LINE = (Kind.IOMMU,)
_MARKED = (Kind.KASAN, Kind.KFENCE, Kind.KCSAN)
# A headline of the second kind inside a splat of the first is the same trouble going on.
_FOLLOWS = {
    Kind.OOPS: (Kind.OOPS, Kind.BUG),
    Kind.BUG: (Kind.SLAB,),
    Kind.RCU_STALL: (Kind.RCU_STALL,),
}
_EVENT = re.compile(r"Event logged \[(\w+)")


@dataclass
class _Block:
    """A splat in the making. ``cut``: it began with the "cut here" line and ends with "end trace"."""

    kind: Kind | None
    cut: bool
    lines: list[str] = field(default_factory=list)
    title: str = ""
    traced: bool = False
    ended: bool = False


def find_splats(source: Iterable[Mapping[str, object]] | str) -> list[Finding]:
    """Findings in the order in which they came; equal ones (same fingerprint) are one with a count.

    ``source`` is a list of /dev/kmsg records or the text of a console: see :func:`harness.formats.kmsg.kernel_lines`.
    """
    found: dict[str, Finding] = {}
    for block in _blocks(kernel_lines(source)):
        finding = _finding(block)
        if finding is None:
            continue
        known = found.get(finding.fingerprint)
        found[finding.fingerprint] = replace(known, count=known.count + 1) if known else finding
    return list(found.values())


def _blocks(lines: list[str]) -> list[_Block]:
    blocks: list[_Block] = []
    block: _Block | None = None
    for line in lines:
        if block is not None and not _goes_on(block, line):
            block = None
        if block is None:
            block = _start(line, blocks)
        if block is not None:
            _take(block, line)
    return blocks


def _start(line: str, blocks: list[_Block]) -> _Block | None:
    """The block that a line begins, if any. A panic that follows a splat belongs to it."""
    kind = _kind(line)
    if kind is None and not _CUT.match(line):
        return None
    if kind is Kind.PANIC and blocks and _is_consequence(line):
        blocks[-1].ended = False
        return blocks[-1]
    blocks.append(_Block(kind, kind is None))
    return blocks[-1]


def _is_consequence(line: str) -> bool:
    """Whether a panic's reason says that something else was reported just before (callers of panic())."""
    return (
        re.search(
            r"Fatal exception|panic_on_(?:warn|oops)|softlockup|[Hh]ard LOCKUP|hung_task|RCU Stall|Fatal hardware",
            line,
        )
        is not None
    )


def _goes_on(block: _Block, line: str) -> bool:
    """Whether a line still belongs to the open block."""
    if block.ended or len(block.lines) >= MAX_SPLAT_LINES:
        return False
    if _CUT.match(line):
        return False
    kind = _kind(line)
    if kind is not None and block.kind is not None:
        if kind is Kind.PANIC:
            return _is_consequence(line)
        return block.kind in _FOLLOWS.get(kind, ()) and not (block.cut and block.traced)
    if kind is not None or block.cut or block.kind in _MARKED:
        return True
    if block.kind in _ONE_LINE:
        return False
    return not block.traced or is_dump(line)


def _take(block: _Block, line: str) -> None:
    block.lines.append(line)
    kind = _kind(line)
    if kind is not None and (block.kind is None or not block.title):
        block.kind, block.title = kind, line
    if block.kind is Kind.WARNING or (block.cut and block.kind is None):
        for special, pattern in _SPECIAL:
            if pattern.match(line):
                block.kind, block.title = special, line
    if is_trace(line):
        block.traced = True
    if _END.match(line):
        block.ended = True
    if block.kind in _MARKED and block.title and _RULE.match(line):
        block.ended = True


def _kind(line: str) -> Kind | None:
    return next((kind for kind, pattern in _HEADLINES if pattern.match(line)), None)


def _finding(block: _Block) -> Finding | None:
    lines = block.lines
    while lines and not lines[-1].strip():
        lines.pop()
    kind = block.kind or Kind.WARNING
    title = _title(block.title or next((line for line in lines if line and not _CUT.match(line)), ""))
    if not title:
        return None
    frames = frames_of(lines, kind)
    event = _EVENT.search(title)
    mark = f"{kind}:{event.group(1)}" if event else fingerprint(kind, frames, title)
    return Finding(kind, title, mark, "\n".join(lines), frames)


def _title(line: str) -> str:
    """A headline without what differs between boots: offsets, CPU, task."""
    line = re.sub(r"\+0x[0-9a-f]+/0x[0-9a-f]+", "", line)
    line = re.sub(r", CPU#\d+: .*$", "", line)
    line = re.sub(r"CPU: \d+ PID: \d+ at ", "", line)
    return line.strip()[:MAX_TITLE]
