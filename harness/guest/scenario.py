# SPDX-License-Identifier: GPL-2.0-only
"""Calls that are made to fail: what must be there before, the call, and how to see that it did what it is for.

Each is asked in a fresh file. Every method raises OSError where the driver refuses.
"""

from __future__ import annotations

import errno
from typing import ClassVar

from harness.drm import structs
from harness.drm.client import Client
from harness.drm.command import State
from harness.drm.device import Device
from harness.drm.heap import CHUNK, DEVICE_BASE, Heap
from harness.drm.structs import SYNC_FROM_DEVICE, Array, HwctxEntry, Info
from harness.guest.counters import pinned_pages
from harness.guest.faults import EACH
from harness.guest.program import Program
from harness.guest.worker import Worker

_ALLOCATED = ("heap-alloc", "internal-alloc", "external-alloc")
_STATUS_BYTES = 4096
_TELEMETRY_BYTES = 4096
_DEBUG_BYTES = 4096
_ERRNO = {State.ERROR: errno.EINVAL, State.ABORT: errno.EINVAL, State.TIMEOUT: errno.ETIME}
"""What a call would say of a command that ended so. Any other state but COMPLETED: it was never run (EPIPE)."""


class Scenario:
    """One call to fail. Each round: a new object on a new file, ``act`` while it fails, and once more without."""

    untold: ClassVar[frozenset[str]] = frozenset()
    """Messages to firmware of whose fate the call does not tell, since it cannot, or need not."""
    unanswered: ClassVar[int] = errno.ETIME
    """What the call says when firmware never answers."""
    only: ClassVar[frozenset[str]] = frozenset()
    """Of its messages only these are asked about; empty: all."""

    errors: ClassVar[tuple[int, ...]] = (errno.ENOMEM,)
    """What the call may say when it has no memory; empty: anything but success."""
    each: ClassVar[int] = EACH
    """So many of its allocations fail one by one, before the steps grow."""
    retried: ClassVar[bool] = True
    """Whether the same file must be able to go on after the call failed."""
    later: ClassVar[type[Scenario] | None] = None
    """What must work on a new file when all is over, unless it is the call itself."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.client = Client.open(device.node)
        self.heap = Heap(self.client)
        try:
            self.prepare()
        except BaseException:
            Scenario.close(self)  # a subclass may have nothing yet to give back
            raise

    def prepare(self) -> None:
        """What must be there before the call."""

    def act(self) -> None:
        """The call."""
        raise NotImplementedError

    def accounting(self) -> tuple[int, ...]:
        """Bytes that the client uses, and the pages pinned in the whole system. The device is not woken."""
        return *(self.client.fdinfo_bytes(name) for name in _ALLOCATED), pinned_pages()

    def works(self) -> None:
        """Ask what the call was for."""

    def close(self) -> None:
        """Give everything back."""
        self.client.close()
        self.heap.release()


def run(worker: Worker) -> None:
    """A command that reads the heap must complete."""
    state = worker.run(Program().copy(DEVICE_BASE, worker.result_address, 4))
    if state is not State.COMPLETED:
        raise OSError(_ERRNO.get(state, errno.EPIPE), f"the command ended as {state.name}")


class Context(Scenario):
    """A context on one chunk, on a device that is awake: to start it is a call of its own."""

    def prepare(self) -> None:
        self.client.contexts_alive()
        self.heap.add_chunk()

    def act(self) -> None:
        self.client.create_hwctx()


class ExpandedContext(Context):
    """A context on two chunks. It is used with a command."""

    def prepare(self) -> None:
        super().prepare()
        self.heap.add_chunk()

    def works(self) -> None:
        run(Worker(self.heap))


class Expanding(Scenario):
    """The DEV BO needs the second chunk, which the context does not know yet."""

    def prepare(self) -> None:
        self.heap.add_chunk()
        self.client.create_hwctx()
        self.heap.create_dev(CHUNK // 2)
        self.heap.add_chunk()

    def act(self) -> None:
        self.heap.create_dev(CHUNK)


class Configuring(Scenario):
    """The compute unit of a context. A command must find it."""

    def prepare(self) -> None:
        self.heap.add_chunk()
        self.worker = Worker(self.heap, configured=False)

    def act(self) -> None:
        self.worker.configure()

    def works(self) -> None:
        run(self.worker)


class Submitting(Scenario):
    """A command is put in the queue. It must complete."""

    def prepare(self) -> None:
        self.heap.add_chunk()
        self.worker = Worker(self.heap)

    def act(self) -> None:
        self.worker.submit(Program())

    def works(self) -> None:
        run(self.worker)


class Running(Submitting):
    """A command from beginning to end; its state is told as an errno."""

    def act(self) -> None:
        run(self.worker)


class Hanging(Submitting):
    """A command hangs: it is given up, and its context set up again. Nobody is there to be told of what fails then, but
    a new context must work."""

    untold = only = frozenset(
        {
            "GET_APP_HEALTH",
            "DESTROY_CONTEXT",
            "CREATE_CONTEXT",
            "MAP_HOST_BUFFER",
            "ADD_HOST_BUFFER",
            "CONFIG_CU",
        }
    )
    later = Running

    def prepare(self) -> None:
        super().prepare()
        self.heap.add_chunk()
        self.heap.create_dev(4096)  # announces it

    def act(self) -> None:
        state = self.worker.run(Program().hang())
        if state is not State.TIMEOUT:
            raise OSError(errno.EPROTO, f"a command that hangs ended as {state.name}")
        self.client.contexts_alive()  # waits for the lock that the recovery holds

    def works(self) -> None:
        run(Worker(self.heap))


class Attaching(Scenario):
    """A debug buffer for a context: a command of the driver's own, which ends like a user's."""

    unanswered = errno.EINVAL

    def prepare(self) -> None:
        self.heap.add_chunk()
        self.worker = Worker(self.heap)
        self.bo = self.heap.create_dev(_DEBUG_BYTES)

    def act(self) -> None:
        self.client.attach_debug_bo(self.worker.context, self.bo)

    def works(self) -> None:
        self.client.sync_bo(self.bo, 0, _DEBUG_BYTES, SYNC_FROM_DEVICE)


class Syncing(Attaching):
    """Firmware fills the debug buffer."""

    def prepare(self) -> None:
        super().prepare()
        super().act()

    def act(self) -> None:
        super().works()


class Detaching(Attaching):
    """The debug buffer is taken away; another can be attached then."""

    def prepare(self) -> None:
        super().prepare()
        super().act()

    def act(self) -> None:
        self.client.detach_debug_bo(self.worker.context, self.bo)

    def works(self) -> None:
        super().act()


class Switching(Scenario):
    """SET_STATE: where commands may be interrupted, as it is when firmware starts."""

    def prepare(self) -> None:
        self.client.contexts_alive()

    def act(self) -> None:
        self.client.set_state(structs.State.FRAME_BOUNDARY_PREEMPT, 0)


class Destroying(Scenario):
    """The process is rid of its context, whatever firmware says."""

    untold = frozenset({"DESTROY_CONTEXT"})

    def prepare(self) -> None:
        self.heap.add_chunk()
        self.context = self.client.create_hwctx()

    def act(self) -> None:
        self.client.destroy_hwctx(self.context)


class Closing(Destroying):
    """The file is closed with a context in it."""

    def act(self) -> None:
        self.client.close()


class Status(Context):
    """GET_INFO: the status of the columns."""

    def prepare(self) -> None:
        super().prepare()
        self.client.create_hwctx()

    def act(self) -> None:
        self.client.column_status(_STATUS_BYTES)


class Telemetry(Status):
    """GET_INFO: what firmware measures."""

    def act(self) -> None:
        self.client.get_info(Info.TELEMETRY, _TELEMETRY_BYTES)


class Contexts(Status):
    """GET_ARRAY: all contexts. Their health is told when firmware tells it."""

    untold = frozenset({"GET_APP_HEALTH"})

    def act(self) -> None:
        self.client.get_array(Array.HW_CONTEXT_ALL, bytes(HwctxEntry()), 4)


class Starting(Scenario):
    """The suspended device is used: firmware starts."""

    untold = frozenset({"REGISTER_ASYNC_EVENT"})

    def prepare(self) -> None:
        self.device.suspend()

    def act(self) -> None:
        self.client.contexts_alive()


class Suspending(Scenario):
    """The device that nobody uses any more suspends, whatever firmware says."""

    untold = frozenset({"SET_RUNTIME_CONFIG", "SUSPEND"})

    def prepare(self) -> None:
        self.client.contexts_alive()

    def act(self) -> None:
        self.device.suspend()


class Resuming(Scenario):
    """The suspended device is used again by a client with a context on two chunks, which is set up again. When that
    fails the file is closed."""

    retried = False
    only = frozenset({"CREATE_CONTEXT", "MAP_HOST_BUFFER", "ADD_HOST_BUFFER", "CONFIG_CU"})

    def prepare(self) -> None:
        self.heap.add_chunk()
        self.heap.add_chunk()
        self.worker = Worker(self.heap)
        self.device.suspend()

    def act(self) -> None:
        self.client.contexts_alive()

    def works(self) -> None:
        run(self.worker)


class ResumingAgain(Resuming):
    """The second try on the same file must set the context up."""

    retried = True
