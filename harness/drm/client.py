# SPDX-License-Identifier: GPL-2.0-only
"""One open file of the device: every ioctl as a method, with the kernel's answer as OSError.

Nothing here retries, checks or repairs: a wrong argument goes to the kernel as it is.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from harness.drm import ioctl, memory, structs
from harness.drm.memory import Mapping
from harness.drm.structs import Array, BoType, HwctxParam, Info

_WAIT_ALL = 1 << 0
_WAIT_FOR_SUBMIT = 1 << 1
_STATE_BYTES = 8
_O_CLOEXEC_RDWR = os.O_CLOEXEC | os.O_RDWR
TILES_PER_COLUMN = 4


@dataclass(frozen=True)
class BoInfo:
    """GET_BO_INFO: addresses in bytes, ``structs.INVALID`` where there is none."""

    map_offset: int
    vaddr: int
    xdna_addr: int


@dataclass(frozen=True)
class Usage:
    """GET_ARRAY BO_USAGE of one process, in bytes."""

    total: int
    internal: int
    heap: int


@dataclass(frozen=True)
class Hwctx:
    """A hardware context's handle, and the syncobj whose timeline its commands signal."""

    handle: int
    syncobj: int


class Client:
    """An open file. Mappings made through it are undone by :meth:`close`, before the file is closed.

    (A mapping that stays keeps the file open, and the driver frees nothing.)
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._mappings: list[Mapping] = []

    @classmethod
    def open(cls, node: Path | str) -> Client:
        """Open the device's node. Raises OSError; EINVAL: neither PASID nor IOVA nor carveout can be had."""
        return cls(os.open(node, os.O_RDWR | os.O_CLOEXEC))

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Unmap what is still mapped and close the file. A second call does nothing."""
        while self._mappings:
            self._mappings.pop().unmap()
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def leave_mappings(self) -> list[Mapping]:
        """The mappings, the caller's from now on: :meth:`close` leaves them, and they keep what the driver has."""
        mappings, self._mappings = self._mappings, []
        return mappings

    # Buffers

    def create_bo(self, kind: int, size: int, *, vaddr: int = 0, flags: int = 0) -> int:
        """CREATE_BO: the new handle. ``vaddr`` is the address of a va table (user memory)."""
        request = structs.CreateBo(flags=flags, vaddr=vaddr, size=size, type=kind)
        ioctl.call(self.fd, ioctl.CREATE_BO, request)
        return int(request.handle)

    def create_bo_call(self, kind: int, size: int) -> Callable[[], int]:
        """The bare CREATE_BO, to be called later, once: 0 or the negative errno. The handle is nobody's."""
        return partial(ioctl.try_call, self.fd, ioctl.CREATE_BO, structs.CreateBo(size=size, type=kind))

    def create_user_bo(self, pieces: Sequence[tuple[int, int]], kind: int = BoType.SHARE, size: int = 0) -> int:
        """CREATE_BO over memory of this process: ``pieces`` of (address, bytes), page aligned.

        ``size`` is what the call says, when it is not to be their sum (which is what the driver goes by).
        """
        header = bytes(structs.VaTableHeader(dmabuf_fd=-1, num_entries=len(pieces)))
        entries = b"".join(bytes(structs.VaEntry(vaddr=start, len=size)) for start, size in pieces)
        table = ctypes.create_string_buffer(header + entries)
        return self.create_bo(kind, size or sum(length for _, length in pieces), vaddr=ctypes.addressof(table))

    def create_dma_buf_bo(self, fd: int, size: int) -> int:
        """CREATE_BO of a dma-buf, by a table without entries. ``size`` is only what the call says."""
        table = ctypes.create_string_buffer(bytes(structs.VaTableHeader(dmabuf_fd=fd, num_entries=0)))
        return self.create_bo(BoType.SHARE, size, vaddr=ctypes.addressof(table))

    def bo_info(self, handle: int) -> BoInfo:
        """GET_BO_INFO."""
        request = structs.GetBoInfo(handle=handle)
        ioctl.call(self.fd, ioctl.GET_BO_INFO, request)
        return BoInfo(int(request.map_offset), int(request.vaddr), int(request.xdna_addr))

    def map_bo(self, handle: int, size: int, *, address: int = 0, flags: int = memory.MAP_SHARED) -> Mapping:
        """mmap ``size`` bytes of a buffer, at ``address`` when it is given (MAP_FIXED)."""
        offset = self.bo_info(handle).map_offset
        fixed = memory.MAP_FIXED if address else 0
        start = memory.mmap(address, size, memory.PROT_RW, flags | fixed, self.fd, offset)
        mapping = Mapping(start, size)
        self._mappings.append(mapping)
        return mapping

    def mmap_call(self, handle: int, size: int, address: int) -> Callable[[], int]:
        """The bare mmap of a buffer at ``address``, to be called later: the address or the negative errno.

        The mapping is nobody's: :meth:`close` does not undo it.
        """
        offset = self.bo_info(handle).map_offset
        flags = memory.MAP_SHARED | memory.MAP_FIXED
        return partial(memory.try_mmap, address, size, memory.PROT_RW, flags, self.fd, offset)

    def unmap(self, mapping: Mapping) -> None:
        """munmap a mapping that :meth:`map_bo` made."""
        self._mappings.remove(mapping)
        mapping.unmap()

    def close_bo(self, handle: int) -> None:
        """GEM_CLOSE."""
        ioctl.call(self.fd, ioctl.GEM_CLOSE, structs.GemClose(handle=handle))

    def sync_bo(self, handle: int, offset: int, size: int, direction: int = structs.SYNC_TO_DEVICE) -> None:
        """SYNC_BO: flush ``size`` bytes at ``offset`` out of the CPU's caches."""
        request = structs.SyncBo(handle=handle, direction=direction, offset=offset, size=size)
        ioctl.call(self.fd, ioctl.SYNC_BO, request)

    def export(self, handle: int) -> int:
        """PRIME_HANDLE_TO_FD: a new dma-buf file descriptor, the caller's to close."""
        request = structs.PrimeHandle(handle=handle, flags=_O_CLOEXEC_RDWR, fd=-1)
        ioctl.call(self.fd, ioctl.PRIME_HANDLE_TO_FD, request)
        return int(request.fd)

    def import_fd(self, fd: int) -> int:
        """PRIME_FD_TO_HANDLE: the buffer behind a dma-buf, as a handle of this file."""
        request = structs.PrimeHandle(fd=fd)
        ioctl.call(self.fd, ioctl.PRIME_FD_TO_HANDLE, request)
        return int(request.handle)

    def flink(self, handle: int) -> int:
        """GEM_FLINK: a name of the buffer that any file may open. On accel devices for CAP_SYS_ADMIN only (EACCES)."""
        request = structs.GemFlink(handle=handle)
        ioctl.call(self.fd, ioctl.GEM_FLINK, request)
        return int(request.name)

    def open_name(self, name: int) -> int:
        """GEM_OPEN: the buffer of that name, as a handle of this file."""
        request = structs.GemOpen(name=name)
        ioctl.call(self.fd, ioctl.GEM_OPEN, request)
        return int(request.handle)

    # Hardware contexts and commands

    def create_hwctx(self, columns: int = 1, *, priority: int = structs.PRIORITY_NORMAL, fps: int = 0) -> Hwctx:
        """CREATE_HWCTX over ``columns`` columns of 4 core tiles. With ``fps`` the driver looks for the power level that
        is just enough; without, it takes the highest."""
        qos = structs.QosInfo(gops=100, fps=fps, priority=priority)
        request = structs.CreateHwctx(qos_p=ctypes.addressof(qos), max_opc=0x800, num_tiles=columns * TILES_PER_COLUMN)
        ioctl.call(self.fd, ioctl.CREATE_HWCTX, request)
        return Hwctx(int(request.handle), int(request.syncobj_handle))

    def destroy_hwctx(self, hwctx: Hwctx) -> None:
        """DESTROY_HWCTX, and the syncobj handle, which user space owns."""
        ioctl.call(self.fd, ioctl.DESTROY_HWCTX, structs.DestroyHwctx(handle=hwctx.handle))
        self.destroy_syncobj(hwctx.syncobj)

    def config_cu(self, hwctx: Hwctx, cus: Sequence[tuple[int, int]]) -> None:
        """CONFIG_HWCTX CONFIG_CU: ``cus`` are (DEV BO handle, function)."""
        data = bytes(structs.ConfigCuHeader(num_cus=len(cus)))
        data += b"".join(bytes(structs.CuConfig(cu_bo=bo, cu_func=function)) for bo, function in cus)
        buffer = ctypes.create_string_buffer(data, len(data))
        request = structs.ConfigHwctx(
            handle=hwctx.handle,
            param_type=HwctxParam.CONFIG_CU,
            param_val=ctypes.addressof(buffer),
            param_val_size=len(data),
        )
        ioctl.call(self.fd, ioctl.CONFIG_HWCTX, request)

    def attach_debug_bo(self, hwctx: Hwctx, handle: int) -> None:
        """CONFIG_HWCTX ASSIGN_DBG_BUF: firmware keeps its debug data in this DEV BO."""
        self._config_debug(hwctx, HwctxParam.ASSIGN_DBG_BUF, handle)

    def detach_debug_bo(self, hwctx: Hwctx, handle: int) -> None:
        """CONFIG_HWCTX REMOVE_DBG_BUF."""
        self._config_debug(hwctx, HwctxParam.REMOVE_DBG_BUF, handle)

    def _config_debug(self, hwctx: Hwctx, kind: HwctxParam, handle: int) -> None:
        request = structs.ConfigHwctx(handle=hwctx.handle, param_type=kind, param_val=handle)
        ioctl.call(self.fd, ioctl.CONFIG_HWCTX, request)

    def exec_cmd(self, hwctx: Hwctx, command: int, arguments: Sequence[int] = ()) -> int:
        """EXEC_CMD: submit a command BO with its argument BOs; its point on the context's timeline."""
        handles = (ctypes.c_uint32 * max(1, len(arguments)))(*arguments)
        request = structs.ExecCmd(
            hwctx=hwctx.handle,
            cmd_handles=command,
            args=ctypes.addressof(handles) if arguments else 0,
            cmd_count=1,
            arg_count=len(arguments),
        )
        ioctl.call(self.fd, ioctl.EXEC_CMD, request)
        return int(request.seq)

    def wait(self, hwctx: Hwctx, seq: int, timeout: float = 10.0) -> None:
        """Wait for a command on its context's timeline. Raises OSError, ETIME after ``timeout`` seconds."""
        handle, point = ctypes.c_uint32(hwctx.syncobj), ctypes.c_uint64(seq)
        request = structs.SyncobjTimelineWait(
            handles=ctypes.addressof(handle),
            points=ctypes.addressof(point),
            timeout_nsec=time.monotonic_ns() + int(timeout * 1e9),
            count_handles=1,
            flags=_WAIT_ALL | _WAIT_FOR_SUBMIT,
        )
        ioctl.call(self.fd, ioctl.SYNCOBJ_TIMELINE_WAIT, request)

    def create_syncobj(self) -> int:
        """SYNCOBJ_CREATE: the lowest free handle of this file."""
        request = structs.SyncobjCreate()
        ioctl.call(self.fd, ioctl.SYNCOBJ_CREATE, request)
        return int(request.handle)

    def destroy_syncobj(self, handle: int) -> None:
        """SYNCOBJ_DESTROY."""
        ioctl.call(self.fd, ioctl.SYNCOBJ_DESTROY, structs.SyncobjDestroy(handle=handle))

    # Queries

    def get_info(self, what: Info, size: int, question: bytes = b"") -> bytes:
        """GET_INFO: at most ``size`` bytes of an answer, in a buffer that begins with ``question``."""
        buffer = ctypes.create_string_buffer(question, size)
        request = structs.GetInfo(param=what, buffer_size=size, buffer=ctypes.addressof(buffer))
        ioctl.call(self.fd, ioctl.GET_INFO, request)
        return buffer.raw[: min(size, int(request.buffer_size))]

    def set_state(self, what: structs.State, value: int) -> None:
        """SET_STATE (root only): a power mode, or a switch that is 0 or 1."""
        buffer = ctypes.create_string_buffer(bytes([value]), _STATE_BYTES)
        request = structs.SetState(param=what, buffer_size=_STATE_BYTES, buffer=ctypes.addressof(buffer))
        ioctl.call(self.fd, ioctl.SET_STATE, request)

    def get_array(self, what: Array, element: bytes, count: int = 1) -> list[bytes]:
        """GET_ARRAY: up to ``count`` elements as large as ``element``, which also carries the question."""
        size = len(element)
        buffer = ctypes.create_string_buffer(element, size * count)
        request = structs.GetArray(param=what, element_size=size, num_element=count, buffer=ctypes.addressof(buffer))
        ioctl.call(self.fd, ioctl.GET_ARRAY, request)
        step = int(request.element_size)
        return [buffer.raw[k * step : (k + 1) * step] for k in range(int(request.num_element))]

    def usage(self, pid: int = 0) -> Usage:
        """What the files that process ``pid`` (this one when 0) opened use, summed."""
        question = structs.BoUsage(pid=pid or os.getpid())
        answer = structs.BoUsage.from_buffer_copy(self.get_array(Array.BO_USAGE, bytes(question))[0])
        return Usage(int(answer.total_usage), int(answer.internal_usage), int(answer.heap_usage))

    def column_status(self, size: int) -> bytes:
        """GET_INFO AIE_STATUS: ``size`` bytes of what firmware writes about the columns."""
        buffer = ctypes.create_string_buffer(size)
        question = structs.AieStatus(buffer=ctypes.addressof(buffer), buffer_size=size)
        self.get_info(Info.AIE_STATUS, ctypes.sizeof(question), bytes(question))
        return buffer.raw

    def contexts_alive(self) -> int:
        """How many contexts the driver thinks firmware has, of all clients (npu_task_curr)."""
        data = self.get_info(Info.RESOURCE_INFO, ctypes.sizeof(structs.ResourceInfo))
        return int(structs.ResourceInfo.from_buffer_copy(data).npu_task_curr)

    def fdinfo_bytes(self, name: str) -> int:
        """A size that fdinfo shows for this driver, such as "heap-alloc" or "internal-alloc"."""
        number, *unit = self.fdinfo()[f"amdxdna_accel_driver-{name}"].split()
        return int(number) * {"": 1, "KiB": 1 << 10, "MiB": 1 << 20}["".join(unit)]

    def fdinfo(self) -> dict[str, str]:
        """/proc/self/fdinfo of this file, by key."""
        lines = Path(f"/proc/self/fdinfo/{self.fd}").read_text().splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
