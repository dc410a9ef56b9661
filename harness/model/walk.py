# SPDX-License-Identifier: GPL-2.0-only
"""A random walk over what user space, an allocator without memory and a firmware may do: a script, from a seed alone.

It only remembers what would be there if all went well, so that few steps are idle.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from harness.model.script import Script, Step, step

STEPS = 60
FILES, BUFFERS, CONTEXTS, DMA_BUFS, NAMES = 3, 6, 3, 3, 2
"""So many of each at most; a step names them by number."""
DEAR = 3
"""So many steps of a walk may cost seconds: answers that do not come, commands that hang, processes that are killed."""

COMPANY = ("bo", "free", "chunk", "map", "unmap", "destroy", "run", "sync", "usage", "info", "close")
"""What may be done at the same time as the next step."""
UNMAPPABLE = ("dev", "user")
DEV_KIB = (4, 32, 100, 1024, 8 << 10, 40 << 10, 64 << 10, 100 << 10, 150 << 10)
SHARE_KIB = (4, 64, 1024, 8 << 10)
CHUNKS = (1, 1, 1, 1, 2, 3)
OPCODES = (
    "CREATE_CONTEXT",
    "DESTROY_CONTEXT",
    "MAP_HOST_BUFFER",
    "ADD_HOST_BUFFER",
    "CONFIG_CU",
    "CHAIN_EXEC_NPU",
    "GET_APP_HEALTH",
    "QUERY_COL_STATUS",
    "GET_TELEMETRY",
    "CONFIG_DEBUG_BO",
    "SYNC_BO",
)
CHEAP_WAYS, DEAR_WAYS = ("refused", "size", "garbage"), ("id", "late", "never", "tail", "magic")


def walk(seed: int, steps: int = STEPS) -> Script:
    """The walk of a seed: the same for ever, as long as this file is."""
    return _Walk(random.Random(seed)).go(steps)


@dataclass
class _File:
    """What an open file has, if all went well: buffers by number and kind; what is mapped; contexts."""

    buffers: dict[int, str] = field(default_factory=dict)
    mapped: set[int] = field(default_factory=set)
    contexts: set[int] = field(default_factory=set)


class _Walk:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.files: dict[int, _File] = {}
        self.dma_bufs: set[int] = set()
        self.names: set[int] = set()
        self.dear = DEAR
        self.choices: list[tuple[Callable[[], list[Step]], int]] = [
            (self.open, 2),
            (self.close, 2),
            (self.chunk, 5),
            (self.bo, 9),
            (self.user, 3),
            (self.map, 5),
            (self.change, 3),
            (self.free, 5),
            (self.sync, 3),
            (self.share, 8),
            (self.context, 6),
            (self.destroy, 3),
            (self.run, 9),
            (self.odd_command, 3),
            (self.debug, 2),
            (self.query, 4),
            (self.firmware, 3),
            (self.process, 1),
            (self.sleep, 1),
        ]

    def go(self, steps: int) -> Script:
        script: list[Step] = []
        if self.chance.random() < 0.8:
            script += self.beginning()
        acts, weights = zip(*self.choices, strict=True)
        while len(script) < steps:
            (act,) = self.chance.choices(acts, weights)
            script += [self.troubled(each) for each in act()]
        return tuple(script[:steps])

    def troubled(self, one: Step) -> Step:
        """Now and then an allocation fails in a step, or it has company."""
        dice = self.chance.random()
        if dice < 0.12 and one.do not in ("firmware", "sleep", "fork", "victim"):
            nth = self.chance.choice((1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 23, 30))
            return replace(one, about=(*one.about, ("fail", nth)))
        if dice < 0.22 and one.do in COMPANY:
            return replace(one, about=(*one.about, ("beside", 1)))
        return one

    def beginning(self) -> list[Step]:
        file = self.files.setdefault(0, _File({0: "chunk"}, {0}))
        steps = [step("open", file=0), step("chunk", file=0, slot=0, units=1), step("map", file=0, slot=0)]
        if self.chance.random() < 0.6:
            file.contexts.add(0)
            steps += [step("context", file=0, context=0, columns=1), step("run", file=0, context=0, what="store")]
        return steps

    # Each of these is one or a few steps, none when there is nothing to do it to.

    def open(self) -> list[Step]:
        free = [n for n in range(FILES) if n not in self.files]
        if not free:
            return []
        file = self.files[free[0]] = _File()
        made = [step("open", file=free[0])]
        if self.chance.random() < 0.6:
            file.buffers[0] = "chunk"
            file.mapped.add(0)
            made += [step("chunk", file=free[0], slot=0, units=1), step("map", file=free[0], slot=0)]
        return made

    def close(self) -> list[Step]:
        number, _ = self._file()
        if number is None or self.chance.random() < 0.4:
            return []
        del self.files[number]
        return [step("close", file=number, keep=self.chance.choice((0, 0, 1)))]

    def chunk(self) -> list[Step]:
        number, file = self._file()
        slot = self._free_slot(file)
        if number is None or slot is None:
            return []
        file.buffers[slot] = "chunk"
        made = [step("chunk", file=number, slot=slot, units=self.chance.choice(CHUNKS))]
        if self.chance.random() < 0.85:
            file.mapped.add(slot)
            made.append(step("map", file=number, slot=slot))
        return made

    def bo(self) -> list[Step]:
        number, file = self._file()
        slot = self._free_slot(file)
        if number is None or slot is None:
            return []
        kind = self.chance.choice(("dev", "dev", "dev", "share", "cmd"))
        file.buffers[slot] = kind
        kib = self.chance.choice(DEV_KIB if kind == "dev" else SHARE_KIB)
        return [step("bo", file=number, slot=slot, kind=kind, kib=kib)]

    def user(self) -> list[Step]:
        number, file = self._file()
        slot = self._free_slot(file)
        if number is None or slot is None:
            return []
        file.buffers[slot] = "user"
        kind = self.chance.choice(("share", "share", "cmd", "chunk"))
        pages = self.chance.choice((1, 2, 16, 300))
        return [step("user", file=number, slot=slot, kind=kind, pages=pages, hole=int(self.chance.random() < 0.2))]

    def map(self) -> list[Step]:
        """Any buffer that can be mapped and is not; now and then one that cannot."""
        number, file = self._file()
        odd = self.chance.random() < 0.1
        able = [
            n for n, kind in sorted(file.buffers.items()) if odd or (kind not in UNMAPPABLE and n not in file.mapped)
        ]
        if number is None or not able:
            return []
        slot = self.chance.choice(able)
        file.mapped.add(slot)
        return [step("map", file=number, slot=slot)]

    def change(self) -> list[Step]:
        number, file = self._file()
        if number is None or not file.mapped:
            return []
        slot = self.chance.choice(sorted(file.mapped))
        rough = file.buffers.get(slot) != "chunk" or self.chance.random() < 0.3  # nothing runs on a heap that was cut
        how = self.chance.choice(("unmap", "cut", "protect") if rough else ("unmap",))
        if how == "protect":
            return [step(how, file=number, slot=slot, prot=self.chance.choice((0, 1, 3)))]
        if how == "unmap":
            file.mapped.discard(slot)
        return [step(how, file=number, slot=slot)]

    def free(self) -> list[Step]:
        def gone(file: _File, slot: int) -> None:
            del file.buffers[slot]
            file.mapped.discard(slot)

        return self._on_buffer("free", gone)

    def sync(self) -> list[Step]:
        found = self._on_buffer("sync", lambda file, slot: None)
        about = (("offset", self.chance.choice((0, 0, 4, 4096, 1 << 20))), ("kib", self.chance.choice((0, 1, 4, 1024))))
        back = ("back", int(self.chance.random() < 0.2))
        return [replace(one, about=(*one.about, *about, back)) for one in found]

    def share(self) -> list[Step]:
        """A buffer goes to another file, by dma-buf or by name."""
        number, file = self._file()
        if number is None:
            return []
        what = self.chance.choice(("export", "import", "import", "forget", "name", "find"))
        if what in ("export", "name"):
            if not file.buffers:
                return []
            slot = self.chance.choice(sorted(file.buffers))
            keys, most = (self.dma_bufs, DMA_BUFS) if what == "export" else (self.names, NAMES)
            key = self.chance.randrange(most)
            keys.add(key)
            return [step(what, file=number, slot=slot, **{"dma_buf" if what == "export" else "name": key})]
        if what == "forget":
            return [step(what, dma_buf=key) for key in self._any(self.dma_bufs)]
        free = self._free_slot(file)
        there = self._any(self.dma_bufs if what == "import" else self.names)
        if free is None or not there:
            return []
        file.buffers[free] = "shared"
        return [step(what, file=number, slot=free, **{"dma_buf" if what == "import" else "name": there[0]})]

    def context(self) -> list[Step]:
        number, file = self._file()
        free = [n for n in range(CONTEXTS) if n not in file.contexts]
        heap = any(file.buffers.get(slot) == "chunk" for slot in file.mapped)
        if number is None or not free or (not heap and self.chance.random() < 0.9):
            return []
        file.contexts.add(free[0])
        return [step("context", file=number, context=free[0], columns=self.chance.choice((1, 1, 1, 2, 4, 8, 0)))]

    def destroy(self) -> list[Step]:
        number, file = self._file()
        if number is None or not file.contexts:
            return []
        context = self.chance.choice(sorted(file.contexts))
        file.contexts.discard(context)
        return [step("destroy", file=number, context=context)]

    def run(self) -> list[Step]:
        number, file = self._file()
        if number is None or not file.contexts:
            return []
        what = self.chance.choice(("store", "store", "store", "fail", "hang"))
        if what == "hang" and not self._pay():
            what = "store"
        command = step("run", file=number, context=self.chance.choice(sorted(file.contexts)), what=what)
        if file.buffers and self.chance.random() < 0.5:
            command = replace(command, about=(*command.about, ("slot", self.chance.choice(sorted(file.buffers)))))
        if self.chance.random() < 0.3:
            command = replace(command, about=(*command.about, ("leave", 1)))
        return [command]

    def odd_command(self) -> list[Step]:
        number, file = self._file()
        if number is None or not file.contexts:
            return []
        context = self.chance.choice(sorted(file.contexts))
        if self.chance.random() < 0.4:
            return [step("chain", file=number, context=context, commands=self.chance.choice((1, 2, 5, 24, 200)))]
        opcode = self.chance.choice((0, 18, 19, 20, 21, 22, 30))
        count = self.chance.choice((0, 1, 2, 5, 8, 40, 1023, 2047))
        word = self.chance.choice((0, 1, 3))
        return [step("packet", file=number, context=context, opcode=opcode, count=count, word=word)]

    def debug(self) -> list[Step]:
        number, file = self._file()
        devs = sorted(slot for slot, kind in file.buffers.items() if kind == "dev")
        if number is None or not file.contexts or not devs:
            return []
        about = {"context": self.chance.choice(sorted(file.contexts)), "slot": self.chance.choice(devs)}
        return [step(self.chance.choice(("attach", "attach", "detach")), file=number, **about)]

    def query(self) -> list[Step]:
        number, _ = self._file()
        if number is None:
            return []
        what = self.chance.choice(("info", "array", "columns", "usage", "usage"))
        if what == "info":
            return [step(what, file=number, what=self.chance.randrange(15), size=self.chance.choice((1, 4, 64, 4096)))]
        if what == "array":
            size, count = self.chance.choice((1, 32, 144, 4096)), self.chance.choice((1, 1, 4, 1024))
            return [step(what, file=number, what=self.chance.choice((0, 1, 2, 6)), size=size, count=count)]
        if what == "columns":
            return [step(what, file=number, size=self.chance.choice((64, 4096)))]
        return [step(what, file=number)]

    def firmware(self) -> list[Step]:
        """The next message of a name is not answered well; or all are again."""
        if self.chance.random() < 0.2:
            return [step("firmware", way="well")]
        way = self.chance.choice(CHEAP_WAYS)
        if self.chance.random() < 0.3 and self._pay():
            way = self.chance.choice(DEAR_WAYS)
        opcode = self.chance.choice(OPCODES)
        return [step("firmware", way=way, opcode=opcode, skip=self.chance.choice((0, 0, 0, 1, 2)))]

    def process(self) -> list[Step]:
        if self.chance.random() < 0.3 and self._pay():
            units, hang = self.chance.choice((1, 2)), int(self.chance.random() < 0.3)
            return [step("victim", units=units, context=self.chance.choice((0, 1)), hang=hang)]
        number, _ = self._file()
        if number is None:
            return []
        return [step("fork", file=number, what=self.chance.choice(("exit", "read", "use")))]

    def sleep(self) -> list[Step]:
        return [step("sleep")]

    def _pay(self) -> bool:
        self.dear -= 1
        return self.dear >= 0

    def _file(self) -> tuple[int | None, _File]:
        if not self.files:
            return None, _File()
        number = self.chance.choice(sorted(self.files))
        return number, self.files[number]

    def _free_slot(self, file: _File) -> int | None:
        free = [n for n in range(BUFFERS) if n not in file.buffers]
        return self.chance.choice(free) if free else None

    def _on_buffer(self, do: str, then: Callable[[_File, int], object]) -> list[Step]:
        number, file = self._file()
        if number is None or not file.buffers:
            return []
        slot = self.chance.choice(sorted(file.buffers))
        then(file, slot)
        return [step(do, file=number, slot=slot)]

    def _any(self, keys: set[int]) -> list[int]:
        return [self.chance.choice(sorted(keys))] if keys else []
