# SPDX-License-Identifier: GPL-2.0-only
"""A listening socket that was made here, or handed over."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from harness.vfio_user.listener import Listener


def test_a_path_is_bound_anew_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("left behind")
    listener = Listener(str(path))
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    listener.accept().close()
    client.close()
    listener.close()
    assert not path.exists()


def test_a_socket_that_is_handed_over_has_its_clients_already(tmp_path: Path) -> None:
    path = tmp_path / "s"
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.sendall(b"early")
    listener = Listener(f"fd:{made.detach()}")
    served = listener.accept()
    assert served.recv(9) == b"early"
    served.close()
    client.close()
    listener.close()
    assert path.exists(), "who made it removes it"


def test_what_is_no_socket_is_refused(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="socket"):
            Listener(f"fd:{fd}")
    finally:
        os.close(fd)
