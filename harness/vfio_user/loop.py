# SPDX-License-Identifier: GPL-2.0-only
"""One thread that waits for file descriptors and timers."""

from __future__ import annotations

import heapq
import itertools
import select
import time
from collections.abc import Callable


class Timer:
    """A call that is due at ``when`` (seconds, monotonic clock). ``cancel`` before it runs, and it will
    not.
    """

    __slots__ = ("call", "when")

    def __init__(self, when: float, call: Callable[[], None]) -> None:
        self.when = when
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Calls readers when their descriptor has data, timers when they are due. An exception in one ends
    :meth:`run`.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, Callable[[], None]] = {}
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._stopped = False

    def add_reader(self, fd: int, call: Callable[[], None]) -> None:
        """Call ``call`` whenever ``fd`` can be read or was closed by its peer."""
        self._epoll.register(fd, select.EPOLLIN)
        self._readers[fd] = call

    def remove_reader(self, fd: int) -> None:
        """Forget ``fd``; to be done before it is closed."""
        del self._readers[fd]
        self._epoll.unregister(fd)

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Run ``call`` once after ``seconds``; timers that are due together run in the order they were
        made.
        """
        timer = Timer(time.monotonic() + seconds, call)
        heapq.heappush(self._timers, (timer.when, next(self._order), timer))
        return timer

    def stop(self) -> None:
        """Let :meth:`run` return after the call that is under way."""
        self._stopped = True

    def run(self) -> None:
        """Serve until :meth:`stop`."""
        poll, readers, timers = self._epoll.poll, self._readers, self._timers
        while not self._stopped:
            timeout = max(0.0, timers[0][0] - time.monotonic()) if timers else None
            for fd, _ in poll(timeout):
                call = readers.get(fd)
                if call is not None:
                    call()
            if timers:
                self._run_timers()

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            timer = heapq.heappop(self._timers)[2]
            if timer.call is not None:
                timer.call()

    def close(self) -> None:
        self._epoll.close()
