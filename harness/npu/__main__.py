# SPDX-License-Identifier: GPL-2.0-only
"""The emulated NPU as a process: ``python -m harness.npu --socket S --control C --log npu.jsonl --npu npu4``.

Serves until it is told to quit or gets SIGTERM (status 0). An exception is logged as a fault, with its
traceback, and ends it with status 70.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from pathlib import Path

from harness.npu.control import Control
from harness.npu.device import ADDRESS_MODES, DEFAULT_BDF, Npu, Settings
from harness.npu.events import EventLog
from harness.npu.generations import GENERATIONS, Protocol
from harness.vfio_user.loop import Loop
from harness.vfio_user.server import Server

OUR_BUG = 70


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m harness.npu", description="An emulated AMD NPU.")
    parser.add_argument("--socket", required=True, help="unix socket that speaks vfio-user: a path, or fd:N")
    parser.add_argument("--control", required=True, help="unix socket for control, JSON lines: a path, or fd:N")
    parser.add_argument("--log", type=Path, required=True, help="file to append the log to, JSON lines")
    parser.add_argument("--npu", choices=GENERATIONS, default="npu4")
    parser.add_argument("--address-mode", choices=ADDRESS_MODES, default=ADDRESS_MODES[0])
    parser.add_argument("--protocol", type=Protocol.parse, help="as in 6.12; else the NPU's newest")
    parser.add_argument("--deferred", action="store_true", help="answer after a few ms, not in the doorbell")
    parser.add_argument("--bdf", type=lambda text: int(text, 0), default=DEFAULT_BDF, help="bus, slot, function")
    return parser.parse_args(argv)


def serve(arguments: argparse.Namespace, log: EventLog) -> None:
    """Run until told to stop."""
    loop = Loop()
    settings = Settings(
        GENERATIONS[arguments.npu],
        arguments.address_mode,
        arguments.protocol,
        arguments.deferred,
        arguments.bdf,
    )
    npu = Npu(settings, log, loop)
    server = Server(arguments.socket, npu, loop, lambda what: log.event("vfio-user", what=what))
    control = Control(arguments.control, npu, loop)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGTERM, lambda *_: None)
    loop.add_reader(woken, loop.stop)
    try:
        loop.run()
    finally:
        control.close()
        server.close()
        npu.close()
        loop.close()


def main(argv: list[str]) -> int:
    arguments = parse_arguments(argv)
    log = EventLog(arguments.log)
    try:
        serve(arguments, log)
    except KeyboardInterrupt:
        return 0
    except Exception:
        text = traceback.format_exc()
        log.fault(text)
        print(text, file=sys.stderr)
        return OUR_BUG
    finally:
        log.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
