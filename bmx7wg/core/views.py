"""What people see: values that pass from the core to the bus, frozen as those of model.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .identity import NodeId
from .model import Network, Origin, PeerState, PeerStatistics


class ServiceState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True)
class PeerView:
    """A peer as people see it (design.md 7): text in WireGuard's notation, times in µs."""

    node_id: NodeId
    name: str
    origin: Origin
    state: PeerState
    reason: str
    public_key: str
    endpoint: str
    address: str
    allowed_ips: tuple[str, ...]
    offers: tuple[tuple[str, int], ...]
    metric: int
    hops: int
    last_handshake: int
    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True)
class NetworkView:
    """A network that somebody offers and this node searches."""

    prefix: Network
    gateway: NodeId | None  # None: nobody carries it at the moment
    candidates: tuple[tuple[NodeId, int, str], ...]  # best first: node, worth in bit/s, why not
    table: int
    metric: int
    since: int  # µs since 1970; 0: there is no gateway
    reason: str = ""  # why it is with this gateway, or with none; a sentence


@dataclass(frozen=True)
class DeviceView:
    name: str
    index: int
    backend: str
    public_key: str
    listen_port: int
    firewall_mark: int
    mtu: int
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class ManagerView:
    version: str
    node_id: str
    node_name: str
    state: ServiceState
    problems: tuple[str, ...]
    source: str
    source_state: str
    #: Of each [[offer]] its network, bandwidth in bit/s, and what is announced for it now.
    offers: tuple[tuple[str, int, tuple[str, ...]], ...] = ()
    #: Of each [[search]] its name, network, least and greatest prefix length.
    searches: tuple[tuple[str, str, int, int], ...] = ()


@dataclass(frozen=True)
class Changes:
    """What a turn of the loop changed for those who look; None: that part did not change."""

    manager: ManagerView | None = None
    device: DeviceView | None = None
    peers: tuple[PeerView, ...] = ()  # new or changed
    counted: Mapping[NodeId, PeerStatistics] = field(default_factory=dict)  # new counters alone
    gone: tuple[NodeId, ...] = ()
    networks: tuple[NetworkView, ...] = ()  # new or changed
    networks_gone: tuple[Network, ...] = ()


def with_counters(view: PeerView, read: PeerStatistics) -> PeerView:
    """The same peer with other counters; to make all of its text anew takes four times as long."""
    return replace(
        view,
        last_handshake=read.last_handshake // 1000,
        rx_bytes=read.rx_bytes,
        tx_bytes=read.tx_bytes,
    )
