# SPDX-License-Identifier: GPL-2.0-only
"""A hardware context with all that a command needs, and a shared buffer to read answers from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.drm import command
from harness.drm.client import Client, Hwctx
from harness.drm.command import State
from harness.drm.heap import DEVICE_BASE, Heap
from harness.drm.structs import BoType
from harness.guest.expect import works
from harness.guest.program import Program

COMMAND_BYTES = 4096
CODE_BYTES = 4096
RESULT_BYTES = 256 * 1024


class Worker:
    """Built on a heap whose first chunk is mapped. Raises OSError where the driver refuses something.

    ``result`` is a SHARE BO of 256 KiB that programs write to, ``result_address`` the NPU's address of it, ``command``
    the handle of the command BO, ``code`` where programs are written to. Without
    ``configured`` its compute unit is left to :meth:`configure`. ``context``: one that is there already.
    """

    def __init__(self, heap: Heap, configured: bool = True, context: Hwctx | None = None) -> None:
        client = heap.client
        self.heap = heap
        self.client = client
        self.context = context or client.create_hwctx()
        self.cu = heap.create_dev(CODE_BYTES)
        if configured:
            self.configure()
        code = heap.create_dev(CODE_BYTES)
        self._code_address = client.bo_info(code).xdna_addr
        self.code = heap.view(code, CODE_BYTES)
        self.command = client.create_bo(BoType.CMD, COMMAND_BYTES)
        self._command_memory = client.map_bo(self.command, COMMAND_BYTES)
        self._result = client.create_bo(BoType.SHARE, RESULT_BYTES)
        self.result = client.map_bo(self._result, RESULT_BYTES)
        self.result_address = client.bo_info(self._result).xdna_addr

    def configure(self) -> None:
        """Set up the compute unit."""
        self.client.config_cu(self.context, [(self.cu, 0)])

    def submit(self, program: Program, arguments: Sequence[int] = ()) -> int:
        """Start a program: its place on the timeline. ``arguments`` are handles of further BOs it uses."""
        code = bytes(program)
        self.code.write(0, code)
        return self.send(command.start_npu(self._code_address, len(code), ()), arguments)

    def send(self, packet: bytes, arguments: Sequence[int] = ()) -> int:
        """Start a command, whatever its bytes say: its place on the timeline."""
        self._command_memory.write(0, packet)
        return self.client.exec_cmd(self.context, self.command, [self._result, *arguments])

    def wait(self, seq: int, timeout: float = 15.0) -> State:
        """Wait for a program: the state of its command."""
        self.client.wait(self.context, seq, timeout)
        return command.state(self._command_memory.read(0, 4))

    def run(self, program: Program, arguments: Sequence[int] = ()) -> State:
        """Start a program and wait for it."""
        return self.wait(self.submit(program, arguments))

    def fetch(self, address: int, size: int, arguments: Sequence[int] = ()) -> bytes:
        """``size`` bytes at one of the NPU's addresses, as the NPU reads them."""
        state = self.run(Program().copy(address, self.result_address, size), arguments)
        if state is not State.COMPLETED:
            raise AssertionError(f"the NPU's read of {size:#x} bytes at {address:#x} ended as {state.name}")
        return self.result.read(0, size)


def serves(open_client: Callable[[], Client], when: str) -> None:
    """A new client must get a chunk, and a context whose commands complete; it is closed again. ``when``: for the
    message of the AssertionError."""
    heap = Heap(open_client())
    with works(f"first chunk and a context {when}"):
        heap.add_chunk()
        worker = Worker(heap)
    worker.fetch(DEVICE_BASE, 4)
    heap.client.close()
    heap.release()
