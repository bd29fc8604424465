"""A service to look at, and the ways to look at it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

from bmx7wg.bus import errors
from bmx7wg.bus.errors import CallError
from bmx7wg.bus.names import NAME
from bmx7wg.bus.service import Bus
from bmx7wg.core.identity import NodeId, key_text, mesh_address
from bmx7wg.core.model import Origin, PeerState
from bmx7wg.core.views import Changes, DeviceView, ManagerView, NetworkView, PeerView, ServiceState


def node_id(number: int) -> NodeId:
    return NodeId(number.to_bytes(2, "big") * 14)


def peer(number: int, **changes: Any) -> PeerView:
    address = str(mesh_address(node_id(number)))
    values: dict[str, Any] = {
        "node_id": node_id(number),
        "name": f"n{number}",
        "origin": Origin.LINK,
        "state": PeerState.CONNECTED,
        "reason": "",
        "public_key": key_text(number.to_bytes(32, "big")),
        "endpoint": f"[fe80::{number:x}%eth0]:6277",
        "address": address,
        "allowed_ips": (f"{address}/128", "10.3.0.0/24"),
        "offers": (("10.3.0.0/24", 32_000_000),),
        "metric": 128_849_018_880,
        "hops": 2,
        "last_handshake": 1_700_000_000_000_000,
        "rx_bytes": 5_000_000_000 + number,
        "tx_bytes": 7,
    }
    return PeerView(**(values | changes))


def network(prefix: str, **changes: Any) -> NetworkView:
    values: dict[str, Any] = {
        "prefix": ip_network(prefix),
        "gateway": node_id(3),
        "candidates": ((node_id(3), 38_400_000, ""), (node_id(4), 32_000_000, "worse")),
        "table": 77,
        "metric": 1024,
        "since": 1_700_000_000_000_000,
        "reason": "the best of 2",
    }
    return NetworkView(**(values | changes))


def device(**changes: Any) -> DeviceView:
    values: dict[str, Any] = {
        "name": "wgBmx7",
        "index": 7,
        "backend": "userspace",
        "public_key": key_text(bytes(32)),
        "listen_port": 6277,
        "firewall_mark": 0x6277,
        "mtu": 1420,
        "addresses": ("fd77::1/16",),
    }
    return DeviceView(**(values | changes))


def manager(**changes: Any) -> ManagerView:
    values: dict[str, Any] = {
        "version": "1.2",
        "node_id": str(node_id(0)),
        "node_name": "n0",
        "state": ServiceState.DEGRADED,
        "problems": ("bmx7 is not running.",),
        "source": "bmx7",
        "source_state": "waiting",
        "offers": (("10.9.0.0/16", 32_000_000, ("10.9.1.0/24", "10.9.2.0/24")),),
        "searches": (("lans", "10.0.0.0/8", 8, 24),),
    }
    return ManagerView(**(values | changes))


class Counting:
    """A controller that counts how often it was asked, and may do something then.

    What it was told to do is in `done`.
    """

    log_level = "info"
    log_target = "journal"
    syslog_identifier = "bmx7-wgd"

    def __init__(self) -> None:
        self.asked = 0
        self.then: Callable[[], None] = lambda: None
        self.done: list[tuple[Any, ...]] = []
        self.gate = asyncio.Event()  # what is asked for waits until it is set
        self.gate.set()

    async def refresh(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        self.then()

    def counters(self) -> dict[str, int]:
        return {"received": 12, "json": 3}

    async def _do(self, *what: Any) -> None:
        await self.gate.wait()
        self.done.append(what)

    async def add_peer(self, said: dict[str, Any]) -> NodeId:
        if said.get("name") == "taken":
            raise CallError(errors.PEER_EXISTS, "node n1 has this name already")
        if said.get("keepalive") == 0x1000:
            raise CallError(errors.INVALID_ARGUMENT, "keepalive: 4096 is out of range")
        await self._do("add", said)
        return node_id(9)

    async def remove_peer(self, node_id: NodeId) -> None:
        await self._do("remove", node_id)

    async def block(self, node_id: NodeId) -> None:
        await self._do("block", node_id)

    async def unblock(self, node_id: NodeId) -> bool:
        was = ("block", node_id) in self.done
        await self._do("unblock", node_id)
        return was

    async def probe(self, node_id: NodeId) -> int:
        await self._do("probe", node_id)
        return 1234

    async def offer_network(self, said: dict[str, Any]) -> None:
        if said.get("bandwidth") == 1:
            raise CallError(errors.INVALID_ARGUMENT, "bandwidth: 1 is out of range")
        await self._do("offer", said)

    async def withdraw_network(self, network: str) -> None:
        await self._do("withdraw", network)

    async def search_network(self, said: dict[str, Any]) -> None:
        await self._do("search", said)

    async def forget_search(self, text: str) -> None:
        await self._do("forget", text)

    async def rotate_key(self) -> str:
        await self._do("rotate")
        return key_text(bytes(32))

    async def synchronize(self) -> None:
        await self._do("synchronize")

    async def reload(self) -> None:
        await self._do("reload")


@asynccontextmanager
async def on_the_bus(
    *peers: PeerView, networks: tuple[NetworkView, ...] = (), controller: Any = None
) -> AsyncIterator[Bus]:
    """A service with these peers and networks on the bus of the test."""
    bus = Bus(controller or Counting(), state=lambda connected, sentence: None)
    changes = Changes(manager=manager(), device=device(), peers=peers, networks=networks)
    bus.publish(changes)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


async def busctl(*arguments: str) -> str:
    """What busctl prints; a failure raises AssertionError with what it says."""
    process = await asyncio.create_subprocess_exec(
        *("/usr/bin/busctl", "--system", "--no-pager", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


async def ask(verb: str, path: str, *arguments: str) -> Any:
    """The answer to ``busctl call`` or ``get-property``, as its JSON tells."""
    text = await busctl("--json=short", verb, NAME, path, *arguments)
    return json.loads(text)["data"] if text else None


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until *condition* holds; AssertionError if it doesn't in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "waited in vain"
        await asyncio.sleep(0.002)
