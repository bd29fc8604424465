"""The core of the service: observations in, the desired device and what people see out.

    observe() → peer table → desired() → the device → applied(), statistics() → changes()

`now` is monotonic seconds, `wall` is ns since 1970. Nothing here does IO; the service carries
out what `desired`, `due_probes` and `next_timeout` ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, IPv6Interface, IPv6Network

from .config import Config
from .identity import NodeId, key_text, mesh_address, preshared_key, public_key
from .model import (
    ActualDevice,
    Announced,
    Applied,
    Changes,
    DesiredDevice,
    DesiredPeer,
    Endpoint,
    PathMetric,
    PeerState,
    PeerStatistics,
    PeerView,
    SourceState,
    SourceStatus,
    Withdrawn,
)
from .peers import Peer, PeerTable, Policy
from .sessions import Sessions
from .states import WANTED

MESH_PREFIX_LENGTH = 16  # one connected route serves every peer


@dataclass(frozen=True)
class Settings:
    """What of the configuration the mesh needs; may be replaced while it runs."""

    config: Config
    private_key: bytes
    secret: bytes = b""  # the mesh secret; empty without one

    @property
    def policy(self) -> Policy:
        trust = self.config.trust
        return Policy(trust.accept == "listed", frozenset(trust.nodes), frozenset(trust.blocked))

    def needs_restart(self, before: Settings) -> list[str]:
        """The sections that differ from *before* and that are only read at the start."""
        new, old = self.config, before.config
        pairs = {
            "node.key": (new.node.key, old.node.key),
            "device.name": (new.device.name, old.device.name),
            "device.backend": (new.device.backend, old.device.backend),
            "discovery.source": (new.discovery.source, old.discovery.source),
            "discovery.bmx7": (new.discovery.bmx7, old.discovery.bmx7),
            "discovery.link": (new.discovery.link, old.discovery.link),
        }
        return [name for name, (one, other) in pairs.items() if one != other]


class Mesh:
    """One node's view of the mesh."""

    def __init__(self, node_id: NodeId, settings: Settings) -> None:
        self.node_id = node_id
        self._settings = settings
        self._table = PeerTable(
            settings.policy,
            own_id=node_id,
            own_key=public_key(settings.private_key),
            grace=settings.config.discovery.grace,
        )
        self._sessions = Sessions()
        self._wanted: dict[bytes, DesiredPeer] = {}
        self._holders: dict[bytes, NodeId] = {}  # of the keys in _wanted
        self._keys: dict[NodeId, bytes] = {}  # the same, the other way
        self._adopted: dict[bytes, DesiredPeer] = {}
        self._adopted_until: float | None = None
        self._underlay: tuple[str, ...] = ()
        self._seen: set[NodeId] = set()  # peers that somebody who looks knows of
        self._changed: set[NodeId] = set()
        self._gone: set[NodeId] = set()
        #: Grows whenever `desired` may be different from before.
        self.revision = 0

    @property
    def refused(self) -> Mapping[str, int]:
        """How many observations were not taken in, by reason."""
        return self._table.refused

    def __len__(self) -> int:
        return len(self._table)

    def counts(self) -> Mapping[PeerState, int]:
        """How many peers there are in each state."""
        counts: dict[PeerState, int] = {state: 0 for state in PeerState}
        for peer in self._table:
            counts[peer.state] += 1
        return counts

    # -- in ---------------------------------------------------------------------------------------

    def observe(
        self, observation: Announced | Withdrawn | PathMetric | SourceStatus, now: float
    ) -> None:
        """Take in what a source saw."""
        if isinstance(observation, Announced):
            known = self._table.get(observation.node_id)
            back = known is not None and known.state is PeerState.LOST
            self._table.announced(observation, now)
            if back:
                self._sessions.probe_again(self._keys.get(observation.node_id, b""), now)
        elif isinstance(observation, Withdrawn):
            self._table.withdrawn(observation, now)
        elif isinstance(observation, PathMetric):
            self._table.measured(observation.node_id, observation.metric, observation.hops)
        else:
            if observation.interfaces != self._underlay:
                self._underlay = observation.interfaces
                self.revision += 1
            ready = observation.state is SourceState.READY
            if ready and self._adopted and self._adopted_until is None:
                self._adopted_until = now + self._settings.config.discovery.grace
        self._settle(now)

    def reconfigure(self, settings: Settings, now: float) -> None:
        """Use another configuration from now on; nothing that it allows is torn down."""
        before, self._settings = self._settings, settings
        self._table.apply_policy(settings.policy, settings.config.discovery.grace, now)
        if settings.secret != before.secret:
            for node_id in list(self._keys):
                self._unwant(node_id)
        for peer in self._table:
            self._table.touch(peer)
        self._settle(now)
        self.revision += 1

    def adopt(self, actual: ActualDevice, now: float) -> None:
        """Keep the peers of a device that was there before us.

        They stay until the source has answered and the grace time is over, or until a peer
        that is announced takes their place.
        """
        for key, peer in actual.peers.items():
            self._adopted[key] = DesiredPeer(
                key, peer.preshared_key, peer.endpoint, peer.allowed_ips, peer.keepalive
            )
        self._sessions.install(actual.peers, now, fresh=False)
        self.revision += 1

    def applied(self, applied: Applied, now: float) -> None:
        """Take in what the device reached."""
        self._sessions.evict(self._sessions.keys() - applied.peers)
        self._sessions.install(applied.peers - self._sessions.keys(), now, fresh=True)
        self._compare(now)

    def device_lost(self, now: float) -> None:
        """There is no device at the moment."""
        self._sessions.evict(tuple(self._sessions.keys()))
        self._compare(now)

    def statistics(self, read: Mapping[bytes, PeerStatistics], now: float, wall: int) -> None:
        """Take in the device's counters and handshakes."""
        changed, shaken = self._sessions.update(read, now, wall)
        for key in changed:
            peer = self._holder(key)
            if peer is not None:
                self._table.touch(peer)
                if key in shaken:
                    self._table.handshake(peer)
        self._compare(now)

    def advance(self, now: float) -> None:
        """Let time do its work."""
        self._table.expire(now)
        if self._adopted_until is not None and now >= self._adopted_until:
            self._adopted.clear()
            self._adopted_until = None
            self.revision += 1
        self._settle(now)

    # -- out --------------------------------------------------------------------------------------

    def desired(self) -> DesiredDevice:
        """The whole state that the device should have."""
        device = self._settings.config.device
        peers = {**self._wanted}
        taken = {prefix for peer in peers.values() for prefix in peer.allowed_ips}
        for key, peer in self._adopted.items():
            if key not in peers and taken.isdisjoint(peer.allowed_ips):
                peers[key] = peer
        return DesiredDevice(
            name=device.name,
            private_key=self._settings.private_key,
            listen_port=device.port,
            firewall_mark=device.firewall_mark,
            mtu=device.mtu,
            underlay=self._underlay,
            addresses=(IPv6Interface((mesh_address(self.node_id), MESH_PREFIX_LENGTH)),),
            peers=peers,
        )

    def due_probes(self, now: float) -> list[IPv6Address]:
        """The mesh addresses to which one datagram should be sent now."""
        due = (self._holders.get(key) for key in self._sessions.due_probes(now))
        return [mesh_address(node_id) for node_id in due if node_id is not None]

    def next_timeout(self) -> float | None:
        """When `advance` or `due_probes` have something to do."""
        times = (self._table.next_timeout(), self._sessions.next_probe(), self._adopted_until)
        return min((time for time in times if time is not None), default=None)

    def next_look(self) -> float | None:
        """When the device's counters should be read next."""
        return self._sessions.next_look()

    @property
    def looked(self) -> float:
        """When the device's counters were read last."""
        return self._sessions.looked

    def changes(self) -> Changes:
        """What is different, for those who look, since the last call."""
        peers = []
        for node_id in self._changed:
            peer = self._table.get(node_id)
            if peer is not None:
                peers.append(self._view(peer))
        gone = tuple(self._gone & self._seen)
        self._seen |= self._changed
        self._seen -= self._gone
        self._changed, self._gone = set(), set()
        return Changes(peers=tuple(peers), gone=gone)

    # -- inside -----------------------------------------------------------------------------------

    def _holder(self, key: bytes) -> Peer | None:
        node_id = self._holders.get(key)
        return None if node_id is None else self._table.get(node_id)

    def _compare(self, now: float) -> None:
        for peer in self._table:
            key = self._keys.get(peer.node_id, b"")
            self._table.device_has(
                peer,
                installed=key in self._sessions,
                connected=self._sessions.is_connected(key, now),
            )
        self._settle(now)

    def _settle(self, now: float) -> None:
        """Carry what changed in the table over to the desired peers."""
        changed, gone = self._table.drain()
        fresh = []
        for node_id in (*changed, *gone):
            peer = self._table.get(node_id)
            if peer is None or peer.state not in WANTED:
                self._unwant(node_id)
            else:
                fresh.append(peer)
        for peer in fresh:
            self._want(peer, now)
        self._changed = (self._changed | set(changed)) - set(gone)
        self._gone = (self._gone | set(gone)) - set(changed)

    def _unwant(self, node_id: NodeId) -> None:
        key = self._keys.pop(node_id, None)
        if key is not None and self._holders.get(key) == node_id:
            del self._holders[key], self._wanted[key]
            self._sessions.evict((key,))
            self.revision += 1

    def _want(self, peer: Peer, now: float) -> None:
        wanted = self._desired_peer(peer)
        key = wanted.public_key
        if self._keys.get(peer.node_id, key) != key:
            self._unwant(peer.node_id)
        before = self._wanted.get(key)
        if before == wanted:
            return
        if before is not None and before.endpoint != wanted.endpoint:
            self._sessions.probe_again(key, now)
        self._adopted.pop(key, None)
        self._wanted[key] = wanted
        self._holders[key] = peer.node_id
        self._keys[peer.node_id] = key
        self.revision += 1

    def _desired_peer(self, peer: Peer) -> DesiredPeer:
        keepalive = self._settings.config.device.keepalive
        before = self._wanted.get(peer.public_key)
        if before is not None and self._holders[peer.public_key] == peer.node_id:
            return replace(before, endpoint=peer.endpoint, keepalive=keepalive)
        return DesiredPeer(
            public_key=peer.public_key,
            preshared_key=preshared_key(self.node_id, peer.node_id, self._settings.secret),
            endpoint=peer.endpoint,
            allowed_ips=(IPv6Network(mesh_address(peer.node_id)),),
            keepalive=keepalive,
        )

    def _view(self, peer: Peer) -> PeerView:
        key = peer.public_key
        in_device = peer.state in WANTED
        read = self._sessions.statistics(key) if in_device else None
        announced = peer.announcement
        endpoint = _current(read.endpoint if read else None, peer.endpoint)
        wanted = self._wanted.get(key) if in_device else None
        return PeerView(
            node_id=peer.node_id,
            name=peer.name,
            origin=peer.sighting.origin,
            state=peer.state,
            reason=peer.reason,
            public_key=key_text(key) if key else "",
            endpoint=str(endpoint) if endpoint else "",
            address=str(mesh_address(peer.node_id)),
            allowed_ips=tuple(str(prefix) for prefix in wanted.allowed_ips) if wanted else (),
            offers=tuple((str(o.prefix), o.bandwidth) for o in announced.networks)
            if announced
            else (),
            metric=peer.metric,
            hops=peer.hops,
            last_handshake=read.last_handshake // 1000 if read else 0,
            rx_bytes=read.rx_bytes if read else 0,
            tx_bytes=read.tx_bytes if read else 0,
        )


def _current(roamed: Endpoint | None, announced: Endpoint | None) -> Endpoint | None:
    """Where a peer is: the device knows best, but may not know the interface of an address."""
    if roamed is None:
        return announced
    if announced is not None and announced.address == roamed.address:
        return replace(announced, port=roamed.port)
    return roamed
