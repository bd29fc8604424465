"""What the service shows on the bus, as values of our own.

The service may be newer or older than this program: a property that is missing or has another
type reads as empty, and unknown words pass through. JSON is the properties as they came,
with the names and values of the bus (dbus/org.bmx7.WireGuard1.xml) and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..bus.client import DEVICE, MANAGER, NETWORK, PEER, ROOT
from .states import STATES
from .units import natural

_RANKS: Final = {word: rank for rank, word in enumerate(STATES)}

Values = Mapping[str, Any]  # an interface's properties
Objects = Mapping[str, Mapping[str, Values]]


class _Properties:
    """Typed reading of an interface's properties."""

    def __init__(self, values: Values) -> None:
        self._values = values

    def text(self, name: str) -> str:
        value = self._values.get(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> int:
        value = self._values.get(name)
        return value if isinstance(value, int) else 0

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(item for item in self._list(name) if isinstance(item, str))

    def rows(self, name: str, *types: type) -> tuple[Any, ...]:
        """The structs of a list whose members have these types, as tuples."""
        return tuple(
            tuple(item)
            for item in self._list(name)
            if isinstance(item, (list, tuple)) and tuple(map(type, item)) == types
        )

    def _list(self, name: str) -> Iterable[Any]:
        value = self._values.get(name)
        return value if isinstance(value, (list, tuple)) else ()


@dataclass(frozen=True)
class Manager:
    """The service, and the node that it makes of this machine."""

    properties: Values
    version: str
    node_id: str
    node_name: str
    state: str
    problems: tuple[str, ...]
    source: str
    source_state: str
    offers: tuple[tuple[str, int, list[str]], ...]  # network, bit/s, what is announced for it
    searches: tuple[tuple[str, str, int, int], ...]  # name, network, lengths of offers

    @classmethod
    def of(cls, values: Values) -> Manager:
        read = _Properties(values)
        return cls(
            properties=values,
            version=read.text("Version"),
            node_id=read.text("NodeId"),
            node_name=read.text("NodeName"),
            state=read.text("State"),
            problems=read.texts("Problems"),
            source=read.text("Source"),
            source_state=read.text("SourceState"),
            offers=read.rows("Offers", str, int, list),
            searches=read.rows("Searches", str, str, int, int),
        )

    @property
    def label(self) -> str:
        return self.node_name or self.node_id[:12] or "?"


@dataclass(frozen=True)
class Device:
    properties: Values
    name: str
    index: int
    backend: str
    public_key: str
    listen_port: int
    firewall_mark: int
    mtu: int
    addresses: tuple[str, ...]

    @classmethod
    def of(cls, values: Values) -> Device:
        read = _Properties(values)
        return cls(
            properties=values,
            name=read.text("Name"),
            index=read.number("InterfaceIndex"),
            backend=read.text("Backend"),
            public_key=read.text("PublicKey"),
            listen_port=read.number("ListenPort"),
            firewall_mark=read.number("FirewallMark"),
            mtu=read.number("Mtu"),
            addresses=read.texts("Addresses"),
        )


@dataclass(frozen=True)
class Peer:
    properties: Values
    node_id: str
    name: str
    origin: str
    state: str
    reason: str
    public_key: str
    endpoint: str
    address: str
    allowed_ips: tuple[str, ...]
    offers: tuple[tuple[str, int], ...]  # prefix, bit/s
    metric: int  # bit/s
    hops: int
    last_handshake: int  # µs since 1970, 0: never
    rx_bytes: int
    tx_bytes: int

    @classmethod
    def of(cls, values: Values) -> Peer:
        read = _Properties(values)
        return cls(
            properties=values,
            node_id=read.text("NodeId"),
            name=read.text("Name"),
            origin=read.text("Origin"),
            state=read.text("State"),
            reason=read.text("Reason"),
            public_key=read.text("PublicKey"),
            endpoint=read.text("Endpoint"),
            address=read.text("Address"),
            allowed_ips=read.texts("AllowedIPs"),
            offers=read.rows("Offers", str, int),
            metric=read.number("Metric"),
            hops=read.number("Hops"),
            last_handshake=read.number("LastHandshake"),
            rx_bytes=read.number("RxBytes"),
            tx_bytes=read.number("TxBytes"),
        )

    @property
    def label(self) -> str:
        """What people call it: its name, or the beginning of its id."""
        return self.name or self.node_id[:12]

    @property
    def rank(self) -> int:
        return _RANKS.get(self.state, len(_RANKS))


@dataclass(frozen=True)
class Network:
    """A network that peers offer and this node searches."""

    properties: Values
    prefix: str
    gateway: str  # object path; empty: nobody carries it
    reason: str
    candidates: tuple[tuple[str, int, str], ...]  # object path, bit/s, why not; best first
    table: int
    metric: int
    since: int  # µs since 1970, 0: never

    @classmethod
    def of(cls, values: Values) -> Network:
        read = _Properties(values)
        return cls(
            properties=values,
            prefix=read.text("Prefix"),
            gateway=read.text("Gateway").rstrip("/"),
            reason=read.text("Reason"),
            candidates=read.rows("Candidates", str, int, str),
            table=read.number("Table"),
            metric=read.number("Metric"),
            since=read.number("Since"),
        )


@dataclass(frozen=True)
class Snapshot:
    """All that the service showed at one moment."""

    manager: Manager
    device: Device | None
    peers: Mapping[str, Peer]  # by object path
    networks: tuple[Network, ...] = ()  # by version, then address

    @classmethod
    def of(cls, objects: Objects) -> Snapshot:
        devices = [Device.of(item[DEVICE]) for item in objects.values() if DEVICE in item]
        return cls(
            manager=Manager.of(objects.get(ROOT, {}).get(MANAGER, {})),
            device=devices[0] if devices else None,
            peers={path: Peer.of(item[PEER]) for path, item in objects.items() if PEER in item},
            networks=tuple(
                sorted(
                    (Network.of(item[NETWORK]) for item in objects.values() if NETWORK in item),
                    key=lambda network: (":" in network.prefix, natural(network.prefix)),
                )
            ),
        )

    def label(self, path: str) -> str:
        """What people call the peer with this object path."""
        peer = self.peers.get(path)
        return peer.label if peer else label_of(path)

    def to_json(self) -> dict[str, Any]:
        return {
            "manager": self.manager.properties,
            "device": self.device.properties if self.device else None,
            "peers": [peer.properties for peer in in_order(self.peers.values())],
            "networks": [network.properties for network in self.networks],
        }


def label_of(path: str) -> str:
    """What to call a peer of which only the object path is known: the beginning of its id."""
    return path.rpartition("/")[2].upper()[:12]


def in_order(peers: Iterable[Peer]) -> list[Peer]:
    """Peers by state, then by name (n2 before n10), then by id."""
    return sorted(peers, key=lambda peer: (peer.rank, natural(peer.label), peer.node_id))


def by_state(peers: Iterable[Peer]) -> dict[str, int]:
    """How many peers are in each state that occurs, in the order of `STATES`."""
    counts: dict[str, int] = {}
    for peer in sorted(peers, key=lambda peer: (peer.rank, peer.state)):
        counts[peer.state] = counts.get(peer.state, 0) + 1
    return counts
