"""The values that pass between the rooms: frozen, without behaviour of their own.

Observations go in (from discovery), a desired device comes out (to the device); what people see is
in views.py. Keys are raw bytes here; text is made where a person reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from .identity import NodeId
from .limits import DEFAULT_BANDWIDTH, DEFAULT_METRIC, DEFAULT_RULE, DEFAULT_TABLE

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Interface = IPv4Interface | IPv6Interface  # an address and the network that it is in


class Origin(StrEnum):
    """How a peer came to be known."""

    BMX7 = "bmx7"
    LINK = "link"
    STATIC = "static"


class PeerState(StrEnum):
    """The transitions between them are in states.py."""

    DISCOVERED = "discovered"
    CONFIGURED = "configured"
    CONNECTED = "connected"
    IDLE = "idle"
    LOST = "lost"
    BLOCKED = "blocked"
    UNTRUSTED = "untrusted"
    INCOMPATIBLE = "incompatible"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a peer's WireGuard listens.

    ``scope_id`` is the interface index of a link-local address and takes part in comparison:
    an interface made anew has a new index, and the device must be told. The name is for people.
    """

    address: Address
    port: int
    scope_id: int = 0
    interface: str = field(default="", compare=False)

    def __str__(self) -> str:
        if self.address.version == 4:
            return f"{self.address}:{self.port}"
        zone = self.interface or (str(self.scope_id) if self.scope_id else "")
        return f"[{self.address}{'%' + zone if zone else ''}]:{self.port}"


# -- what a neighbour says ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offer:
    """A network that a node carries for others, with its bandwidth in bit/s."""

    prefix: Network
    bandwidth: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """A decoded announcement of version 1 (design.md 3)."""

    public_key: bytes
    port: int = 0  # 0: not said, the default port
    name: str = ""
    networks: tuple[Offer, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    next_key: bytes = b""  # the public key that this node is about to switch to


@dataclass(frozen=True)
class Incompatible:
    """An announcement, authentic, of a version that we don't speak."""

    reason: str


@dataclass(frozen=True)
class StaticPeer:
    """A peer that the administrator added, in the configuration or on the bus."""

    public_key: bytes
    name: str = ""
    node_id: NodeId | None = None
    endpoint: Endpoint | None = None
    allowed_ips: tuple[Network, ...] = ()
    preshared_key: bytes = field(default=b"", repr=False)  # empty: the one of the pair
    keepalive: int = 0  # s; 0: that of the device

    @property
    def identity(self) -> NodeId:
        """Its node id; for a peer that is no node, one made of its public key to name it by."""
        return self.node_id or NodeId.of_public_key(self.public_key)


# -- networks: what the administrator offers and wants ---------------------------------------


@dataclass(frozen=True)
class OfferRule:
    """An [[offer]]: a network that this node carries for others (design.md 6).

    Either *network* itself, or, with *from_table*, what is in a routing table inside *network*
    with a prefix length within the bounds.
    """

    network: Network
    bandwidth: int = DEFAULT_BANDWIDTH  # bit/s
    while_route: bool = False  # only while there is a route to it that is not through the mesh
    from_table: int = 0  # a routing table's number; 0: none
    min_prefix_length: int = 0
    max_prefix_length: int = 128
    aggregate: bool = True  # neighbouring prefixes of the table become one


@dataclass(frozen=True)
class Search:
    """A [[search]]: networks that this node wants, in the words of bmx7's tunOut.

    An offer matches if it and *network* are one inside the other and its prefix length is within
    the bounds; what is then routed is the longer prefix of the two.
    """

    network: Network
    name: str = ""  # empty: the network's text
    min_prefix_length: int = -1  # -1: that of the network
    max_prefix_length: int = 128
    gateway_name: str = ""  # empty: any
    gateway_id: NodeId | None = None
    min_bandwidth: int = DEFAULT_BANDWIDTH  # bit/s; an offer of as much is as good as any other
    rating: int = 100  # percent
    hysteresis: int = 20  # percent, for the gateway that is in use
    metric: int = DEFAULT_METRIC  # of the route
    table: int = DEFAULT_TABLE
    rule: int = DEFAULT_RULE  # priority of the rule that leads to the table
    allow_overlap: bool = True  # a longer prefix of another search may be routed elsewhere
    break_overlap: bool = True  # and this one's may break into a better, shorter one


@dataclass(frozen=True)
class Surroundings:
    """What the rest of the system has of addresses and routes: all but our own device."""

    addresses: frozenset[Address] = frozenset()  # of this machine
    connected: frozenset[Network] = frozenset()  # prefixes that are on its links
    routes: Mapping[int, frozenset[Network]] = field(default_factory=dict)  # by routing table
    forwarding: frozenset[int] = frozenset()  # IP versions that are forwarded


# -- observations: from discovery to the core -----------------------------------------------


@dataclass(frozen=True, slots=True)
class Announced:
    """A node is there. Repeated whenever anything of it changes; equal ones change nothing."""

    node_id: NodeId
    origin: Origin
    content: Announcement | Incompatible
    endpoint: Endpoint | None  # None: not reachable yet
    name: str = ""  # the source's own name for it, when the announcement has none


@dataclass(frozen=True)
class Withdrawn:
    """A node is not announced any more (goodbye, expiry, file deleted)."""

    node_id: NodeId
    origin: Origin
    reason: str


@dataclass(frozen=True)
class PathMetric:
    """What the source knows of the way to a node."""

    node_id: NodeId
    metric: int  # bit/s; 0: not known
    hops: int  # 0: not known


class SourceState(StrEnum):
    """How a source of discovery does."""

    WAITING = "waiting"  # what it needs is not there yet (bmx7 down, no interface)
    READY = "ready"
    FAILED = "failed"  # it can't work until somebody changes something (no sms plugin)
    STOPPED = "stopped"


@dataclass(frozen=True)
class SourceStatus:
    """The state of a source, why, and the interfaces that it works on (for the MTU)."""

    origin: Origin
    state: SourceState
    detail: str = ""
    interfaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Identified:
    """The source knows who this node is: at start, and again when its identity changes."""

    node_id: NodeId
    name: str
    origin: Origin


Observation = Announced | Withdrawn | PathMetric | SourceStatus | Identified | Surroundings


# -- the device: what it should be, what it is ----------------------------------------------


@dataclass(frozen=True, slots=True)
class DesiredPeer:
    public_key: bytes
    preshared_key: bytes = field(repr=False)
    endpoint: Endpoint | None
    allowed_ips: tuple[Network, ...]  # sorted by version, then address
    keepalive: int = 0  # s; 0: off


@dataclass(frozen=True)
class DesiredRoute:
    """A chosen prefix, routed into the device."""

    prefix: Network
    table: int
    metric: int

    def __str__(self) -> str:
        """As ip-route(8) has it, without the device."""
        return f"{self.prefix} table {self.table} metric {self.metric}"


@dataclass(frozen=True)
class DesiredRule:
    """What is to be looked up in *table*, for one IP version.

    *mark*: packets with this firewall mark are left out (WireGuard's own); 0: none are.
    *specific*: default routes of the table don't count (suppress_prefixlength 0, ip-rule(8)).
    """

    version: int
    priority: int
    table: int
    mark: int = 0
    specific: bool = False

    def __str__(self) -> str:
        """As ip-rule(8) has it, with the IP version."""
        mark = f" not fwmark {self.mark:#x}" if self.mark else ""
        suppress = " suppress_prefixlength 0" if self.specific else ""
        where = f"lookup {self.table}"
        return f"IPv{self.version} pref {self.priority}{mark} {where}{suppress}"


@dataclass(frozen=True)
class DesiredDevice:
    """The whole wanted state; given to a device as often as one likes."""

    name: str
    private_key: bytes = field(repr=False)
    listen_port: int
    firewall_mark: int
    mtu: int  # 0: from the underlay interfaces
    underlay: tuple[str, ...]  # interfaces' names; empty: all but loopback and our own
    addresses: tuple[Interface, ...]
    peers: Mapping[bytes, DesiredPeer]  # by public key
    routes: tuple[DesiredRoute, ...] = ()
    rules: tuple[DesiredRule, ...] = ()
    forward: bool = False  # packets between the device and other links


@dataclass(frozen=True, slots=True)
class PeerStatistics:
    """What of a peer in a device changes by itself."""

    last_handshake: int = 0  # ns since 1970, by WireGuard's wall clock; 0: never
    rx_bytes: int = 0
    tx_bytes: int = 0
    endpoint: Endpoint | None = None  # where it is now: peers roam


@dataclass(frozen=True, slots=True, kw_only=True)
class ActualPeer(PeerStatistics):
    """A peer as read from a device."""

    public_key: bytes
    preshared_key: bytes = field(repr=False)
    allowed_ips: tuple[Network, ...] = ()
    keepalive: int = 0


@dataclass(frozen=True)
class ActualDevice:
    """A device as read; None in its place means that there is none."""

    name: str
    index: int
    up: bool
    mtu: int
    private_key: bytes = field(repr=False)
    listen_port: int
    firewall_mark: int
    addresses: tuple[Interface, ...]
    peers: Mapping[bytes, ActualPeer]
    connected: tuple[Network, ...] = ()  # routes that the kernel made of the addresses
    own_addresses: frozenset[Interface] = frozenset()  # of these, those with our mark
    routes: tuple[DesiredRoute, ...] = ()  # as the rules: those with our mark
    rules: tuple[DesiredRule, ...] = ()
    marked: bool = True  # as ours, and as one that gets no link-local address by itself


@dataclass(frozen=True)
class Failure:
    """Something of the desired state that could not be reached; retried by who asked."""

    what: str  # "peer <public key>", "address fd77:…/16", "listen port 6277"
    why: str


@dataclass(frozen=True)
class Applied:
    """The state reached by applying a desired state."""

    index: int
    listen_port: int
    mtu: int
    peers: frozenset[bytes]  # public keys that are in the device now
    added: frozenset[bytes]  # of these, new (or new to their node) since the last apply
    writes: int  # operations sent; 0 when nothing had to change
    done: tuple[str, ...] = ()  # the first of them, for people
    failures: tuple[Failure, ...] = ()
