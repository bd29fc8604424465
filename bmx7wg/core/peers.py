"""The peer table: who is there, by whose word, and in what state (design.md 4).

Fed with observations, policy and what the device has; `now` is monotonic seconds. It only
decides; the mesh (mesh.py) carries out what follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from .bindings import Bindings
from .identity import NodeId
from .limits import MAX_HOPS, MAX_METRIC, MAX_PEERS
from .model import Announced, Announcement, Endpoint, Origin, PeerState, Withdrawn
from .states import LIVE, WANTED, PeerEvent, after

_PRECEDENCE = (Origin.STATIC, Origin.BMX7, Origin.LINK)  # the administrator's word counts most


@dataclass(frozen=True)
class Policy:
    """Whom the administrator lets in."""

    listed_only: bool = False
    listed: frozenset[NodeId] = frozenset()
    blocked: frozenset[NodeId] = frozenset()

    def objection(self, node_id: NodeId) -> tuple[PeerEvent, str] | None:
        if node_id in self.blocked:
            return PeerEvent.BLOCKED, "blocked by the administrator"
        if self.listed_only and node_id not in self.listed:
            return PeerEvent.DISTRUSTED, "not in the configuration's list of trusted nodes"
        return None


@dataclass(slots=True)
class Peer:
    """One node, as all who announce it together describe it."""

    node_id: NodeId
    sightings: tuple[Announced, ...] = ()  # one for each origin, by precedence
    last: Announced | None = None  # what was said last, kept while the peer is lost
    state: PeerState = PeerState.DISCOVERED
    reason: str = ""
    lost_at: float = 0.0
    switched: bool = False  # to the next key, though it is still announced as such
    metric: int = 0
    hops: int = 0

    def seen(self, origin: Origin) -> Announced | None:
        """What *origin* says of it."""
        return next((seen for seen in self.sightings if seen.origin is origin), None)

    def see(self, origin: Origin, seen: Announced | None) -> None:
        """*origin* says this from now on, or nothing any more."""
        others = [other for other in self.sightings if other.origin is not origin]
        said = others if seen is None else [*others, seen]
        self.sightings = tuple(sorted(said, key=lambda one: _PRECEDENCE.index(one.origin)))

    @property
    def sighting(self) -> Announced:
        if self.sightings:
            return self.sightings[0]
        assert self.last is not None
        return self.last

    @property
    def announcement(self) -> Announcement | None:
        content = self.sighting.content
        return content if isinstance(content, Announcement) else None

    @property
    def public_key(self) -> bytes:
        """The key in use: the next one as soon as a handshake was completed with it."""
        said = self.announcement
        if said is None:
            return b""
        return said.next_key if self.switched and said.next_key else said.public_key

    @property
    def endpoint(self) -> Endpoint | None:
        # Who is added by hand without an endpoint may still be found by discovery.
        known = (seen.endpoint for seen in self.sightings if seen.endpoint is not None)
        return next(known, self.sighting.endpoint)

    @property
    def name(self) -> str:
        said = self.announcement.name if self.announcement else ""
        return said or self.sighting.name


class PeerTable:
    """All peers by node id, at most `MAX_PEERS`.

    ``changed`` collects the ids of peers that look different, ``gone`` those that were removed,
    until `drain` is called. ``refused`` counts what was not taken in, by reason.
    """

    def __init__(self, policy: Policy, *, own_id: NodeId, own_key: bytes, grace: float) -> None:
        self._peers: dict[NodeId, Peer] = {}
        self._lost: dict[NodeId, None] = {}  # in the order in which they were lost
        self._bindings = Bindings()
        self._policy, self._grace = policy, grace
        self._own_id, self._own_key = own_id, own_key
        self._changed: set[NodeId] = set()
        self._gone: set[NodeId] = set()
        self.refused: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def get(self, node_id: NodeId) -> Peer | None:
        return self._peers.get(node_id)

    # -- what the sources say -----------------------------------------------------------------

    def announced(self, seen: Announced, now: float) -> None:
        if seen.node_id == self._own_id:
            self.refused["own-id"] += 1
            return
        peer = self._peers.get(seen.node_id)
        if peer is None:
            if len(self._peers) >= MAX_PEERS:
                self.refused["too-many-peers"] += 1
                return
            peer = self._peers[seen.node_id] = Peer(seen.node_id)
            self._gone.discard(seen.node_id)
        elif peer.seen(seen.origin) == seen:
            return
        old_key = peer.public_key if peer.last else b""
        peer.see(seen.origin, seen)
        peer.last = peer.sighting
        if peer.announcement and peer.announcement.public_key == old_key:
            peer.switched = False  # announced at last, or given up
        self._rebind(peer, old_key, now)
        self._judge(peer, now)
        self.touch(peer)

    def withdrawn(self, said: Withdrawn, now: float) -> None:
        peer = self._peers.get(said.node_id)
        if peer is None or peer.seen(said.origin) is None:
            return
        peer.see(said.origin, None)
        if peer.sightings:
            old_key, peer.last = peer.public_key, peer.sighting
            self._rebind(peer, old_key, now)
            self._judge(peer, now)
            self.touch(peer)
        elif peer.state in WANTED:
            self._feed(peer, PeerEvent.WITHDRAWN, said.reason)
            peer.lost_at = now
            self._lost[peer.node_id] = None
        else:
            self._remove(peer, now)

    def dropped(self, node_id: NodeId, origin: Origin, now: float) -> None:
        """*origin* wants this peer no more: unlike one that is lost, it isn't waited for."""
        self.withdrawn(Withdrawn(node_id, origin, "removed"), now)
        peer = self._peers.get(node_id)
        if peer is not None and not peer.sightings:
            self._remove(peer, now)

    def measured(self, node_id: NodeId, metric: int, hops: int) -> None:
        """The way to a node, as its source knows it."""
        metric, hops = min(metric, MAX_METRIC), min(hops, MAX_HOPS)
        peer = self._peers.get(node_id)
        if peer is not None and (peer.metric, peer.hops) != (metric, hops):
            peer.metric, peer.hops = metric, hops
            self.touch(peer)

    # -- what the administrator says ------------------------------------------------------------

    def apply_policy(self, policy: Policy, *, own_key: bytes, grace: float, now: float) -> None:
        """Judge everybody anew by a new configuration."""
        self._policy, self._own_key, self._grace = policy, own_key, grace
        for peer in list(self):
            if peer.sightings:
                self._judge(peer, now)
            elif policy.objection(peer.node_id):
                self._remove(peer, now)

    # -- what the device says -------------------------------------------------------------------

    def device_has(self, peer: Peer, *, installed: bool, connected: bool | None) -> None:
        """Bring the state of an announced peer in line with the device.

        *connected* is None without any handshake. Lost and refused peers are not in question.
        """
        if peer.state not in LIVE:
            return
        if not installed:
            if peer.state is not PeerState.DISCOVERED:
                self._feed(peer, PeerEvent.EVICTED)
            return
        if peer.state is PeerState.DISCOVERED:
            self._feed(peer, PeerEvent.INSTALLED)
        if peer.state is not PeerState.CONNECTED and (
            connected or (connected is False and peer.state is PeerState.CONFIGURED)
        ):
            self._feed(peer, PeerEvent.HANDSHAKE)
        if peer.state is PeerState.CONNECTED and not connected:
            self._feed(peer, PeerEvent.AGED)

    def switch(self, peer: Peer, now: float) -> None:
        """A handshake was completed with the key that the peer announced as its next."""
        old_key, peer.switched = peer.public_key, True
        self._rebind(peer, old_key, now)
        self._judge(peer, now)
        self.touch(peer)

    def handshake(self, peer: Peer) -> None:
        """A handshake was completed: the peer is who it says."""
        self._bindings.prove(peer.public_key)

    # -- time -----------------------------------------------------------------------------------

    def expire(self, now: float) -> None:
        """Remove the lost whose grace is over; let the next claim of a disputed key try."""
        for node_id in list(self._lost):
            peer = self._peers[node_id]
            if now < peer.lost_at + self._grace:
                break
            self._remove(peer, now)
        for old, new in self._bindings.expire(now):
            for node_id in (old, new):
                self._judge(self._peers[node_id], now)

    def next_timeout(self) -> float | None:
        lost = next(iter(self._lost), None)
        times = [] if lost is None else [self._peers[lost].lost_at + self._grace]
        contest = self._bindings.next_timeout()
        return min(times if contest is None else [*times, contest], default=None)

    def drain(self) -> tuple[Collection[NodeId], Collection[NodeId]]:
        """The ids of the peers that changed, and of those that are gone, since the last call."""
        changed, gone = self._changed, self._gone
        self._changed, self._gone = set(), set()
        return changed, gone

    def touch(self, peer: Peer) -> None:
        """Something that is shown of this peer changed (also elsewhere: its counters)."""
        self._changed.add(peer.node_id)

    # -- inside ---------------------------------------------------------------------------------

    def _rebind(self, peer: Peer, old_key: bytes, now: float) -> None:
        if old_key != peer.public_key:
            if old_key:
                self._release(old_key, peer, now)
            if peer.state in (PeerState.CONFIGURED, PeerState.CONNECTED, PeerState.IDLE):
                self._feed(peer, PeerEvent.EVICTED)

    def _release(self, key: bytes, peer: Peer, now: float) -> None:
        successor = self._bindings.release(key, peer.node_id, now)
        if successor is not None:
            self._judge(self._peers[successor], now)

    def _judge(self, peer: Peer, now: float) -> None:
        """Let policy decide anew about a peer that is announced."""
        event, reason = self._verdict(peer, now)
        self._feed(peer, event, reason)

    def _verdict(self, peer: Peer, now: float) -> tuple[PeerEvent, str]:
        content = peer.sighting.content
        objection = self._policy.objection(peer.node_id)
        if not isinstance(content, Announcement):
            return objection or (PeerEvent.MISMATCHED, content.reason)
        key = peer.public_key
        if objection:
            self._release(key, peer, now)  # who is not let in holds no key either
            return objection
        if key == self._own_key:
            return PeerEvent.CLASHED, "announces this node's own public key"
        holder = self._bindings.claim(key, peer.node_id, now)
        if holder != peer.node_id:
            return PeerEvent.CLASHED, f"announces the public key of node {holder}"
        return PeerEvent.ACCEPTED, ""

    def _feed(self, peer: Peer, event: PeerEvent, reason: str = "") -> None:
        state = after(peer.state, event)
        if (state, reason) != (peer.state, peer.reason):
            peer.state, peer.reason = state, reason
            self.touch(peer)
        if state is not PeerState.LOST:
            self._lost.pop(peer.node_id, None)

    def _remove(self, peer: Peer, now: float) -> None:
        del self._peers[peer.node_id]
        self._lost.pop(peer.node_id, None)
        self._changed.discard(peer.node_id)
        self._gone.add(peer.node_id)
        if peer.public_key:
            self._release(peer.public_key, peer, now)
