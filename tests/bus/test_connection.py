"""A connection lives through whatever comes: each test here fails with dbus-next as it comes."""

from __future__ import annotations

import asyncio
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bmx7wg.bus import connection as module
from bmx7wg.bus import errors
from bmx7wg.bus.client import CallError, Client
from bmx7wg.bus.connection import MAX_CALL_BODY, Connection
from bmx7wg.bus.errors import BusUnavailable
from bmx7wg.bus.names import BUS, MANAGER, NAME, PEER_STANDARD, PROPERTIES, ROOT
from bmx7wg.bus.values import marshal, pad
from bmx7wg.bus.wire import FIXED_HEADER, Header, Kind, message, parse_header, sizes

from .daemon import ROOT as TREE
from .daemon import Daemon
from .samples import on_the_bus, peer, until


class Peer:
    """The other end of a connection: a stand-in of a bus that sends any bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def greet(self) -> None:
        assert (await self.reader.readuntil(b"\r\n")).startswith(b"\0AUTH EXTERNAL ")
        self.writer.write(b"OK 0123456789abcdef0123456789abcdef\r\n")
        assert await self.reader.readuntil(b"\r\n") == b"BEGIN\r\n"
        hello, _ = await self.receive()
        body = marshal("s", (":1.1",))
        self.send(Kind.RETURN, body, reply_serial=hello.serial, signature="s")

    def send(self, kind: Kind, body: bytes | bytearray = b"", **fields: Any) -> None:
        self.writer.write(message(kind, 77, body, sender=":1.9", **fields))

    async def receive(self) -> tuple[Header, bytes]:
        start = await self.reader.readexactly(FIXED_HEADER)
        head, size = sizes(start)
        rest = await self.reader.readexactly(head - FIXED_HEADER)
        header = parse_header(start + rest)
        assert header is not None
        return header, await self.reader.readexactly(size)

    async def ping(self) -> None:
        """The connection is alive and in step: a call is answered, and nothing before it."""
        self.send(Kind.CALL, path="/", interface=PEER_STANDARD, member="Ping")
        answer, _ = await asyncio.wait_for(self.receive(), 5)
        assert (answer.kind, answer.reply_serial) == (Kind.RETURN, 77)


@asynccontextmanager
async def joined(place: Path, *, greet: bool = True) -> AsyncIterator[tuple[Connection, Peer]]:
    """A connection that answers every call with nothing, and its other end."""
    arrived: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()
    server = await asyncio.start_unix_server(
        lambda reader, writer: arrived.set_result(Peer(reader, writer)), str(place / "stand-in")
    )
    connection = Connection(on_call=lambda bus, call: bus.answer(call.header))
    opening = asyncio.ensure_future(connection.open(f"unix:path={place}/stand-in"))
    end = await arrived
    try:
        if greet:
            await end.greet()
            await opening
        yield connection, end
        if not greet:
            await opening
    finally:
        connection.close()
        end.writer.close()
        server.close()


def header(*fields: tuple[int, tuple[str, Any]], kind: int = 1, body: int = 0) -> bytes:
    out = marshal("yyyyuua(yv)", (ord("l"), kind, 0, 1, body, 5, fields))
    pad(out, 8)
    return bytes(out)


CALL = ((1, ("o", "/")), (3, ("s", "Ping")), (7, ("s", ":1.9")))

ODD = {
    "an unknown kind": header(*CALL, kind=9),
    "kind 0": header(*CALL, kind=0),
    "no path": header(*CALL[1:]),
    "no member": header(CALL[0], CALL[2]),
    "a path that is a number": header((1, ("u", 7)), *CALL[1:]),
    "a reply serial that is text": header((5, ("s", "7")), kind=2),
    "fields that end too soon": struct.pack("<BBBBIII", 108, 1, 0, 1, 0, 5, 5)
    + b"\1\1o\0\xff\0\0\0",
    "a body of nobody knows what": header(*CALL[:2], kind=4, body=8) + b"\xff" * 8,
    "an answer to nothing": header((5, ("u", 4711)), kind=2),
    "an error without a name": header((5, ("u", 4711)), kind=3),
    "a signal with a long body": header(*CALL, kind=4, body=2_000_000) + bytes(2_000_000),
    "a header of 100 KB": header((1, ("o", "/" + "a" * 100_000)), *CALL[1:]),
    "deep variants": header((99, ("v", ("v", ("v", ("v", ("s", "x")))))), *CALL, kind=4),
}


@pytest.mark.parametrize("name", list(ODD))
def test_odd_messages_are_passed_over(place: Path, run_async, name: str) -> None:
    async def look() -> None:
        async with joined(place) as (connection, end):
            end.writer.write(ODD[name])
            await end.ping()
            assert connection.refused == 1

    run_async(look())


def test_unknown_fields_and_flags_are_no_harm(place: Path, run_async) -> None:
    async def look() -> None:
        async with joined(place) as (connection, end):
            whole = bytearray(header(*CALL, (99, ("a{sv}", {"a": ("t", 7)})), (200, ("u", 1))))
            whole[2] = 0xF8
            end.writer.write(whole)
            answer, _ = await end.receive()
            assert (answer.kind, answer.reply_serial) == (Kind.RETURN, 5)
            assert connection.refused == 0

    run_async(look())


def test_messages_may_come_in_any_pieces(place: Path, run_async) -> None:
    async def look() -> None:
        async with joined(place) as (_, end):
            whole = ODD["kind 0"] + header(*CALL)
            for at in range(len(whole)):
                end.writer.write(whole[at : at + 1])
                await end.writer.drain()
                await asyncio.sleep(0)
            answer, _ = await end.receive()
            assert answer.reply_serial == 5

    run_async(look())


def test_a_call_that_is_too_long_is_refused_before_it_is_there(place: Path, run_async) -> None:
    async def look() -> None:
        async with joined(place) as (connection, end):
            end.writer.write(header(*CALL, body=MAX_CALL_BODY + 1))
            answer, body = await end.receive()
            assert answer.error_name == errors.LIMITS_EXCEEDED
            end.writer.write(bytes(MAX_CALL_BODY + 1))
            await end.ping()

    run_async(look())


def test_a_handler_that_fails_ends_nothing(place: Path, run_async, caplog) -> None:
    async def look() -> None:
        async with joined(place) as (connection, end):
            answers, connection._on_call = connection._on_call, lambda bus, call: 1 // 0
            end.send(Kind.CALL, path="/", member="Ping")
            await until(lambda: "ZeroDivisionError" in caplog.text)
            connection._on_call = answers
            await end.ping()

    run_async(look())


def test_who_wants_no_answer_gets_none(place: Path, run_async) -> None:
    async def look() -> None:
        async with joined(place) as (_, end):
            end.send(Kind.CALL, flags=1, path="/", member="Ping")
            await end.ping()

    run_async(look())


@pytest.mark.parametrize(
    "junk", [b"HTTP/1.1 400 Bad Request\r\n\r\n", struct.pack("<16B", *[0] * 16)]
)
def test_what_is_not_d_bus_ends_it(place: Path, run_async, junk: bytes) -> None:
    async def look() -> None:
        async with joined(place) as (connection, end):
            end.writer.write(junk)
            await asyncio.wait_for(connection.closed.wait(), 5)

    run_async(look())


@pytest.mark.parametrize("first", [b"", b"REJECTED ANONYMOUS\r\n", b"x" * 3000, b"\xff\r\n"])
def test_a_bus_that_does_not_let_us_in(place: Path, run_async, first: bytes) -> None:
    async def look() -> None:
        with pytest.raises(BusUnavailable):
            async with joined(place, greet=False) as (_, end):
                await end.reader.readuntil(b"\r\n")
                end.writer.write(first)
                end.writer.close()

    run_async(look())


def test_a_bus_that_says_nothing(place: Path, run_async, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_TIMEOUT", 0.1)

    async def look() -> None:
        with pytest.raises(BusUnavailable, match="does not answer"):
            async with joined(place, greet=False):
                pass

    run_async(look())


def test_a_full_socket_is_waited_for(place: Path, run_async) -> None:
    async def look() -> None:
        async with joined(place) as (connection, end):
            body = marshal("s", ("x" * 1000,))
            for _ in range(2000):  # 2 MB, ten times what the socket holds
                connection.signal("/", "a.b", "C", "s", body)
            await asyncio.sleep(0.05)
            assert connection.backlog() > 1_000_000
            for _ in range(2000):
                signal, received = await end.receive()
                assert (signal.member, received) == ("C", bytes(body))
            await until(lambda: connection.backlog() == 0)

    run_async(look())


def test_a_flood_is_taken_in_turns(place: Path, run_async) -> None:
    async def look() -> None:
        async with joined(place) as (_, end):
            flood = message(Kind.CALL, 5, b"", flags=1, path="/", member="Ping", sender=":1.9")
            longest = 0.0
            end.writer.write(flood * 20_000)
            pinged = asyncio.ensure_future(end.ping())
            while not pinged.done():
                began = time.thread_time()
                await asyncio.sleep(0)
                longest = max(longest, time.thread_time() - began)
            await pinged
            assert longest < 0.05, "s of this process; a turn is 4 ms, all of it takes 200"

    run_async(look())


# -- through the real bus


async def rudely(client: Client, send: Callable[[Connection, int], None], times: int) -> None:
    for number in range(times):
        send(client._connection, number)
        if number % 100 == 0:  # a bus lets 128 calls of one caller wait for their answers
            await client.call(ROOT, PEER_STANDARD, "Ping")


def test_rude_callers_harm_nobody(daemon: Daemon, run_async) -> None:
    def junk(connection: Connection, number: int) -> None:
        connection._send(
            Kind.CALL,
            marshal("u", (2_000_000,)) + bytes(2_000_000),
            destination=NAME,
            path=ROOT,
            interface=MANAGER,
            member="GetPeerByNodeId",
            signature="ay",
        )

    def signatures(connection: Connection, number: int) -> None:
        inside = bin(number)[2:].replace("0", "u").replace("1", "i")
        connection._send(
            Kind.CALL,
            marshal("ssv", (MANAGER, "State", (f"({inside})", [0] * len(inside)))),
            destination=NAME,
            path=ROOT,
            interface=PROPERTIES,
            member="Set",
            signature="ssv",
        )

    async def look() -> None:
        async with on_the_bus(peer(1)) as bus, await Client.connect() as rude:
            connection = bus._connection
            assert connection is not None
            await rudely(rude, junk, 5)
            await rudely(rude, signatures, 3000)
            async with await Client.connect() as other:
                assert await other.call(ROOT, PEER_STANDARD, "Ping") is None
                assert len(await other.managed_objects()) == 3
            assert bus._connection is connection and not connection.closed.is_set()

    run_async(look())


FLOOD = """
import asyncio
from bmx7wg.bus.client import Client
from bmx7wg.bus.names import MANAGER, NAME, ROOT
from bmx7wg.bus.wire import Kind

async def main():
    connection = (await Client.connect())._connection
    print("ready", flush=True)
    while True:
        for _ in range(200):
            connection._send(
                Kind.CALL, b"", flags=1, destination=NAME, path=ROOT, interface=MANAGER,
                member="Describe",
            )
        await connection.flush()

asyncio.run(main())
"""


def test_calls_that_want_no_answer_starve_nobody(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(*(peer(number) for number in range(300))):
            flooder = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", FLOOD), stdout=asyncio.subprocess.PIPE, cwd=TREE
            )
            try:
                assert flooder.stdout is not None and await flooder.stdout.readline()
                async with await Client.connect() as other:
                    for _ in range(100):
                        await other.call(ROOT, PEER_STANDARD, "Ping", timeout=10)
            finally:
                flooder.kill()
                await flooder.wait()

    run_async(look())


def test_too_many_questions_of_one_caller(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus(peer(1)), await Client.connect() as client:
            async with await Client.connect() as other:
                calls = [client.call(ROOT, MANAGER, "Describe") for _ in range(300)]
                answers = asyncio.gather(*calls, return_exceptions=True)
                await asyncio.sleep(0)
                assert await other.call(ROOT, MANAGER, "Describe")
                kinds = {type(answer) for answer in await answers}
                assert str in kinds and kinds <= {str, CallError}
            assert await client.call(ROOT, MANAGER, "Describe")

    run_async(look())


def test_signals_of_strangers_are_not_believed(daemon: Daemon, run_async) -> None:
    async def look() -> None:
        async with on_the_bus() as bus, await Client.connect() as client:
            following = client.follow()
            await client.managed_objects()
            stranger = Connection()
            await stranger.open()
            (owner,) = await stranger.call_bus("GetNameOwner", "s", NAME)
            body = marshal("sa{sv}as", (MANAGER, {"State": ("s", "stopping")}, ()))
            for target in (client._connection.unique_name, ""):
                fields = {"destination": target} if target else {}
                stranger._send(
                    Kind.SIGNAL,
                    body,
                    path=ROOT,
                    interface=PROPERTIES,
                    member="PropertiesChanged",
                    signature="sa{sv}as",
                    **fields,
                )
            lost = marshal("s", (NAME,))
            stranger._send(
                Kind.SIGNAL,
                lost,
                destination=owner,
                path="/org/freedesktop/DBus",
                interface=BUS,
                member="NameLost",
                signature="s",
            )
            await stranger.call_bus("GetId")
            await client.managed_objects()
            assert not following._events
            assert bus._connection is not None and not bus._connection.closed.is_set()
            stranger.close()

    run_async(look())
