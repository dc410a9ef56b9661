# SPDX-License-Identifier: GPL-2.0-only
"""An AMD NPU (AIE2 family) as the amdxdna driver sees it, served over vfio-user. See README.md beside this
file.

    generations.py   the NPUs as data, each figure with its place in the driver
    codes.py         numbers that driver and device agree on: commands, opcodes, statuses
    board.py         what every block is given
    trouble.py       why something cannot be done: an event and a status
    pci.py           configuration space and its capabilities
    registers.py     the register BARs: storage, known offsets, what a write sets off
    psp.py smu.py    the two processors that power and boot the device
    mailbox.py       rings and doorbells
    messages.py      the firmware's messages: opcodes and layouts
    script.py        rules that make the firmware misbehave
    firmware.py      the management firmware: boot, dispatch, answers
    management.py    what each management message does
    contexts.py      hardware contexts and the messages on their channels
    commands.py      commands: slots in, status out
    program.py       the instructions that a command's buffer may hold
    heap.py          the host buffers that make up a context's device heap
    iommu.py         a process's or an IOVA's address to bytes, by the guest's own tables
    events.py        the log
    control.py       the control socket
    device.py        all of it as one vfio-user device
"""
