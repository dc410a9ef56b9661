# SPDX-License-Identifier: GPL-2.0-only
"""Finds splats in kernel messages: pure, so it can be run again over a kept run.

A splat begins at a headline that the kernel's detectors print (sources named below, Linux 7.3) and ends at
its own end mark where it has one, else after its stack. A driver's ordinary dev_err() line begins with the
names of the driver and the device and is never a headline. Nor is a stack that fault injection prints on
purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from harness.formats.kmsg import kernel_lines
from harness.formats.stack import MAX_FOREIGN, fingerprint, frames_of, is_dump, is_frame, is_trace
from harness.model.finding import Finding, Kind

MAX_SPLAT_LINES = 400
MAX_LOCKDEP_LINES = 200
MAX_UNTRACED_LINES = 40
MAX_TITLE = 200

_CUT = re.compile(r"-+\[ cut here \]-+$")
_END = re.compile(r"---\[ end (?:trace|Kernel panic)")
_TASK = re.compile(r"\bComm: (\S+)|, CPU#\d+: (\S+?)/\d+$", re.M)
_RULE = re.compile(r"={20,}$")
_ASKED = re.compile(r"sysrq: ")
"""What follows was asked for: stacks of tasks that are nobody's splat (drivers/tty/sysrq.c)."""

_LOCKDEP = (
    r"WARNING: (?:possible (?:circular|recursive|irq lock inversion)|\S+-safe -> \S+-unsafe lock order"
    r"|inconsistent lock state|bad unlock balance|bad contention|held lock freed|Nested lock was not taken"
    r"|lock held when returning|suspicious RCU usage|chain_key collision|.{1,40}/\d+ still has locks held)"
    r"|\[ BUG: Invalid wait context \]|INFO: trying to register non-static key"
)
_LOCKUP = r"(?:watchdog: )?BUG: soft lockup |.{0,40}Watchdog detected hard LOCKUP|BUG: workqueue lockup"
_OOPS = r"Oops: |(?:general protection fault|invalid opcode|divide error|stack segment).*\[#\d+\]"
_HEADLINES = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (Kind.KASAN, r"BUG: KASAN: "),  # mm/kasan/report.c
        (Kind.KFENCE, r"BUG: KFENCE: "),  # mm/kfence/report.c
        (Kind.KCSAN, r"BUG: KCSAN: "),  # kernel/kcsan/report.c
        (Kind.UBSAN, r"UBSAN: "),  # lib/ubsan.c
        (Kind.LOCKDEP, _LOCKDEP),  # kernel/locking/lockdep.c
        (Kind.LOCKUP, _LOCKUP),  # kernel/watchdog.c, kernel/workqueue.c
        (
            Kind.RCU_STALL,
            r"(?:rcu: )?INFO: \S+ (?:self-detected stall|detected (?:expedited )?stall)",
        ),  # kernel/rcu/tree_stall.h, tree_exp.h; tasks.h without a prefix
        (Kind.HUNG_TASK, r"INFO: task .{1,40}:\d+ blocked .*for more than \d+ seconds"),  # kernel/hung_task.c
        (Kind.SLAB, r"BUG \S+ \((?:Not tainted|Tainted)[^)]*\): "),  # mm/slub.c
        (Kind.OOPS, r"BUG: (?:kernel NULL pointer dereference|unable to handle)"),  # arch/x86/mm/fault.c
        (Kind.OOPS, _OOPS),  # arch/x86/kernel/dumpstack.c
        (Kind.BUG, r"kernel BUG at |BUG: "),  # lib/bug.c and others
        (Kind.PANIC, r"Kernel panic - not syncing: "),  # kernel/panic.c
        (Kind.WARNING, r"WARNING: (?:CPU: \d+ PID: \d+ at |\S+:\d+ at |at )"),  # kernel/panic.c, old and new
        (Kind.KMEMLEAK, r"kmemleak: (?:unreferenced object|\d+ new suspected memory leaks)"),  # mm/kmemleak.c
        (Kind.DRM_MM, r"(?:\S+ \S+: )?\[drm:[^\]]*\]\]? \*ERROR\* node \[\w+ \+ \w+\]: "),  # gpu/drm/drm_mm.c
        (Kind.IOMMU, r"(?:\S+ [0-9a-f:.]+: )?AMD-Vi: Event logged \["),  # drivers/iommu/amd/iommu.c
        (Kind.IOMMU, r"DMAR: \[(?:DMA|INTR)"),  # drivers/iommu/intel/dmar.c
    )
)
# What a WARNING is really about stands in the message of its WARN(), before or after the headline.
_SPECIAL = (
    (Kind.REFCOUNT, re.compile(r"refcount_t: ")),  # lib/refcount.c
    (Kind.DMA_API, re.compile(r"(?:\S+ \S+: )?DMA-API: ")),  # kernel/dma/debug.c
    (Kind.DRM_MM, re.compile(r"Memory manager not clean during takedown")),  # drivers/gpu/drm/drm_mm.c
)
_MARKED = (Kind.KASAN, Kind.KFENCE, Kind.KCSAN)
_EVENT = re.compile(r"Event logged \[(\w+)")
# Reasons of panic() that say that something else was reported just before.
_CONSEQUENCE = re.compile(
    r"Kernel panic - not syncing: .*"
    r"(?:Fatal exception|panic_on_|softlockup|[Hh]ard LOCKUP|hung_task|RCU Stall|fault=)"
)


@dataclass
class _Block:
    """A splat in the making. ``cut``: it began with the "cut here" line and ends with "end trace".
    ``foreign`` counts the lines of others since its last own one."""

    kind: Kind | None
    cut: bool
    lines: list[str] = field(default_factory=list)
    title: str = ""
    traced: bool = False
    ended: bool = False
    foreign: int = 0


def task_of(splat: str) -> str:
    """The name of the task that ran when a splat came, "" where it does not say (Comm: of dump_stack_print_info(), and
    __warn()'s own, Linux 7.3)."""
    found = _TASK.search(splat)
    return next(filter(None, found.groups()), "") if found else ""


def find_splats(source: Iterable[Mapping[str, object]] | str) -> list[Finding]:
    """Findings in the order in which they came; equal ones (same fingerprint) are one with a count.

    ``source`` is a list of /dev/kmsg records or the text of a console: see
    :func:`harness.formats.kmsg.kernel_lines`.
    """
    found: dict[str, Finding] = {}
    for block in _blocks(kernel_lines(source)):
        finding = _finding(block)
        if finding is None:
            continue
        known = found.get(finding.fingerprint)
        found[finding.fingerprint] = replace(known, count=known.count + 1) if known else finding
    leaks = any(f.kind is Kind.KMEMLEAK and f.frames for f in found.values())
    # With the objects at hand, the line that only counts them says nothing more.
    return [f for f in found.values() if f.frames or f.kind is not Kind.KMEMLEAK or not leaks]


def _blocks(lines: list[str]) -> list[_Block]:
    blocks: list[_Block] = []
    block: _Block | None = None
    for line in lines:
        kind = _kind(line)
        if block is not None and not _goes_on(block, line, kind):
            block = None
        if block is None:
            block = _start(line, kind, blocks)
        if block is not None and block.foreign == 0:
            _take(block, line, kind)
    return blocks


def _start(line: str, kind: Kind | None, blocks: list[_Block]) -> _Block | None:
    """The block that a line begins, if any. A panic that follows a splat belongs to it."""
    if kind is None and not _CUT.match(line):
        return None
    if blocks and _CONSEQUENCE.match(line):
        blocks[-1].ended, blocks[-1].foreign = False, 0
        return blocks[-1]
    blocks.append(_Block(kind, cut=kind is None))
    return blocks[-1]


def _goes_on(block: _Block, line: str, kind: Kind | None) -> bool:
    """Whether the block is still open at this line. Sets ``foreign`` when the line is none of its own."""
    if block.ended or len(block.lines) >= MAX_SPLAT_LINES or _CUT.match(line) or _ASKED.match(line):
        return False
    if kind is not None and block.kind is not None:
        return _continues(block, line, kind)
    if block.kind in (Kind.IOMMU, Kind.KMEMLEAK):
        return line.startswith("kmemleak: ")
    if kind is not None or block.cut or block.kind in _MARKED:
        return True
    if not block.traced:
        return len(block.lines) < (MAX_LOCKDEP_LINES if block.kind is Kind.LOCKDEP else MAX_UNTRACED_LINES)
    # After a stack without an end mark: messages of others may stand between its frames.
    own = is_frame(line) if block.foreign else is_dump(line)
    block.foreign = 0 if own else block.foreign + 1
    return block.foreign <= MAX_FOREIGN


def _continues(block: _Block, line: str, kind: Kind) -> bool:
    """Whether a headline inside a splat is the same trouble going on."""
    if kind is Kind.PANIC:
        return _CONSEQUENCE.match(line) is not None
    if kind is Kind.WARNING and block.cut and not block.traced:
        return True  # the message of its WARN() began like a headline
    return kind is Kind.OOPS and block.kind in (Kind.OOPS, Kind.BUG) and not block.traced


def _take(block: _Block, line: str, kind: Kind | None) -> None:
    block.lines.append(line)
    if kind is not None and not block.title:
        block.kind, block.title = kind, line
    block.traced = block.traced or is_trace(line)
    if _END.match(line) or (block.kind in _MARKED and _RULE.match(line)):
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
    if kind is Kind.WARNING:
        special = next(((k, line) for line in lines for k, pattern in _SPECIAL if pattern.match(line)), None)
        kind, title = (special[0], _title(special[1])) if special else (kind, title)
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
