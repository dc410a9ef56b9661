# SPDX-License-Identifier: GPL-2.0-only
"""Splats in logs made here, in the forms that Linux 7.3 prints them."""

from __future__ import annotations

import pytest

from harness.formats.splat import find_splats
from harness.model.finding import Finding, Kind

DUMP = """CPU: 1 UID: 0 PID: 312 Comm: python3 Not tainted 7.3.4-xdna-0123456789abcdef #1 PREEMPT(lazy)
Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2-debian-1.16.2-1 04/01/2014
"""
REGISTERS = """RIP: 0010:aie2_map_host_buf+0x1a/0x60 [amdxdna]
Code: 48 89 df e8 12 34 56 78 <0f> 0b 31 c0
RSP: 0018:ffffc900007ebd80 EFLAGS: 00010246
RAX: 0000000000000000 RBX: ffff888103f6a000 RCX: 0000000000000000
R13: ffff888103f6a000 R14: 0000000000000001 R15: 0000000000000000
FS:  00007f5b6c1a2740(0000) GS:ffff8881b8f00000(0000) knlGS:0000000000000000
CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033
CR2: 00007f5b6c3a1000 CR3: 0000000105e6c000 CR4: 0000000000750ef0
PKRU: 55555554
"""
TRACE = """Call Trace:
 <TASK>
 ? aie2_unmap_host_buf+0x1/0x40 [amdxdna]
 amdxdna_hwctx_sync+0x55/0xa0 [amdxdna]
 amdxdna_drm_create_bo_ioctl+0x2f1/0x590 [amdxdna]
 drm_ioctl_kernel+0xae/0x100
 drm_ioctl+0x2a4/0x4f0
 __x64_sys_ioctl+0x97/0xd0
 do_syscall_64+0x82/0x190
 entry_SYSCALL_64_after_hwframe+0x76/0x7e
RIP: 0033:0x7f5b6c2a1c5b
Code: 00 48 89 44 24
 </TASK>
"""
CUT = "------------[ cut here ]------------\n"
END = "---[ end trace 0000000000000000 ]---\n"
WARNING = (
    f"{CUT}WARNING: drivers/accel/amdxdna/aie2_message.c:412 at aie2_map_host_buf+0x1a/0x60 [amdxdna], "
    f"CPU#1: python3/312\nModules linked in: amdxdna gpu_sched drm_shmem_helper\n"
    f"{DUMP}{REGISTERS}{TRACE}{END}"
)
FRAMES = (
    "aie2_map_host_buf",
    "amdxdna_hwctx_sync",
    "amdxdna_drm_create_bo_ioctl",
    "drm_ioctl_kernel",
    "drm_ioctl",
)
RULE = "=" * 66 + "\n"
KASAN = (
    f"{RULE}BUG: KASAN: slab-use-after-free in amdxdna_gem_obj_free+0x3c/0x120 [amdxdna]\n"
    f"Read of size 8 at addr ffff888104a5c018 by task python3/312\n\n{DUMP}Call Trace:\n <TASK>\n"
    " dump_stack_lvl+0x5d/0x80\n print_report+0xd1/0x640\n kasan_report+0xb9/0xf0\n"
    " amdxdna_gem_obj_free+0x3c/0x120 [amdxdna]\n drm_gem_object_free+0x2c/0x40\n </TASK>\n\n"
    "Allocated by task 311:\n kasan_save_stack+0x30/0x50\n __kasan_kmalloc+0xaa/0xb0\n"
    " amdxdna_gem_create_obj+0x40/0x80 [amdxdna]\n\n"
    "The buggy address belongs to the object at ffff888104a5c000\n"
    " which belongs to the cache kmalloc-512 of size 512\n"
    "Memory state around the buggy address:\n ffff888104a5bf00: fc fc fc fc\n>ffff888104a5c000: fa fb fb fb\n"
    f"                            ^\n{RULE}"
)
LOCKDEP = (
    "======================================================\n"
    "WARNING: possible circular locking dependency detected\n7.3.4-xdna #1 Not tainted\n"
    "------------------------------------------------------\npython3/312 is trying to acquire lock:\n"
    "ffff888103f6a0e8 (&xdna->dev_lock){+.+.}-{4:4}, at: aie2_hmm_invalidate+0x3a/0x90 [amdxdna]\n\n"
    "which lock already depends on the new lock.\n\nthe existing dependency chain (in reverse order) is:\n\n"
    "-> #1 (mmap_lock){++++}-{4:4}:\n       __might_fault+0x5a/0x80\n       _copy_from_user+0x1d/0x80\n\n"
    f"stack backtrace:\n{DUMP}Call Trace:\n <TASK>\n dump_stack_lvl+0x5d/0x80\n"
    " print_circular_bug+0x25d/0x340\n check_noncircular+0x13a/0x150\n __lock_acquire+0x10d4/0x1e40\n"
    " lock_acquire+0xb6/0x2e0\n __mutex_lock+0x9c/0xe00\n aie2_hmm_invalidate+0x3a/0x90 [amdxdna]\n"
    " amdxdna_hmm_invalidate+0x31/0x60 [amdxdna]\n </TASK>\n"
)
OOPS = (
    "BUG: kernel NULL pointer dereference, address: 0000000000000010\n"
    "#PF: supervisor read access in kernel mode\n"
    "#PF: error_code(0x0000) - not-present page\nPGD 0 P4D 0\nOops: Oops: 0000 [#1] SMP NOPTI\n"
    f"{DUMP}{REGISTERS}{TRACE}Modules linked in: amdxdna\nCR2: 0000000000000010\n{END}"
)
PANIC = (
    "Kernel panic - not syncing: Fatal exception\nKernel Offset: disabled\n"
    "---[ end Kernel panic - not syncing: Fatal exception ]---\n"
)
SOFT = (
    "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [python3:312]\nModules linked in: amdxdna\n"
    f"{DUMP}{REGISTERS}{TRACE}"
)
HUNG = (
    "INFO: task python3:312 blocked for more than 30 seconds.\n      Not tainted 7.3.4-xdna #1\n"
    '"echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.\n'
    "task:python3         state:D stack:0     pid:312   tgid:312   ppid:300    task_flags:0x400100 "
    "flags:0x00004002\n"
    "Call Trace:\n <TASK>\n __schedule+0x3a4/0xb10\n schedule+0x27/0xd0\n schedule_timeout+0x77/0xf0\n"
    " xdna_send_msg_wait+0x91/0x110 [amdxdna]\n aie2_destroy_context+0x6d/0xb0 [amdxdna]\n"
    " drm_release+0x5f/0xd0\n"
    " </TASK>\nINFO: task python3:312 is blocked on a mutex likely owned by task kworker/1:2:77.\n"
)
RCU = (
    "rcu: INFO: rcu_preempt self-detected stall on CPU\n"
    "rcu: \t1-....: (5249 ticks this GP) idle=5a0c/1/0x4000000000000000 softirq=2089/2089 fqs=2625\n"
    "rcu: \t(t=5250 jiffies g=1717 q=92 ncpus=2)\n"
    f"{DUMP}RIP: 0010:delay_tsc+0x37/0x90\nCode: 90\nCall Trace:\n <IRQ>\n ? rcu_dump_cpu_stacks+0xc4/0x100\n"
    " rcu_sched_clock_irq+0x3a0/0xe90\n update_process_times+0x6e/0xb0\n </IRQ>\n <TASK>\n"
    " asm_sysvec_apic_timer_interrupt+0x1a/0x20\nRIP: 0010:delay_tsc+0x37/0x90\nRSP: 0018:ffffc900007ebd80\n"
    " aie2_hwctx_wait_for_idle+0x31/0x60 [amdxdna]\n amdxdna_hwctx_destroy_rcu+0x22/0x50 [amdxdna]\n"
    " </TASK>\n"
)
LEAK = (
    "kmemleak: unreferenced object 0xffff888105a3c000 (size 1024):\n"
    'kmemleak:   comm "python3", pid 312, jiffies 4294701234\nkmemleak:   backtrace (crc 8fdb9d11):\n'
    "kmemleak:     __kmalloc_cache_noprof+0x25e/0x380\n"
    "kmemleak:     aie2_hwctx_init+0x4c/0x8f0 [amdxdna]\n"
    "kmemleak:     amdxdna_drm_create_hwctx_ioctl+0x1a3/0x330 [amdxdna]\n"
)
DRM_MM = (
    "[drm:drm_mm_takedown] *ERROR* node [00000000 + 00001000]: inserted at\n"
    " drm_mm_insert_node_in_range+0x2a3/0x520\n"
    " amdxdna_gem_heap_alloc+0x8c/0x190 [amdxdna]\n amdxdna_drm_alloc_dev_bo+0x6e/0x140 [amdxdna]\n"
)
IOMMU = "amdxdna 0000:00:05.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0008 address=0xdeadb000 flags=0x0000]\n"
UBSAN = (
    f"{CUT}UBSAN: array-index-out-of-bounds in drivers/accel/amdxdna/aie2_solver.c:77:12\n"
    f"index 9 is out of range for type 'u32 [8]'\n{DUMP}Call Trace:\n <TASK>\n dump_stack_lvl+0x5d/0x80\n"
    " ubsan_epilogue+0x5/0x2b\n __ubsan_handle_out_of_bounds.cold+0x46/0x4b\n"
    " xrs_allocate_resource.isra.0+0x1f0/0x3a0 [amdxdna]\n"
    " </TASK>\n---[ end trace ]---\n"
)
MUTE = (  # what a driver and the kernel say on ordinary days, and on purpose
    "amdxdna 0000:00:05.0: [drm] *ERROR* aie2_send_mgmt_msg_wait: command opcode 0x115 failed, status 0x1\n"
    "amdxdna 0000:00:05.0: WARNING: this is fine\namdxdna 0000:00:05.0: BUG: not really\n"
    "amdxdna 0000:00:05.0: [drm] *ERROR* aie2_map_host_buf: Kernel panic - not syncing: ha\n"
    "FAULT_INJECTION: forcing a failure.\nname failslab, interval 1, probability 100, space 0, times 1\n"
    f"{DUMP}{TRACE}"
    "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on\nINFO: lockdep is turned off.\n"
    "pci 0000:00:05.0: AMD-Vi: Event page service enabled\n"
    "kmemleak: Kernel memory leak detector initialized\n"
    "AMD-Vi: Interrupt remapping enabled\nDMA-API: debugging enabled by kernel config\n"
    "systemd[1]: oops: nothing\nrcu: Hierarchical RCU implementation.\n"
    "python3 invoked oom-killer: gfp_mask=0xcc0\n"
)


def records(text: str, level: int = 4) -> list[dict[str, object]]:
    return [{"seq": n, "level": level, "time": n / 1000, "text": line} for n, line in enumerate(text.splitlines(), 1)]


def console(text: str) -> str:
    return "".join(f"[{n / 1000:12.6f}] {line}\r\n" for n, line in enumerate(text.splitlines(), 1))


def only(text: str) -> Finding:
    found = find_splats(records(text))
    assert len(found) == 1, [f.title for f in found]
    assert find_splats(console(text)) == found
    return found[0]


@pytest.mark.parametrize(
    ("text", "kind", "title", "frames"),
    [
        (WARNING, Kind.WARNING,
         "WARNING: drivers/accel/amdxdna/aie2_message.c:412 at aie2_map_host_buf [amdxdna]", FRAMES),
        (KASAN, Kind.KASAN, "BUG: KASAN: slab-use-after-free in amdxdna_gem_obj_free [amdxdna]",
         ("amdxdna_gem_obj_free", "drm_gem_object_free")),
        (LOCKDEP, Kind.LOCKDEP, "WARNING: possible circular locking dependency detected",
         ("__mutex_lock", "aie2_hmm_invalidate", "amdxdna_hmm_invalidate")),
        (OOPS, Kind.OOPS, "BUG: kernel NULL pointer dereference, address: 0000000000000010", FRAMES),
        (SOFT, Kind.LOCKUP, "watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [python3:312]", FRAMES[:3]),
        (HUNG, Kind.HUNG_TASK, "INFO: task python3:312 blocked for more than 30 seconds.",
         ("xdna_send_msg_wait", "aie2_destroy_context")),
        (RCU, Kind.RCU_STALL, "rcu: INFO: rcu_preempt self-detected stall on CPU",
         ("aie2_hwctx_wait_for_idle", "amdxdna_hwctx_destroy_rcu")),
        (LEAK, Kind.KMEMLEAK, "kmemleak: unreferenced object 0xffff888105a3c000 (size 1024):",
         ("aie2_hwctx_init", "amdxdna_drm_create_hwctx_ioctl")),
        (DRM_MM, Kind.DRM_MM, "[drm:drm_mm_takedown] *ERROR* node [00000000 + 00001000]: inserted at",
         ("drm_mm_insert_node_in_range", "amdxdna_gem_heap_alloc", "amdxdna_drm_alloc_dev_bo")),
        (UBSAN, Kind.UBSAN, "UBSAN: array-index-out-of-bounds in drivers/accel/amdxdna/aie2_solver.c:77:12",
         ("xrs_allocate_resource",)),
        (IOMMU, Kind.IOMMU, IOMMU.strip(), ()),
    ],
)  # fmt: skip
def test_each_detector(text: str, kind: Kind, title: str, frames: tuple[str, ...]) -> None:
    finding = only(MUTE + text + MUTE)
    assert (finding.kind, finding.title, finding.count) == (kind, title, 1)
    assert finding.frames[:5] == frames
    wanted = "IOMMU:IO_PAGE_FAULT" if kind is Kind.IOMMU else ":".join((kind, *frames))
    assert finding.fingerprint == wanted
    assert "python3 invoked" not in finding.text


def test_a_hang_is_blamed_on_what_was_interrupted_not_on_the_interrupt() -> None:
    text = RCU.replace(" aie2_hwctx_wait_for_idle+0x31/0x60 [amdxdna]\n", " mutex_spin_on_owner+0x31/0x60\n")
    text = text.replace(" amdxdna_hwctx_destroy_rcu+0x22/0x50 [amdxdna]\n", " do_exit+0x22/0x50\n")
    assert only(text).frames == ("delay_tsc", "mutex_spin_on_owner", "do_exit")


def test_ordinary_days_have_no_splats() -> None:
    assert find_splats(records(MUTE)) == []
    assert find_splats(console(MUTE)) == []


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("refcount_t: underflow; use-after-free.", Kind.REFCOUNT),
        ("DMA-API: amdxdna 0000:00:05.0: device driver frees DMA memory with wrong function", Kind.DMA_API),
        ("Memory manager not clean during takedown.", Kind.DRM_MM),
        ("[drm] something else", Kind.WARNING),
    ],
)
def test_the_message_of_a_warning_says_what_it_is(message: str, kind: Kind) -> None:
    for text in (
        WARNING.replace(CUT, f"{CUT}{message}\n"),
        WARNING.replace("Modules", f"{message}\nModules"),
    ):
        finding = only(text)
        assert finding.kind is kind
        assert finding.title == (message if kind is not Kind.WARNING else only(WARNING).title)
        assert finding.fingerprint.endswith(":".join(FRAMES))


def test_a_message_of_a_warning_that_looks_like_a_headline_makes_no_second_splat() -> None:
    finding = only(WARNING.replace(CUT, f"{CUT}BUG: odd\n"))
    assert finding.fingerprint.endswith(":".join(FRAMES))


def test_refcount_is_blamed_on_the_caller() -> None:
    text = WARNING.replace(CUT, f"{CUT}refcount_t: underflow; use-after-free.\n").replace(
        "aie2_map_host_buf+0x1a/0x60 [amdxdna]", "refcount_warn_saturate+0xbe/0x110"
    )
    assert only(text).fingerprint.startswith("REFCOUNT:amdxdna_hwctx_sync:")


def test_the_fingerprint_is_the_same_in_another_boot() -> None:
    other = WARNING.replace("0x1a/0x60", "0x2b/0x70").replace("CPU#1: python3/312", "CPU#0: pytest/99")
    other = other.replace("+0x55/0xa0 ", ".isra.0+0x66/0xb0 ").replace("ffff888103f6a000", "ffff8881deadbeef")
    assert only(other).fingerprint == only(WARNING).fingerprint
    assert only(other).title == only(WARNING).title


def test_equal_splats_are_counted_and_others_kept_apart() -> None:
    found = find_splats(records(WARNING + KASAN + WARNING.replace("0x55/", "0x5a/") + KASAN + WARNING))
    assert [(f.kind, f.count) for f in found] == [(Kind.WARNING, 3), (Kind.KASAN, 2)]


def test_the_old_form_of_a_warning() -> None:
    old = WARNING.replace("WARNING: ", "WARNING: CPU: 1 PID: 312 at ").replace(" at aie2", " aie2", 1)
    assert only(old).fingerprint == only(WARNING).fingerprint


def test_a_panic_that_follows_is_part_of_its_cause() -> None:
    finding = only(OOPS + "RIP: 0010:aie2_map_host_buf+0x1a/0x60 [amdxdna]\n" + PANIC)
    assert finding.kind is Kind.OOPS
    assert finding.text.endswith("Fatal exception ]---")


def test_a_panic_of_its_own() -> None:
    text = PANIC.replace("Fatal exception", "Attempted to kill init! exitcode=0x00000009")
    assert only(text).kind is Kind.PANIC
    assert [f.kind for f in find_splats(records(WARNING + text))] == [Kind.WARNING, Kind.PANIC]


def test_bug_and_its_oops_are_one() -> None:
    text = (
        f"{CUT}kernel BUG at drivers/accel/amdxdna/amdxdna_gem.c:99!\n"
        f"Oops: invalid opcode: 0000 [#1] SMP NOPTI\n"
        f"{DUMP}{REGISTERS}{TRACE}{END}{PANIC}"
    )
    finding = only(text)
    assert (finding.kind, finding.title) == (
        Kind.BUG,
        "kernel BUG at drivers/accel/amdxdna/amdxdna_gem.c:99!",
    )


def test_a_splat_that_a_panic_or_reset_cuts_off_is_kept() -> None:
    lines = WARNING.splitlines(keepends=True)
    for end in range(2, len(lines)):
        (finding,) = find_splats(console("".join(lines[:end])))
        assert finding.kind is Kind.WARNING


def test_messages_of_others_between_the_frames_do_not_change_the_fingerprint() -> None:
    noise = "amdxdna 0000:00:05.0: [drm] *ERROR* something\nusb 1-1: new device\n"
    for text in (LOCKDEP, KASAN, OOPS, WARNING):
        lines = text.splitlines(keepends=True)
        at = next(n for n, line in enumerate(lines) if "[amdxdna]\n" in line and line.startswith(" "))
        mixed = "".join([*lines[:at], noise, *lines[at:]])
        assert only(mixed).fingerprint == only(text).fingerprint


def test_two_cpus_two_splats_without_a_gap() -> None:
    found = find_splats(records(LOCKDEP + SOFT + HUNG + LOCKDEP))
    assert [(f.kind, f.count) for f in found] == [(Kind.LOCKDEP, 2), (Kind.LOCKUP, 1), (Kind.HUNG_TASK, 1)]


def test_leaks_are_named_not_counted_where_both_is_possible() -> None:
    count = "kmemleak: 1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n"
    assert only(LEAK + count).fingerprint == "KMEMLEAK:aie2_hwctx_init:amdxdna_drm_create_hwctx_ioctl"
    more = only(f"{count}words of others\n{count.replace('1', '7')}")
    assert (more.count, more.frames) == (2, ())
    assert "words" not in more.text


def test_user_space_cannot_make_a_splat() -> None:
    assert find_splats(records(KASAN, level=8 + 4)) == []
    assert find_splats(KASAN + WARNING) == []
    assert find_splats(console("python3[312]: " + KASAN.splitlines()[1])) == []


def test_escape_codes_on_the_console_do_not_hide_a_splat() -> None:
    text = console(KASAN).replace("BUG:", "\x1b[31mBUG:").replace("\r\n", "\x1b[0m\r\n")
    assert [f.kind for f in find_splats(text)] == [Kind.KASAN]


def test_slab_and_expanded_atomic_context_reports() -> None:
    slab = (
        f"{RULE}BUG kmalloc-64 (Tainted: G    B              ): Poison overwritten\n{'-' * 77}\n\n"
        f"0xffff888105a3c000-0xffff888105a3c003 @offset=0. First byte 0x0 instead of 0x6b\n{DUMP}{TRACE}"
        "FIX kmalloc-64: Restoring Poison 0xffff888105a3c000=0x6b\n"
    )
    assert only(slab).kind is Kind.SLAB
    atomic = (
        "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:283\n"
        f"in_atomic(): 1, irqs_disabled(): 0, non_block: 0, pid: 312, name: python3\n{DUMP}{TRACE}"
    )
    assert only(atomic).kind is Kind.BUG


def test_a_headline_without_a_stack_takes_no_more_than_its_share() -> None:
    text = "BUG: workqueue lockup - pool cpus=1 node=0 flags=0x0 nice=0 stuck for 30s!\n" + "word\n" * 1000
    finding = only(text)
    assert finding.kind is Kind.LOCKUP
    assert finding.text.count("\n") < 60
    assert finding.fingerprint.startswith("LOCKUP:BUG_workqueue_lockup_pool_cpus_N")


def test_a_stall_of_rcu_tasks_has_no_prefix() -> None:
    """kernel/rcu/tasks.h is part of update.c, which has no pr_fmt."""
    found = find_splats(records(RCU.replace("rcu: INFO: rcu_preempt self-detected stall on CPU", _TASKS_STALL, 1)))
    assert [f.kind for f in found] == [Kind.RCU_STALL]
    assert found[0].title == _TASKS_STALL


_TASKS_STALL = "INFO: rcu_tasks detected stalls on tasks:"


def test_stacks_that_somebody_asked_for_belong_to_no_splat() -> None:
    def task(pid: int, function: str) -> list[str]:
        head = f"task:init            state:D stack:0     pid:{pid}    tgid:53    ppid:52"
        frames = [" __schedule+0x333/0x800", f" {function}+0x68/0xf0 [amdxdna]", " drm_ioctl+0x253/0x530"]
        return [head, "Call Trace:", " <TASK>", *frames, " </TASK>"]

    def console(*lines: str) -> str:
        return "".join(f"[   41.{number:06}] {line}\n" for number, line in enumerate(lines))

    hung = ["INFO: task init:56 blocked for more than 20 seconds.", *task(56, "amdxdna_gem_obj_open")]
    (alone,) = find_splats(console(*hung))
    (beside,) = find_splats(console(*hung, "sysrq: Show Blocked State", *task(54, "amdxdna_gem_pin")))
    assert beside.fingerprint == alone.fingerprint
    assert "amdxdna_gem_pin" not in beside.text
