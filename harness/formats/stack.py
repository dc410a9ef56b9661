# SPDX-License-Identifier: GPL-2.0-only
"""Function names of a kernel stack dump (x86), and the fingerprint made of them.

The forms are those of arch/x86/kernel/dumpstack.c, lib/dump_stack.c and kernel/panic.c of Linux 7.3:
``RIP: 0010:aie2_map_host_buf+0x1a/0x60 [amdxdna]`` and, below ``Call Trace:``, ``<TASK>`` and indented
frames, a ``?`` before those that the unwinder does not believe.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.model.finding import Kind

FINGERPRINT_FRAMES = 5
MAX_FOREIGN = 3
"""So many messages of others may stand between two frames of a stack."""

_SYMBOL = r"([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[([\w-]+)[^\]]*\])?"
_FRAME = re.compile(rf"(?:kmemleak: )?\s*(\? )?{_SYMBOL}\s*$")
_AT = re.compile(rf"RIP: [0-9a-f]{{4}}:{_SYMBOL}")
_SECTION = re.compile(r"\s*<(/?)([A-Z][A-Z0-9_#]*)>\s*$")
# dump_stack(), kmemleak's objects (mm/kmemleak.c), drm_mm's leaked nodes (drivers/gpu/drm/drm_mm.c)
_TRACE = re.compile(r"(?:Call Trace:|.*\bbacktrace(?: \(crc [0-9a-f]+\))?:|.*\]: inserted at)\s*$")
_REGISTERS = r"R[A-D]X: |R[SBI]P: |R[SD]I: |R(?:0?[89]|1[0-5]): |[FCD]S: |CR\d: |DR\d: |PKRU: |EFLAGS|ORIG_RAX"
_AROUND = (
    r"Code: |CPU: |Tainted: |Hardware name: |Workqueue: |Modules linked in: |Call Trace:|irq event stamp"
    r"|hardirqs last |softirqs last |NMI backtrace for |Sending NMI |Kernel Offset|\[last unloaded"
    r"|task:|Stopper: "
    r"|---\[ end |rcu: |kmemleak:  |FIX \S+: |$"
)
_DUMP = re.compile(rf"(?:\s|{_REGISTERS}|{_AROUND})")

# Frames of the detectors themselves and of the trap entry: the same in every report of a kind.
_REPORTERS = re.compile(
    r"(?:_*dump_stack\w*|show_(?:stack|regs|trace)\w*|print_report|_*k?asan_\w+|_*ubsan_\w+"
    r"|_*kfence_\w+|_*kcsan_\w+"
    r"|_*tsan_\w+|_*warn(?:_\w+)?|_*report_bug\w*|handle_bug|_*exc_\w+|asm_\w+|refcount_warn_saturate"
    r"|_*die(?:_\w+)?|page_fault_oops|_*bad_area\w*|kernelmode_fixup_or_oops|do_user_addr_fault|do_error_trap"
    r"|v?panic|oops_end|do_trap|_*might_(?:resched|sleep|fault)\w*|_*schedule_bug"
    r"|print_(?:circular|deadlock|usage|irq|lock|bad|unlock|freed|held)\w*|validate_chain"
    r"|_*lock_(?:acquire|release)"
    r"|check_(?:noncircular|prevs?_add|irq_usage|deadlock|unmap|sync)|mark_(?:lock|usage"
    r"|held_locks)\w*|lockdep_\w+"
    r"|debug_check_no_locks_\w+|debug_dma_\w+|err_printk|_*k[mz]alloc\w*|_*kvmalloc\w*|_*kmem_cache_alloc\w*"
    r"|_*list_(?:add|del)_(?:valid|entry_valid)\w*|watchdog_\w+|_*sysvec_\w+|rcu_sched_clock_irq"
    r"|print_cpu_stall\w*"
    r"|object_err|slab_(?:err|bug)|check_bytes_and_report|check_object|free_debug_processing|on_freelist"
    r"|(?:set_track|save_stack|kmemleak_alloc|stack_(?:trace|depot)_)\w*)$"
)
_HANGS = (Kind.LOCKUP, Kind.RCU_STALL, Kind.HUNG_TASK)


def is_frame(line: str) -> bool:
    """Whether a line is a frame of a stack, or the mark of one of its parts."""
    return _FRAME.match(line) is not None or _SECTION.match(line) is not None


def is_dump(line: str) -> bool:
    """Whether a line can stand in a dump of registers and stacks."""
    return _DUMP.match(line) is not None or is_frame(line)


def is_trace(line: str) -> bool:
    """Whether a stack begins below this line."""
    return _TRACE.match(line) is not None


def frames_of(lines: Sequence[str], kind: Kind) -> tuple[str, ...]:
    """Function names of the first stack of a splat, innermost first, without those of the reporting itself.

    For something that hangs, where it was met is chance: there the interrupt that found it is left out and,
    when a module is on the stack, only functions of modules count.
    """
    found = _walk(lines, skip_interrupts=kind in _HANGS)
    if kind in _HANGS and any(module for _, module in found):
        found = [(name, module) for name, module in found if module]
    names: list[str] = []
    for name, _ in found:
        if not _REPORTERS.match(name) and names[-1:] != [name]:
            names.append(name)
    return tuple(names)


def fingerprint(kind: Kind, frames: Sequence[str], title: str) -> str:
    """Kind and the first frames; without any, the title with its numbers taken out."""
    if frames:
        return ":".join((kind, *frames[:FINGERPRINT_FRAMES]))
    words = re.sub(r"\b(?:0x)?[0-9a-f]*\d[0-9a-f]*\b", "N", title, flags=re.IGNORECASE)
    return f"{kind}:{'_'.join(re.findall(r'[A-Za-z_]+', words))[:120]}"


def _walk(lines: Sequence[str], skip_interrupts: bool) -> list[tuple[str, str]]:
    """(function, module or "") of the instruction pointer and of the first stack."""
    found: list[tuple[str, str]] = []
    inside, section, seen, foreign = False, "", False, 0
    for line in lines:
        hidden = skip_interrupts and section not in ("", "TASK")
        if at := _AT.match(line):
            if not found and not hidden:
                found.append((plain(at.group(1)), at.group(2) or ""))
        elif is_trace(line):
            if seen:
                break
            inside = True
        elif not inside:
            continue
        elif mark := _SECTION.match(line):
            section = "" if mark.group(1) else mark.group(2)
        elif frame := _FRAME.match(line):
            seen, foreign = True, 0
            if not frame.group(1) and not hidden:
                found.append((plain(frame.group(2)), frame.group(3) or ""))
        elif seen and not line.strip():
            break
        elif seen and not is_dump(line):
            foreign += 1
            if foreign > MAX_FOREIGN:
                break
    return found


def plain(name: str) -> str:
    """Without what the compiler hung on it (``.isra.0``, ``.constprop.0``, ``.cold``)."""
    return name.split(".", 1)[0]
