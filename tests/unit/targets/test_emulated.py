# SPDX-License-Identifier: GPL-2.0-only
"""The host's half of the port protocol, against a scripted guest at the other end of a socket pair."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from harness.errors import InfraError
from harness.host.machine import Boot, Silence
from harness.host.npu_control import NpuRefused
from harness.host.payload import Payload
from harness.host.port import MAX_LINE, Port
from harness.host.snapshot import StateDamaged
from harness.model.kernel import Kernel, Module, Profile
from harness.model.session import SessionLost, SuiteRequest
from harness.model.variant import AddressMode, Variant
from harness.targets.emulated import EmulatedSession

KERNEL = Kernel("k", "7.3.4-xdna-k", Profile.PLAIN, Path("i"), (Path("amdxdna.ko"),), Path("b"), Path("l"))
PAYLOAD = Payload(Module("m", KERNEL, (Path("amdxdna.ko"),), "", "", Path("l")), Path("p"), Path("s"), Variant())
TAR = b"tar"
HELLO = {"event": "hello", "release": "7.3.4-xdna-k", "uptime": 3.1}
TEST = "test_x.py::test_a"


class FakeNpu:
    def __init__(self) -> None:
        self.faults: list[dict[str, Any]] = []
        self.contexts: list[list[int]] = []
        self.log: list[dict[str, Any]] = []
        self.dead = False

    def request(self, command: str, **arguments: object) -> object:
        if self.dead:
            raise InfraError("the emulated NPU does not answer")
        if command == "state":
            contexts = self.contexts.pop(0) if self.contexts else []
            return {"faults": len(self.faults), "contexts": contexts, "entries": len(self.log)}
        if command == "script" and not arguments.get("rules"):
            raise NpuRefused("a script needs rules")
        since = int(str(arguments.get("since", 0)))
        return [*self.log[since:], *self.faults] if command == "log" else {"did": command}


class FakeBoot:
    """A boot whose guest is the other end of a socket pair."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.port = Port(ours)
        self.npu = FakeNpu()
        self.running = True
        self.state: Path | None = None
        self.guest = theirs.makefile("rwb")
        self.raw = theirs

    def say(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.guest.write(json.dumps(message).encode() + b"\n")
        self.guest.flush()

    def hear(self) -> dict[str, Any]:
        heard = json.loads(self.guest.readline())
        assert isinstance(heard, dict)
        return heard

    def alive(self) -> bool:
        return self.running

    def mark(self) -> None: ...

    def console(self) -> str:
        return "console"

    def silence(self, waited: str) -> Silence:
        return Silence(False, waited, "console")


def session(boot: FakeBoot) -> EmulatedSession:
    boot.say(HELLO)
    opened = EmulatedSession(cast(Boot, boot))
    opened.payload = PAYLOAD
    opened.hello(5.0, TAR)
    assert boot.hear() == {"put": len(TAR)}
    assert boot.guest.read(len(TAR)) == TAR
    return opened


def event(name: str, sequence: int, **fields: object) -> dict[str, Any]:
    return {"event": name, "boot": 1, "attempt": 1, "seq": sequence, **fields}


def run_guest(script: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=script, daemon=True)
    thread.start()
    return thread


def test_hello_tells_the_release() -> None:
    assert session(FakeBoot()).release == "7.3.4-xdna-k"


def test_events_are_acknowledged_only_after_they_were_taken() -> None:
    boot = FakeBoot()
    opened = session(boot)
    acknowledged: list[object] = []

    def script() -> None:
        number = boot.hear()["id"]
        boot.say(event("test-start", 1, id=TEST))
        acknowledged.append(boot.hear())
        boot.say(event("test-end", 2, id=TEST, outcome="pass"))
        acknowledged.append(boot.hear())
        boot.say({"done": number, "value": 0})

    guest = run_guest(script)
    events: list[str] = []
    for got in opened.suite(SuiteRequest("heap")):
        assert len(acknowledged) == len(events)
        events.append(got["event"])
    guest.join(5)
    assert events == ["test-start", "test-end"]
    assert acknowledged == [{"ack": 1}, {"ack": 2}]


def test_tests_may_ask_the_npu_and_are_refused_in_words() -> None:
    boot = FakeBoot()
    opened = session(boot)
    answers: list[dict[str, Any]] = []

    def script() -> None:
        number = boot.hear()["id"]
        asks: tuple[tuple[str, dict[str, Any]], ...] = (
            ("npu.script", {"rules": [1]}),
            ("npu.script", {}),
            ("weather", {}),
        )
        for sequence, (what, args) in enumerate(asks, 1):
            boot.say(event("ask", sequence, what=what, args=args))
            answers.append(boot.hear())
        boot.say({"done": number, "value": 0})

    guest = run_guest(script)
    assert list(opened.suite(SuiteRequest("heap"))) == []
    guest.join(5)
    assert answers[0] == {"ack": 1, "value": {"did": "script"}}
    assert answers[1] == {"ack": 2, "error": "a script needs rules"}
    assert "weather" in answers[2]["error"]


def test_a_fault_of_the_emulation_is_an_event_of_the_test_that_ran() -> None:
    boot = FakeBoot()
    opened = session(boot)

    def script() -> None:
        number = boot.hear()["id"]
        boot.npu.faults.append({"event": "fault", "what": "unknown opcode 0x1ff"})
        boot.say(event("test-end", 1, id=TEST, outcome="fail"))
        boot.hear()
        boot.say({"done": number, "value": 0})

    guest = run_guest(script)
    events = list(opened.suite(SuiteRequest("heap")))
    guest.join(5)
    assert [e["event"] for e in events] == ["test-end", "fault"]
    assert events[1]["id"] == TEST
    assert "0x1ff" in events[1]["what"]


def test_an_npu_that_does_not_answer_is_ours_though_the_guest_lives() -> None:
    boot = FakeBoot()
    opened = session(boot)
    boot.npu.dead = True

    def script() -> None:
        boot.hear()
        boot.say(event("ask", 1, what="npu.state", args={}))

    guest = run_guest(script)
    with pytest.raises(SessionLost) as raised:
        list(opened.suite(SuiteRequest("heap")))
    guest.join(5)
    assert raised.value.lost.ours


def test_a_driver_that_does_not_load_is_the_kernels() -> None:
    boot = FakeBoot()
    opened = session(boot)
    guest = run_guest(lambda: boot.say({"done": boot.hear()["id"], "error": "OSError: [Errno 22] amdxdna.ko"}))
    with pytest.raises(SessionLost, match="does not load") as raised:
        opened.load_driver(5.0)
    guest.join(5)
    assert not raised.value.lost.ours


def load_with_carveout(boot: FakeBoot, there: bool) -> EmulatedSession:
    """A driver that loads; who writes its carveout is refused. ``there``: it has probed."""
    opened = session(boot)
    opened.payload = replace(PAYLOAD, variant=Variant(address_mode=AddressMode.CARVEOUT))

    def script() -> None:
        for answer in (
            {"value": [{"build_id": "b1d"}]},
            {"error": "PermissionError: [Errno 13] carveout"},
            {"value": {"status": 0 if there else 1, "output": ""}},
            {"value": {"status": 0, "output": "no\nmemory"}},
        ):
            heard = boot.hear()
            boot.say({"done": heard["id"], **answer})
            if heard["cmd"] == "run" and not there:
                return

    guest = run_guest(script)
    try:
        opened.load_driver(5.0)
    finally:
        guest.join(5)
    return opened


def test_a_carveout_that_the_driver_does_not_take_is_the_kernels() -> None:
    with pytest.raises(SessionLost, match="does not take its carveout") as raised:
        load_with_carveout(FakeBoot(), there=True)
    lost = raised.value.lost
    assert (lost.ours, lost.console) == (False, "console")
    assert lost.evidence.endswith("\nno\nmemory")


def test_a_driver_that_does_not_probe_is_left_to_who_looks_for_its_node() -> None:
    assert load_with_carveout(FakeBoot(), there=False).build_id == "b1d"


def test_garbage_on_the_port_is_not_believed() -> None:
    boot = FakeBoot()
    boot.guest.write(b"\x00\xff garbage\n[1, 2]\n")
    assert session(boot).release == "7.3.4-xdna-k"


def test_an_endless_line_is_cut() -> None:
    boot = FakeBoot()
    sender = run_guest(lambda: boot.raw.sendall(b"x" * (MAX_LINE + 10)))
    message = boot.port.receive(30)
    assert message is not None
    assert message["event"] == "garbled"
    sender.join(5)


def test_a_closed_port_is_a_lost_guest() -> None:
    boot = FakeBoot()
    opened = session(boot)
    boot.guest.close()
    boot.raw.close()
    with pytest.raises(SessionLost):
        opened.run(["true"])


def test_a_silent_guest_is_lost_within_its_limit() -> None:
    boot = FakeBoot()
    with pytest.raises(SessionLost, match="1 s in vain"):
        EmulatedSession(cast(Boot, boot)).hello(1.0, TAR)


def test_an_agent_that_refuses_is_our_error() -> None:
    boot = FakeBoot()
    opened = session(boot)
    guest = run_guest(lambda: boot.say({"done": boot.hear()["id"], "error": "no such file"}))
    with pytest.raises(InfraError, match="no such file"):
        opened.get("/nowhere")
    guest.join(5)


def wake(boot: FakeBoot, clock: float) -> None:
    heard = boot.hear()
    assert len(heard["entropy"]) > 40
    value = {"release": "7.3.4-xdna-k", "build_id": "b1d", "time": heard["time"] + clock, "random": ["a", "b"]}
    boot.say({"done": heard["id"], "value": value})


def test_a_restored_guest_says_who_it_is_and_gets_clock_and_entropy() -> None:
    boot = FakeBoot()
    opened = EmulatedSession(cast(Boot, boot))
    opened.payload = PAYLOAD
    guest = run_guest(lambda: wake(boot, 0.5))
    assert opened.thaw() == ("a", "b")
    guest.join(5)
    assert (opened.release, opened.build_id) == ("7.3.4-xdna-k", "b1d")


def test_a_restored_guest_whose_clock_stands_still_is_not_believed() -> None:
    boot = FakeBoot()
    opened = EmulatedSession(cast(Boot, boot))
    opened.payload = PAYLOAD
    guest = run_guest(lambda: wake(boot, -3600.0))
    with pytest.raises(StateDamaged, match="clock"):
        opened.thaw()
    guest.join(5)


def test_a_guest_that_dies_while_it_is_restored_is_a_damaged_state() -> None:
    boot = FakeBoot()
    opened = EmulatedSession(cast(Boot, boot))
    opened.payload = PAYLOAD
    boot.guest.close()
    boot.raw.close()
    with pytest.raises(StateDamaged, match="did not wake up"):
        opened.thaw()


def test_contexts_in_firmware_are_counted_once_those_that_end_late_are_gone() -> None:
    boot = FakeBoot()
    opened = session(boot)
    boot.npu.contexts = [[1], [1, 2], [1, 2], [1]]

    def script() -> None:
        number = boot.hear()["id"]
        boot.say(event("test-start", 1, id=TEST))
        boot.hear()
        boot.say(event("test-end", 2, id=TEST, outcome="pass"))
        boot.hear()
        boot.say({"done": number, "value": 0})

    guest = run_guest(script)
    events = list(opened.suite(SuiteRequest("heap")))
    guest.join(5)
    assert [e["outside"] for e in events] == [{"npu.contexts": 1}, {"npu.contexts": 1}]


def test_the_largest_heap_of_a_test_is_what_was_announced_while_it_ran() -> None:
    boot = FakeBoot()
    opened = session(boot)

    def announced(name: str, size: int) -> dict[str, Any]:
        return {"name": name, "status": 0, "request": {"context_id": 1, "buf_size": size}}

    boot.npu.log = [announced("MAP_HOST_BUFFER", 9 << 20)]

    def script() -> None:
        number = boot.hear()["id"]
        boot.say(event("test-start", 1, id=TEST))
        boot.hear()
        boot.npu.log += [announced("MAP_HOST_BUFFER", 2 << 20), announced("ADD_HOST_BUFFER", 1 << 20)]
        boot.say(event("test-end", 2, id=TEST, outcome="pass"))
        boot.hear()
        boot.say(event("test-start", 3, id=TEST))
        boot.hear()
        boot.say(event("test-end", 4, id=TEST, outcome="pass"))
        boot.hear()
        boot.say({"done": number, "value": 0})

    guest = run_guest(script)
    events = [e for e in opened.suite(SuiteRequest("heap")) if e["event"] == "test-end"]
    guest.join(5)
    assert events[0]["outside"] == {"npu.contexts": 0, "npu.heap": 3 << 20, "npu.chunks": 2}
    assert events[1]["outside"] == {"npu.contexts": 0}
