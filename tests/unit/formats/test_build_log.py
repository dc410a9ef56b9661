# SPDX-License-Identifier: GPL-2.0-only
import pytest

from harness.formats.build_log import (
    MAX_LINE,
    BuildError,
    BuildWarning,
    clock_is_skewed,
    first_error,
    machine_failure,
    source_is_unclean,
    steps,
    warnings,
    warnings_by_step,
)

FILE = "drivers/accel/amdxdna/aie2_ctx.c"


@pytest.mark.parametrize(
    ("log", "error"),
    [
        (
            f"  CC [M]  drivers/accel/amdxdna/aie2_ctx.o\n/src/{FILE}: In function 'f':\n"
            f"/src/{FILE}:12:9: error: 'x' undeclared (first use in this function)\n"
            "   12 |   x = 1;\n"
            f"/src/{FILE}:13:9: error: another\n"
            "make[5]: *** [/src/scripts/Makefile.build:289: a.o] Error 1\n",
            BuildError("gcc", FILE, 12, "'x' undeclared (first use in this function)"),
        ),
        (
            f"/src/{FILE}:3:10: fatal error: nosuch.h: No such file or directory\n",
            BuildError("gcc", FILE, 3, "nosuch.h: No such file or directory"),
        ),
        ("/src/arch/x86/a.S:7: Error: no such instruction: `foo'\n",
         BuildError("as", "arch/x86/a.S", 7, "no such instruction: `foo'")),
        ('ERROR: modpost: "f" [drivers/accel/amdxdna/amdxdna.ko] undefined!\n',
         BuildError("modpost", "", 0, '"f" [drivers/accel/amdxdna/amdxdna.ko] undefined!')),
        ("ERROR: modpost: drivers/accel/amdxdna/amdxdna.ko: symbol 'f' undefined!\n",
         BuildError("modpost", "drivers/accel/amdxdna/amdxdna.ko", 0, "symbol 'f' undefined!")),
        ("ld: vmlinux.o: in function `g':\n(.text+0x1): undefined reference to `h'\n",
         BuildError("ld", "", 0, "undefined reference to `h'")),
        ("/src/drivers/accel/Kconfig:5: syntax error\n",
         BuildError("kconfig", "drivers/accel/Kconfig", 5, "syntax error")),
        ("make[5]: *** No rule to make target 'drivers/accel/amdxdna/gone.o', needed by 'x'.  Stop.\n",
         BuildError("make", "", 0,
                    "No rule to make target 'drivers/accel/amdxdna/gone.o', needed by 'x'.")),
        ("/src/drivers/accel/amdxdna/Makefile:4: *** missing separator.  Stop.\n",
         BuildError("make", "drivers/accel/amdxdna/Makefile", 4, "missing separator.")),
        ("noise\nmake[2]: *** [/src/Makefile:1: thing] Error 2\nmake: *** [b] Error 2\n",
         BuildError("make", "", 0, "[/src/Makefile:1: thing] Error 2")),
    ],
)  # fmt: skip
def test_the_first_error_is_found(log: str, error: BuildError) -> None:
    assert first_error(log) == error


def test_an_error_names_file_and_line_as_editors_take_it() -> None:
    assert str(BuildError("gcc", "a.c", 3, "bad")) == "a.c:3: bad"
    assert str(BuildError("ld", "a.o", 0, "bad")) == "a.o: bad"
    assert str(BuildError("make", "", 0, "bad")) == "bad"


def test_a_log_without_errors_has_none() -> None:
    log = "  CC      a.o\n/src/a.c:1:2: warning: unused variable 'error' [-Wunused]\n"
    assert first_error(log) is None


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("/usr/bin/ld: final link failed: No space left on device", "the disk is full"),
        ("/tmp/cc1.s:12:9: fatal error: error writing to x: No space left on device", "the disk is full"),
        ("gcc: fatal error: Killed signal terminated program cc1", "a process was killed"),
        ("cc1: out of memory allocating 65536 bytes", "no memory"),
        ("/bin/sh: 1: Cannot fork", "too many processes"),
        ("make[1]: fork: Resource temporarily unavailable", "too many processes"),
        ("File size limit exceeded", "a file grew over the sandbox's limit"),
    ],
)
def test_what_the_machine_lacked_is_told_apart(line: str, what: str | None) -> None:
    assert machine_failure(f"  CC      a.o\n{line}\n") == what


def test_a_source_cannot_pretend_that_the_disk_is_full() -> None:
    log = f"/src/{FILE}:1:2: error: #error No space left on device\n    1 | #error No space left on device\n"
    assert machine_failure(log) is None


def test_an_unclean_source_is_noticed() -> None:
    assert source_is_unclean("***\n*** The source tree is not clean, please run 'make mrproper'\n***\n")
    assert not source_is_unclean("  CC      a.o\n")


def test_warnings_have_no_line_numbers_and_come_once() -> None:
    log = (
        "/src/a.c:10:2: warning: unused variable 'x' [-Wunused-variable]\n"
        "/src/a.c:99:7: warning: unused variable 'x' [-Wunused-variable]\n"
        "vmlinux.o: warning: objtool: f+0x1a: unreachable instruction\n"
        "WARNING: modpost: missing MODULE_DESCRIPTION() in a.o\n"
    )
    assert warnings(log) == (
        BuildWarning("a.c", "unused variable 'x' [-Wunused-variable]"),
        BuildWarning("vmlinux.o", "f: unreachable instruction"),
        BuildWarning("", "missing MODULE_DESCRIPTION() in a.o"),
    )


def test_steps_are_counted() -> None:
    assert steps("make: x\n  CC      a.o\n  LD [M]  b.ko\n   12 |  code\n") == (2, "b.ko")
    assert steps("") == (0, "")


def test_hostile_lines_do_not_take_for_ever() -> None:
    assert first_error(("a:" * 20000 + "\n") * 3 + "\x1b[2J" * 1000) is None
    assert warnings("x" * 200000 + ": warning") == ()


def test_a_warning_belongs_to_the_step_that_it_stands_under() -> None:
    log = (
        "make[1]: Entering directory '/obj'\n  CC [M]  a.o\n"
        "In file included from /src/x/a.c:3:\n"
        "/src/x/own.h:9:12: warning: 'f' defined but not used [-Wunused-function]\n"
        f"/src/{FILE}:4:1: warning: b\n/src/{FILE}:2:1: warning: a\n  CC [M]  sub/b.o\n"
        "  MODPOST Module.symvers\nWARNING: modpost: missing MODULE_DESCRIPTION() in npu.o\n"
    )
    assert warnings_by_step(log) == {
        "a.o": (f"{FILE}: a", f"{FILE}: b", "x/own.h: 'f' defined but not used [-Wunused-function]"),
        "sub/b.o": (),
        "Module.symvers": ("missing MODULE_DESCRIPTION() in npu.o",),
    }
    assert warnings_by_step("make: Nothing to be done\n") == {}


def test_the_name_of_a_kconfig_file_is_its_last_part() -> None:
    assert first_error("a/Kconfig.d/Kconfig.x:3: syntax error\n") == BuildError(
        "kconfig", "a/Kconfig.d/Kconfig.x", 3, "syntax error"
    )
    assert first_error("a/Kconfig/other:3: syntax error\n") is None


def test_of_an_endless_line_the_beginning_is_read() -> None:
    error = first_error(f"/src/{FILE}:1:2: error: {'x' * 100_000}\n")
    assert error is not None
    assert len(error.text) < MAX_LINE
    (warning,) = warnings(f"/src/{FILE}:1:2: warning: {'x' * 100_000}\n")
    assert len(warning.text) < MAX_LINE
    assert machine_failure("x" * MAX_LINE + "No space left on device\n") is None


@pytest.mark.parametrize(
    "line",
    [
        "make[3]: Warning: File 'amdxdna.o' has modification time 3599 s in the future",
        "make: warning:  Clock skew detected.  Your build may be incomplete.",
    ],
)
def test_make_says_when_it_cannot_trust_the_clock(line: str) -> None:
    assert clock_is_skewed(f"  CC [M]  a.o\n{line}\n")
    assert not clock_is_skewed(f"  CC [M]  a.o\n/src/a.c:1:2: warning: #warning {line}\n    1 | {line}\n")
