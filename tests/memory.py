"""A device in memory: what the tests of the service give it instead of a real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import IPv6Address

from bmx7wg.core.model import (
    ActualDevice,
    ActualPeer,
    Applied,
    DesiredDevice,
    Endpoint,
    Interface,
    Network,
    PeerStatistics,
)
from bmx7wg.core.operations import (
    AddAddress,
    AddRoute,
    AddRule,
    MakeDevice,
    Mark,
    Operation,
    RemoveAddress,
    RemoveRoute,
    RemoveRule,
    Rename,
    RestoreRoute,
    RouteOperation,
    SetDevice,
    SetMtu,
    SetUp,
)
from bmx7wg.core.plan import plan
from bmx7wg.core.planmemory import Memory
from bmx7wg.core.planpeers import PeerOperation, RemovePeer, SetPeer
from bmx7wg.device.base import DeviceError

_UNDERLAY_MTU = 1500


class InMemoryDevice:
    """Plans as the real ones do, changes nothing but itself, and keeps a log as text.

    ``log`` has one line for each operation; ``probed`` the addresses; ``error``, while set, is
    raised by everything that needs the device. `disturb` and `handshake` play the outside.
    """

    backend = "userspace"

    def __init__(self) -> None:
        self.log: list[str] = []
        self.probed: list[IPv6Address] = []
        self.actual: ActualDevice | None = None
        self.error = ""
        self.now = 0  # wall time, ns
        self._memory = Memory()
        self._changed: Callable[[str], None] | None = None

    async def apply(self, desired: DesiredDevice) -> Applied:
        self._check()
        desired = replace(desired, mtu=desired.mtu or _UNDERLAY_MTU - 80)
        operations = plan(desired, self.actual, self.now, self._memory)
        actual = self.actual
        found = actual.peers if actual else {}
        for operation in operations:
            actual = after(actual, operation)
            self.log.append(str(operation))
        assert actual is not None
        self.actual = actual
        changed = [o for o in operations if isinstance(o, SetPeer)]
        told = {o.public_key: o.endpoint for o in changed if o.endpoint is not None}
        self._memory.settled(desired.peers, found, told)
        added = frozenset(o.public_key for o in changed if o.new)
        return Applied(
            index=actual.index,
            listen_port=actual.listen_port,
            mtu=actual.mtu,
            peers=frozenset(actual.peers),
            added=added,
            writes=len(operations),
            done=tuple(str(operation) for operation in operations),
        )

    async def read(self) -> ActualDevice | None:
        self._check()
        return self.actual

    async def statistics(self) -> Mapping[bytes, PeerStatistics]:
        self._check()
        return self.actual.peers if self.actual else {}

    def probe(self, address: IPv6Address) -> None:
        self.probed.append(address)

    async def measure(self, address: IPv6Address) -> float:
        self.probed.append(address)
        return 0.001

    def watch(self, changed: Callable[[str], None]) -> None:
        self._changed = changed

    async def remove(self) -> None:
        if self.actual:
            self.log.append(f"remove {self.actual.name}")
        self.actual = None
        self._memory.forget()

    async def close(self) -> None:
        self.log.append("close")
        self._changed = None

    def disturb(self, sentence: str, actual: ActualDevice | None) -> None:
        """Somebody else made the device *actual*, and the watch says so."""
        self.actual = actual
        if self._changed is not None:
            self._changed(sentence)

    def handshake(self, public_key: bytes, endpoint: Endpoint | None = None) -> None:
        """The peer completed a handshake now, and came from *endpoint* if given."""
        assert self.actual is not None
        peer = self.actual.peers[public_key]
        peer = replace(peer, last_handshake=self.now, endpoint=endpoint or peer.endpoint)
        self.actual = replace(self.actual, peers={**self.actual.peers, public_key: peer})

    def _check(self) -> None:
        if self.error:
            raise DeviceError(self.error)


def after(device: ActualDevice | None, operation: Operation) -> ActualDevice:
    """The device after an operation, as kernel and wireguard-go would have it."""
    if isinstance(operation, MakeDevice):
        name = operation.name
        return ActualDevice(name, 7, False, 1420, bytes(32), 0, 0, addresses=(), peers={})
    assert device is not None
    match operation:
        case SetDevice():
            changes = {
                "private_key": operation.private_key,
                "listen_port": operation.listen_port,
                "firewall_mark": operation.firewall_mark,
            }
            given = {name: value for name, value in changes.items() if value is not None}
            return replace(device, **given)
        case SetPeer() | RemovePeer():
            return replace(device, peers=_peers_after(device.peers, operation))
        case Mark():
            return replace(device, marked=True)
        case Rename():
            return replace(
                device, name=operation.new, up=False, addresses=(), connected=(), routes=()
            )
        case SetMtu():
            return replace(device, mtu=operation.mtu)
        case SetUp():
            return replace(device, up=True)
        case AddAddress(address):
            others = (network for network in device.connected if network != address.network)
            return replace(
                device,
                addresses=(*device.addresses, address),
                own_addresses=device.own_addresses | {address},
                connected=(*others, address.network),
            )
        case RemoveAddress(address):
            return _without(device, address)
        case RestoreRoute(address):
            return replace(device, connected=(*device.connected, address.network))
        case AddRoute() | RemoveRoute() | AddRule() | RemoveRule():
            return _routes_after(device, operation)


def _without(device: ActualDevice, address: Interface) -> ActualDevice:
    kept = tuple(other for other in device.addresses if other != address)
    last = address.version == 4 and all(other.version == 6 for other in kept)
    return replace(
        device,
        addresses=kept,
        own_addresses=device.own_addresses - {address},
        routes=tuple(r for r in device.routes if not last or r.prefix.version == 6),
    )


def _routes_after(device: ActualDevice, operation: RouteOperation) -> ActualDevice:
    match operation:
        case AddRoute(route):
            return replace(device, routes=(*device.routes, route))
        case RemoveRoute(route):
            return replace(device, routes=tuple(r for r in device.routes if r != route))
        case AddRule(rule):
            return replace(device, rules=(*device.rules, rule))
        case RemoveRule(rule):
            return replace(device, rules=tuple(r for r in device.rules if r != rule))


def _peers_after(
    peers: Mapping[bytes, ActualPeer], operation: PeerOperation
) -> dict[bytes, ActualPeer]:
    if isinstance(operation, RemovePeer):
        return {key: peer for key, peer in peers.items() if key != operation.public_key}
    key = operation.public_key
    taken = set(operation.allowed_ips)
    result = {
        other: replace(peer, allowed_ips=tuple(n for n in peer.allowed_ips if n not in taken))
        for other, peer in peers.items()
        if other != operation.replaces
    }
    if operation.new:
        result[key] = ActualPeer(public_key=key, preshared_key=bytes(32))
    peer = result[key]
    kept = () if operation.only_these else peer.allowed_ips
    result[key] = ActualPeer(
        public_key=key,
        preshared_key=_or(operation.preshared_key, peer.preshared_key),
        endpoint=operation.endpoint or peer.endpoint,
        allowed_ips=in_order((*kept, *operation.allowed_ips)),
        keepalive=peer.keepalive if operation.keepalive is None else operation.keepalive,
        last_handshake=peer.last_handshake,
        rx_bytes=peer.rx_bytes,
        tx_bytes=peer.tx_bytes,
    )
    return result


def _or(value: bytes | None, default: bytes) -> bytes:
    return default if value is None else value


def in_order(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    """By version, then address, as the model has them."""
    return tuple(sorted(networks, key=lambda n: (n.version, int(n.network_address), n.prefixlen)))
