# SPDX-License-Identifier: GPL-2.0-only
"""One client at a time, and the next one after it."""

from __future__ import annotations

import socket
from collections.abc import Callable

from harness.vfio_user.connection import Connection
from harness.vfio_user.device import Device
from harness.vfio_user.listener import Listener
from harness.vfio_user.loop import Loop
from harness.vfio_user.wire import Disconnect


class Server:
    """Serves ``device`` on the unix socket ``where`` (listener.py) from ``loop``. ``note``: a line per event."""

    def __init__(self, where: str, device: Device, loop: Loop, note: Callable[[str], None]) -> None:
        self._device = device
        self._loop = loop
        self._note = note
        self._connection: Connection | None = None
        self._client: socket.socket | None = None
        self._listener = Listener(where)
        loop.add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        client = self._listener.accept()
        if self._connection is not None:
            self._note("a second client was turned away")
            client.close()
            return
        connection = Connection(client, self._device, self._note)
        self._connection, self._client = connection, client
        self._device.attach(connection.bus)
        self._note("client connected")
        self._loop.add_reader(client.fileno(), lambda: self._serve(connection))

    def _serve(self, connection: Connection) -> None:
        try:
            connection.on_readable()
        except Disconnect as reason:
            self._drop(str(reason))

    def _drop(self, reason: str) -> None:
        if self._connection is None or self._client is None:
            return
        self._loop.remove_reader(self._client.fileno())
        self._connection.close()
        self._connection = self._client = None
        self._device.detach()
        self._note(f"client gone: {reason}" if reason else "client gone")

    def close(self) -> None:
        """Hang up and remove the socket."""
        self._drop("the server ends")
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
