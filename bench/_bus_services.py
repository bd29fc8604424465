"""The processes of bench/bus: ours, the floor, the library's own, and one that floods.

Each prints a number when it is ready, then one for each command that it reads.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import itertools
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from _bus import connect, resident

from bmx7wg.bus.names import (
    BUS,
    BUS_PATH,
    MANAGER,
    NAME,
    OBJECT_MANAGER,
    PEER,
    PROPERTIES,
    ROOT,
    peer_path,
)
from bmx7wg.bus.service import Bus
from bmx7wg.bus.values import marshal
from bmx7wg.bus.wire import FIXED_HEADER, Flag, Kind, message, parse_header, sizes
from bmx7wg.core.identity import NodeId, key_text, mesh_address
from bmx7wg.core.model import Origin, PeerState
from bmx7wg.core.views import Changes, PeerView

FLOOR = "org.bmx7.Floor"
LIBRARY = "org.bmx7.Library"
ROUNDS = 10  # of changes for changed_per_s


def node_id(number: int) -> NodeId:
    return NodeId(number.to_bytes(4, "big") * 7)


def view(number: int, version: int = 0) -> PeerView:
    """A peer; with another version everything is different that can change."""
    address = str(mesh_address(node_id(number)))
    return PeerView(
        node_id=node_id(number),
        name=f"node{number}-{version}",
        origin=Origin.LINK,
        state=PeerState.IDLE if version % 2 else PeerState.CONNECTED,
        reason="",
        public_key=key_text(number.to_bytes(16, "big") + version.to_bytes(16, "big")),
        endpoint=f"[fe80::{number:x}%eth0]:{6277 + version}",
        address=address,
        allowed_ips=(f"{address}/128",),
        offers=(("10.3.0.0/24", 32_000_000 + version),),
        metric=128_849_018_880 + version,
        hops=2 + version % 2,
        last_handshake=1_700_000_000_000_000 + version,
        rx_bytes=5_000_000_000 + version,
        tx_bytes=7 + version,
    )


# -- ours


class Service:
    """The bus of the service, with a controller that knows peers and nothing else."""

    log_level = log_target = syslog_identifier = ""

    def __init__(self, count: int) -> None:
        # Made before, for it is not the bus that makes them.
        self._peers = tuple(view(number) for number in range(count))
        self._other = tuple(view(number, 1) for number in range(count))
        self._restated = tuple(
            dataclasses.replace(one, state=PeerState.IDLE) for one in self._peers
        )
        self._new = tuple(view(number) for number in range(100_000, 101_000))
        self._bus = Bus(self, state=lambda connected, sentence: None)  # type: ignore[arg-type]
        self._longest = self._woken = 0.0

    def counters(self) -> Mapping[str, int]:
        return {}

    async def refresh(self) -> None:
        pass

    async def run(self) -> None:
        gc.freeze()  # as service/main.py does
        self._watch_turns()
        before = resident()
        self._bus.publish(Changes(peers=self._peers))
        await self._bus.start()
        self._bus._tree.managed_body()
        print((resident() - before) / 1024 / len(self._peers), flush=True)
        commands: Mapping[str, Callable[[], Any]] = {
            "change": self._change,
            "appear": self._appear,
            "stream": self._stream,
            "turn": self._turn,
        }
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while command := (await reader.readline()).decode().strip():
            print(await commands[command](), flush=True)

    async def _change(self) -> float:
        """Change every peer and tell of it; seconds until all is told."""
        self._peers, self._other = self._other, self._peers
        return await self._tell(self._peers)

    async def _appear(self) -> float:
        """A thousand peers in one turn; seconds until the last signal is out."""
        took = await self._tell(self._new)
        self._bus.publish(Changes(gone=tuple(one.node_id for one in self._new)))
        await self._out()
        return took

    async def _stream(self) -> float:
        """PropertiesChanged a second, when states come and go."""
        took = 0.0
        for _ in range(ROUNDS):
            took += await self._tell(self._restated) + await self._tell(self._peers)
        return 2 * ROUNDS * len(self._peers) / took

    async def _tell(self, views: tuple[PeerView, ...]) -> float:
        await asyncio.sleep(0)
        begin = time.perf_counter()
        self._bus.publish(Changes(peers=views))
        await self._out()
        return time.perf_counter() - begin

    async def _out(self) -> None:
        """Wait until nothing is left to be told and nothing to be sent."""
        await asyncio.sleep(0)
        emitter, connection = self._bus._emitter, self._bus._connection
        assert emitter is not None and connection is not None
        while emitter._notes or connection.backlog():
            await asyncio.sleep(0)

    async def _turn(self) -> float:
        """The longest turn of the loop since this was asked last, in ms."""
        longest, self._longest = self._longest, 0.0
        return longest * 1e3

    def _watch_turns(self) -> None:
        """Measure from when the loop wakes until it sleeps, in the time of this thread."""
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        select = selector.select

        def measured(timeout: float | None = None) -> Any:
            self._longest = max(self._longest, time.thread_time() - self._woken)
            try:
                return select(timeout)
            finally:
                self._woken = time.thread_time()

        selector.select = measured
        self._woken = time.thread_time()


# -- the floor


def floor(count: int) -> None:
    """Answer every call with bytes made before: what the bus itself allows."""
    ours = Bus(Service(1), state=lambda connected, sentence: None)  # type: ignore[arg-type]
    ours.publish(Changes(peers=tuple(view(number) for number in range(count))))
    item = ours._tree.objects[peer_path(node_id(0))]
    answers = {
        "GetAll": ("a{sv}", bytes(marshal("a{sv}", (item.variants(),)))),
        "GetManagedObjects": ("a{oa{sa{sv}}}", ours._tree.managed_body()),
    }
    sock = connect(_bus_path())
    sock.settimeout(None)
    for serial, (member, *values) in enumerate((("Hello",), ("RequestName", FLOOR, 4)), 1):
        signature = "su" if values else ""
        fields = {"path": BUS_PATH, "interface": BUS, "member": member, "destination": BUS}
        body = marshal(signature, values)
        sock.sendall(message(Kind.CALL, serial, body, signature=signature, **fields))
    print(0, flush=True)
    data = b""
    while True:
        data += sock.recv(65536)
        while len(data) >= FIXED_HEADER and len(data) >= (size := sum(sizes(data))):
            header = parse_header(data[: sizes(data)[0]])
            data = data[size:]
            if header is not None and header.member in answers:
                signature, body = answers[header.member]
                reply = {"destination": header.sender, "reply_serial": header.serial}
                sock.sendall(message(Kind.RETURN, 9, body, signature=signature, **reply))


def _bus_path() -> Path:
    return Path(os.environ["DBUS_SYSTEM_BUS_ADDRESS"].removeprefix("unix:path="))


# -- the library as it comes


async def library(count: int) -> None:
    """The same objects with dbus-next's own ServiceInterface."""
    from dbus_next import BusType, PropertyAccess
    from dbus_next.aio import MessageBus
    from dbus_next.service import ServiceInterface, dbus_property

    from bmx7wg.bus import contract
    from bmx7wg.bus.views import PROPERTIES_OF

    def getter(name: str, signature: str) -> Any:
        read = PROPERTIES_OF[PEER][name]

        def get(self: Any) -> Any:
            value = read(self.view)
            return [list(one) for one in value] if signature == "a(st)" else _plain(value)

        get.__name__ = name
        get.__annotations__["return"] = signature
        return dbus_property(access=PropertyAccess.READ)(get)

    properties = contract.load()[PEER].properties.values()
    members = {item.name: getter(item.name, item.signature) for item in properties}
    kind = type("Peer", (ServiceInterface,), members)
    bus = MessageBus(bus_type=BusType.SYSTEM)
    bus._emit_interface_added = lambda path, interface: None  # it can't queue that many
    for number in range(count):
        interface = kind(PEER)
        interface.view = view(number)
        bus.export(peer_path(node_id(number)), interface)
    await bus.connect()
    await bus.request_name(LIBRARY)
    print(0, flush=True)
    await bus.wait_for_disconnect()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


# -- who floods


def flood(kind: str) -> None:
    """Send calls to our service for ever, reading what comes back."""
    sock = connect(_bus_path())
    fields = {"path": BUS_PATH, "interface": BUS, "member": "Hello", "destination": BUS}
    sock.sendall(message(Kind.CALL, 1, **fields))
    room = threading.Semaphore(100)  # the bus lets 128 calls wait for their answers

    serials = itertools.count(2)

    def send(body: bytes | bytearray = b"", *, flags: int = 0, **fields: str) -> None:
        if not flags:
            room.acquire()
        serial = next(serials)
        sock.sendall(message(Kind.CALL, serial, body, flags=flags, destination=NAME, **fields))

    threading.Thread(target=_read_answers, args=(sock, room), daemon=True).start()
    print(0, flush=True)
    for number in itertools.count():
        if kind == "silent":
            where = {"path": ROOT, "interface": MANAGER, "member": "Describe"}
            send(flags=Flag.NO_REPLY_EXPECTED, **where)
        elif kind == "junk":
            where = {"path": ROOT, "interface": MANAGER, "member": "GetPeerByNodeId"}
            send(struct.pack("<I", 2_000_000) + bytes(2_000_000), signature="ay", **where)
        elif kind == "signatures":
            inside = bin(number % 3000)[2:].replace("0", "u").replace("1", "i")
            value = (f"({inside})", [0] * len(inside))
            where = {"path": ROOT, "interface": PROPERTIES, "member": "Set"}
            send(marshal("ssv", (MANAGER, "State", value)), signature="ssv", **where)
        else:
            send(path=ROOT, interface=OBJECT_MANAGER, member="GetManagedObjects")


def _read_answers(sock: Any, room: threading.Semaphore) -> None:
    data = bytearray()
    while True:
        if len(data) >= FIXED_HEADER and len(data) >= (size := sum(sizes(data))):
            if data[1] in (Kind.RETURN, Kind.ERROR):
                room.release()
            del data[:size]
            continue
        data += sock.recv(1 << 20) or sys.exit("thrown off the bus")


def main() -> None:
    what, argument = sys.argv[1:]
    if what == "ours":
        asyncio.run(Service(int(argument)).run())
    elif what == "floor":
        floor(int(argument))
    elif what == "library":
        asyncio.run(library(int(argument)))
    else:
        flood(argument)


if __name__ == "__main__":
    main()
