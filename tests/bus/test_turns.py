"""Who asks much keeps nobody waiting."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmx7wg.bus import turns as module
from bmx7wg.bus.client import Client
from bmx7wg.bus.errors import CallError
from bmx7wg.bus.names import PEER_STANDARD, ROOT
from bmx7wg.bus.turns import MAX_WAITING, Answer, Pause, Turns
from bmx7wg.bus.wire import Header, Kind

from .daemon import ROOT as TREE
from .daemon import Daemon
from .polkit import NOBODY
from .samples import on_the_bus, peer, until


def call(sender: str, size: int = 0) -> Header:
    return Header("<", Kind.CALL, 0, 1, size, sender=sender)


class Bench:
    """Turns, and what was answered in which order."""

    def __init__(self) -> None:
        self.room = True
        self.turns = Turns(self.refresh, lambda: self.room)
        self.refreshed = 0
        self.done: list[str] = []

    async def refresh(self) -> None:
        self.refreshed += 1

    def put(self, caller: str, *pauses: Pause, size: int = 0, last: bool = False) -> None:
        def answer() -> Iterator[Pause]:
            yield from pauses
            self.done.append(caller)

        self.turns.put(call(caller, size), answer(), last=last)


def test_the_last_call_is_answered_at_once_if_nobody_waits(run_async) -> None:
    async def look() -> None:
        bench = Bench()
        bench.put("a", last=True)
        assert bench.done == ["a"]
        bench.put("b")
        bench.put("c", last=True)
        assert bench.done == ["a"]
        bench.turns.serve()
        assert bench.done == ["a", "b", "c"]
        bench.put("d", Pause.LONG, last=True)
        bench.put("e", Pause.TURN, last=True)
        assert bench.done == ["a", "b", "c"]
        bench.turns.serve()
        assert bench.done == ["a", "b", "c", "e", "d"]

    run_async(look())


def test_callers_take_turns(run_async) -> None:
    async def look() -> None:
        bench = Bench()
        for caller in "aaaabbc":
            bench.put(caller)
        bench.turns.serve()
        assert "".join(bench.done) == "abcabaa"

    run_async(look())


def test_an_answer_that_takes_long_lets_others_by(run_async) -> None:
    async def look() -> None:
        bench = Bench()
        bench.put("a", *[Pause.TURN] * 3)
        for caller in "bbb":
            bench.put(caller)
        bench.turns.serve()
        assert "".join(bench.done) == "bbba"

    run_async(look())


def test_a_turn_of_the_loop_is_bounded(run_async) -> None:
    async def look() -> None:
        bench = Bench()

        def slow() -> Answer:
            time.sleep(module.TURN)
            bench.done.append("a")
            return iter(())

        def answers() -> Iterator[Pause]:
            yield from slow()

        for _ in range(5):
            bench.turns.put(call("a"), answers())
        bench.turns.serve()
        assert len(bench.done) == 1
        await until(lambda: len(bench.done) == 5)

    run_async(look())


def test_waiting_calls_are_bounded(run_async) -> None:
    async def look() -> None:
        bench = Bench()
        for _ in range(MAX_WAITING):
            bench.put("a")
        with pytest.raises(CallError):
            bench.put("a")
        bench.put("b", size=module.MAX_WAITING_BYTES)
        bench.put("c")
        with pytest.raises(CallError):
            bench.put("c")
        bench.turns.serve()
        await until(lambda: len(bench.done) == MAX_WAITING + 2)
        bench.put("a")
        bench.put("a")

    run_async(look())


def test_one_refresh_serves_all_who_wait(run_async) -> None:
    async def look() -> None:
        bench = Bench()
        for caller in "aab":
            bench.put(caller, Pause.FRESH)
        bench.turns.serve()
        assert not bench.done
        await until(lambda: len(bench.done) == 3)
        assert bench.refreshed == 1 and bench.turns.fresh
        await bench.turns.close()

    run_async(look())


def test_a_long_answer_waits_for_room_and_a_short_one_does_not(run_async) -> None:
    async def look() -> None:
        bench = Bench()
        bench.room = False
        bench.put("a", Pause.LONG)
        bench.put("b", Pause.LONG)
        bench.put("c")
        bench.turns.serve()
        assert bench.done == ["c"]
        bench.room = True
        bench.turns.serve()
        assert bench.done == ["c", "a"], "one at a time"
        bench.turns.drained()
        await until(lambda: bench.done == ["c", "a", "b"])

    run_async(look())


def test_long_answers_have_their_share_of_the_time(
    run_async, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONG_CREDIT", 0.0)

    async def look() -> None:
        bench = Bench()
        bench.put("a", Pause.LONG)
        bench.put("a", Pause.LONG)
        began = time.monotonic()
        bench.turns.serve()
        time.sleep(0.05)  # the bus takes that long for it
        bench.turns.drained()
        for _ in range(100):  # others don't bring it nearer
            bench.put("b")
            bench.turns.serve()
        assert bench.done == ["a"] + ["b"] * 100
        await until(lambda: bench.done[-1] == "a")
        assert time.monotonic() - began >= 0.05 / module.LONG_SHARE * 0.9

    run_async(look())


def test_answers_go_on_when_the_connection_ended(run_async) -> None:
    async def look() -> None:
        bench = Bench()
        bench.put("a", Pause.LONG)
        bench.put("b", Pause.LONG)
        bench.turns.serve()
        bench.turns.disconnected()
        await until(lambda: bench.done == ["a", "b"])

    run_async(look())


# -- through the real bus

FLOOD = """
import asyncio, itertools, sys
from bmx7wg.bus.connection import Connection
from bmx7wg.bus.names import MANAGER, NAME, OBJECT_MANAGER, PROPERTIES, ROOT
from bmx7wg.bus.values import marshal
from bmx7wg.bus.wire import Kind

JUNK = marshal("u", (2_000_000,)) + bytes(2_000_000)

def call(number):
    kind = sys.argv[1]
    if kind == "silent":
        return b"", dict(flags=1, interface=MANAGER, member="Describe")
    if kind == "junk":
        return JUNK, dict(interface=MANAGER, member="GetPeerByNodeId", signature="ay")
    if kind == "signatures":
        inside = bin(number % 3000)[2:].replace("0", "u").replace("1", "i")
        values = (MANAGER, "State", (f"({inside})", [0] * len(inside)))
        return marshal("ssv", values), dict(interface=PROPERTIES, member="Set", signature="ssv")
    return b"", dict(interface=OBJECT_MANAGER, member="GetManagedObjects")

async def main():
    connection = Connection()
    await connection.open()
    print("ready", flush=True)
    waiting = set()
    for number in itertools.count():
        body, fields = call(number)
        if "flags" not in fields:
            waiting.add(connection._stream.expect(connection._stream.next_serial() + 1))
        connection._send(Kind.CALL, body, destination=NAME, path=ROOT, **fields)
        if len(waiting) >= 100:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        elif number % 100 == 0 or connection.backlog() > 4_000_000:
            await connection.flush()

asyncio.run(main())
"""


def resident() -> int:
    """This process's memory in bytes; the service is in it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("kind", ["silent", "junk", "signatures", "objects"])
def test_a_flood_delays_nobody_else(daemon: Daemon, run_async, kind: str) -> None:
    async def look() -> None:
        async with on_the_bus(*(peer(number) for number in range(1, 1001))) as bus:
            connection = bus._connection
            async with await Client.connect() as other:
                await other.managed_objects()
                before = resident()
                flooder = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", FLOOD, kind),
                    stdout=asyncio.subprocess.PIPE,
                    cwd=TREE,
                    user=NOBODY,
                )
                times = []
                try:
                    assert flooder.stdout is not None and await flooder.stdout.readline()
                    for _ in range(100):
                        began = time.monotonic()
                        await other.call(ROOT, PEER_STANDARD, "Ping", timeout=5)
                        times.append(time.monotonic() - began)
                        await asyncio.sleep(0.005)
                    assert len(await other.managed_objects()) == 1002
                    assert flooder.returncode is None
                finally:
                    flooder.kill()
                    await flooder.wait()
            # 25 ms where nothing else runs; bench/bus has the figures.
            assert statistics.median(times) < 0.1
            assert resident() - before < 30_000_000
            assert connection is bus._connection and connection is not None
            assert not connection.closed.is_set()

    run_async(look())
