# SPDX-License-Identifier: GPL-2.0-only
"""Talk to the emulated NPU's process over its control socket: one JSON line out, one back."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import InfraError

ANSWER_SECONDS = 10.0


class NpuRefused(Exception):
    """The NPU understood the request and says that it is wrong: the asker's fault."""


class NpuControl:
    """A connection to the control socket. Whatever fails is the lab's: an InfraError."""

    def __init__(self, path: Path, alive: Callable[[], bool] = lambda: True) -> None:
        """Connect to the socket at ``path`` as soon as it is there; give up when the process is not ``alive``."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(ANSWER_SECONDS)
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                self._socket.connect(str(path))
                break
            except (FileNotFoundError, ConnectionRefusedError) as error:
                if time.monotonic() > deadline or not alive():
                    raise InfraError(
                        f"the emulated NPU did not open its {path.name} socket (limit {ANSWER_SECONDS:.0f} s)"
                    ) from error
                time.sleep(0.02)
        self._stream = self._socket.makefile("rwb")

    def request(self, command: str, **arguments: object) -> Any:
        """The value that the NPU answers. Raises NpuRefused for a wrong request, InfraError for a dead NPU."""
        try:
            self._stream.write(json.dumps({"cmd": command, **arguments}).encode() + b"\n")
            self._stream.flush()
            line = self._stream.readline()
        except OSError as error:
            raise InfraError(f"the emulated NPU does not answer {command!r}: {error}") from error
        if not line:
            raise InfraError(f"the emulated NPU closed its control socket at {command!r}")
        answer = json.loads(line)
        if "error" in answer:
            raise NpuRefused(str(answer["error"]))
        return answer.get("ok")

    def close(self) -> None:
        with suppress(OSError):  # what could not be sent to a dead NPU is still in the buffer
            self._stream.close()
        self._socket.close()
