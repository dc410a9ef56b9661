# SPDX-License-Identifier: GPL-2.0-only
"""The server side of vfio-user: a PCI device in a process of its own. Knows nothing of NPUs.

loop.py        one thread: file descriptors and timers
wire.py        the messages as bytes (QEMU, docs/interop/vfio-user.rst)
memory.py      the client's memory, mapped through the file descriptors that it passes
irqs.py        the client's eventfds
region.py      memory of ours that the client may map
device.py      what a device must offer
connection.py  one client: commands to device calls
listener.py    the listening socket: made here, or handed over
server.py      one client after the other
"""
