# SPDX-License-Identifier: GPL-2.0-only
"""Function names of a kernel stack dump (x86), and the fingerprint made of them.

The forms are those of arch/x86/kernel/dumpstack.c, lib/dump_stack.c and kernel/panic.c of Linux 7.3:
``RIP: 0010:aie2_map_host_buf+0x1a/0x60 [amdxdna]`` and, below ``Call Trace:``, ``<TASK>`` and indented frames, a
``?`` before those that the unwinder does not believe.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.model.finding import Kind

FINGERPRINT_FRAMES = 5

_SYMBOL = r"([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+(?: \[([\w-]+)[^\]]*\])?"
_FRAME = re.compile(rf"\s*(?:\[<[0-9a-fp]*>\] )?(\? )?{_SYMBOL}\s*$")
_AT = re.compile(rf"RIP: [0-9a-f]{{4}}:{_SYMBOL}")
_SECTION = re.compile(r"\s*<(/?)([A-Z#]+[0-9A-Z]*)>\s*$")
_TRACE = re.compile(r"(?:Call Trace:|.*\bbacktrace(?: \(crc [0-9a-f]+\))?:)\s*$")
_DUMP = re.compile(
    r"(?:\s|RIP: |RSP: |R[A-D]X: |RBP: |R0?[0-9]+: |R1[0-9]: |FS: |CS: |CR[0-9]: |DR[0-9]: |PKRU: |Code: |CPU: |Tainted: "
    r"|Hardware name: |Workqueue: |Modules linked in: |Call Trace:|irq event stamp|hardirqs last |softirqs last "
    r"|NMI backtrace for |Sending NMI |NMI watchdog|Kernel Offset|EFLAGS|ORIG_RAX|\[last unloaded|task:|Stopper: |$)"
)

# Frames of the detectors themselves and of the trap entry: the same in every report of a kind.
_REPORTERS = re.compile(
    r"(?:_*dump_stack\w*|show_stack\w*|show_regs|print_report|print_address_description.*|_*kasan_\w+|_*asan_\w+"
    r"|_*ubsan_\w+|_*warn(?:_\w+)?|report_bug\w*|handle_bug|_*exc_\w+|asm_\w+|refcount_warn_saturate|_*die(?:_\w+)?"
    r"|page_fault_oops|bad_area\w*|kernelmode_fixup_or_oops|_*bad_area\w*|do_user_addr_fault|do_error_trap|panic"
    r"|vpanic|oops_end|do_trap|fixup_exception|_*might_(?:resched|sleep|fault)\w*|_*schedule_bug"
    r"|print_(?:circular|deadlock|usage|irq|lock|bad|unlock|rcu)\w*|check_(?:noncircular|prev_add|irq_usage|prevs_add)"
    r"|validate_chain|_*lock_acquire|lock_release|_*lock_release|mark_(?:lock|usage)\w*|lockdep_\w+|check_deadlock"
    r"|debug_check_no_locks_\w+|debug_dma_\w+|err_printk|check_unmap|check_sync|_*kmem_cache_alloc\w*|_*kmalloc\w*"
    r"|__list_(?:add|del)\w*|watchdog_\w+|nmi_\w+|sysvec_\w+|_*sysvec_\w+|rcu_sched_clock_irq|print_cpu_stall\w*"
    r"|object_err|slab_err|slab_bug|check_bytes_and_report|check_object|free_debug_processing|on_freelist"
    r"|kfence_\w+|kcsan_\w+|_*tsan_\w+|save_stack\w*|kmemleak_alloc\w*|stack_trace_save)$"
)
_HANGS = (Kind.LOCKUP, Kind.RCU_STALL, Kind.HUNG_TASK)


def is_dump(line: str) -> bool:
    """Whether a line can stand in a dump of registers and stacks."""
    return _DUMP.match(line) is not None or _FRAME.match(line) is not None


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
    inside, section, seen = False, "", 0
    for line in lines:
        if (at := _AT.match(line)) and not found and not inside:
            found.append((_plain(at.group(1)), at.group(2) or ""))
        elif is_trace(line):
            if seen:
                break
            inside = True
        elif not inside:
            continue
        elif mark := _SECTION.match(line):
            section = "" if mark.group(1) else mark.group(2)
        elif frame := _FRAME.match(line):
            seen += 1
            if not frame.group(1) and not (skip_interrupts and section and section != "TASK"):
                found.append((_plain(frame.group(2)), frame.group(3) or ""))
        elif seen and not is_dump(line):
            break
        elif seen and not line.strip():
            break
    return found


def _plain(name: str) -> str:
    """Without what the compiler hung on it (``.isra.0``, ``.constprop.0``, ``.cold``)."""
    return name.split(".", 1)[0]
