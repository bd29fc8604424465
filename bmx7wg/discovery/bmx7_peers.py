"""The nodes that announce themselves through bmx7, without IO: what was heard, what to say.

A deleted file is no farewell yet: bmx7 deletes and writes anew all files of a node whenever
anything of its description changes, and empties the directory when it ends and starts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv6Network
from typing import Final

from ..core.announcement import is_reachable
from ..core.identity import NodeId
from ..core.limits import DEFAULT_PORT, MAX_PEERS, MESH_PREFIX
from ..core.model import (
    Announced,
    Announcement,
    Endpoint,
    Incompatible,
    Observation,
    Origin,
    PathMetric,
    Withdrawn,
)
from .bmx7_show import NodeRow

_MESH: Final = IPv6Network(MESH_PREFIX)


@dataclass
class _Peer:
    content: Announcement | Incompatible
    heard: float
    row: NodeRow | None
    missing_since: float | None = None  # its file is not there, since then
    announced: Announced | None = None  # as last said
    metric: PathMetric | None = None


class PeerBook:
    """All nodes but this one that were heard through bmx7; times are monotonic seconds.

    ``grace`` is how long a deleted file may take to come back, ``relearn`` how long bmx7 may
    take to hear of everybody again after a start (6–40 s seen on a line of 3).
    """

    def __init__(self, *, grace: float, relearn: float) -> None:
        self._grace = grace
        self._relearn = relearn
        self._peers: dict[NodeId, _Peer] = {}
        self._rows: Mapping[NodeId, NodeRow] = {}  # of all nodes, also those without a file
        self._changed: dict[NodeId, None] = {}  # in the order of change
        self._missing: set[NodeId] = set()
        self._withdrawn: list[Withdrawn] = []
        self._held = False
        self._relearned_at = float("-inf")

    def __iter__(self) -> Iterator[NodeId]:
        return iter(self._peers)

    def __len__(self) -> int:
        return len(self._peers)

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._peers

    def heard(self, node_id: NodeId, content: Announcement | Incompatible, now: float) -> bool:
        """A node's file was read. False if there are too many nodes already."""
        peer = self._peers.get(node_id)
        if peer is None:
            if len(self._peers) >= MAX_PEERS:
                return False
            peer = self._peers[node_id] = _Peer(content, now, self._rows.get(node_id))
        peer.content, peer.heard, peer.missing_since = content, now, None
        self._missing.discard(node_id)
        self._changed[node_id] = None
        return True

    def created(self, node_id: NodeId, now: float) -> None:
        """A node's file is there again, empty as yet: its writer has the grace time to fill it."""
        peer = self._peers.get(node_id)
        if peer is not None and peer.missing_since is not None:
            peer.missing_since = now

    def deleted(self, node_id: NodeId, now: float) -> None:
        """A node's file was deleted."""
        peer = self._peers.get(node_id)
        if peer is not None and peer.missing_since is None:
            peer.missing_since = now
            self._missing.add(node_id)

    def scanned(self, present: Iterable[NodeId], begun: float) -> None:
        """All files were listed, beginning at *begun*; who is not among them is missing."""
        for node_id in self._peers.keys() - set(present):
            if self._peers[node_id].heard < begun:
                self.deleted(node_id, begun)

    def forget(self, node_id: NodeId) -> None:
        """Withdraw a node at once."""
        self._withdraw(node_id, "it is this node")

    def hold(self, now: float) -> None:
        """bmx7 can't be believed from here on: it ended, or its directory is gone."""
        self._held = True
        for node_id in self._peers:
            self.deleted(node_id, now)

    def release(self, now: float) -> None:
        """bmx7 is back, and hears of the others again one by one."""
        self._held = False
        if self._peers:
            self._relearned_at = now + self._relearn

    def learned(self, rows: Mapping[NodeId, NodeRow]) -> None:
        """bmx7 told where nodes are, and how good the way there is."""
        self._rows = rows
        for node_id in rows.keys() & self._peers.keys():
            peer, row = self._peers[node_id], rows[node_id]
            if row.address is None and peer.row is not None:
                # Not known at this moment, as after a start of bmx7, is not another one.
                row = replace(row, address=peer.row.address)
            if peer.row != row:
                peer.row = row
                self._changed[node_id] = None

    def lacks_endpoint(self, node_id: NodeId) -> bool:
        """Whether the node could be spoken to, if it were known where it is."""
        peer = self._peers[node_id]
        return isinstance(peer.content, Announcement) and _endpoint(peer) is None

    def deadline(self) -> float:
        """When `expire` has something to do; infinite if never."""
        if self._held:
            return float("inf")
        return min((self._due(self._peers[n]) for n in self._missing), default=float("inf"))

    def expire(self, now: float) -> None:
        """Withdraw those whose file did not come back in time."""
        if not self._held:
            for node_id in [n for n in self._missing if self._due(self._peers[n]) <= now]:
                self._withdraw(node_id, "no longer announced")

    def drain(self) -> list[Observation]:
        """What to tell the core since the last time; nothing twice."""
        said: list[Observation] = list(self._withdrawn)
        for node_id in self._changed:
            said.extend(_news(node_id, self._peers[node_id]))
        self._withdrawn.clear()
        self._changed.clear()
        return said

    def _due(self, peer: _Peer) -> float:
        assert peer.missing_since is not None
        return max(peer.missing_since + self._grace, self._relearned_at)

    def _withdraw(self, node_id: NodeId, reason: str) -> None:
        peer = self._peers.pop(node_id, None)
        self._changed.pop(node_id, None)
        self._missing.discard(node_id)
        if peer is not None and peer.announced is not None:
            self._withdrawn.append(Withdrawn(node_id, Origin.BMX7, reason))


def _news(node_id: NodeId, peer: _Peer) -> Iterator[Observation]:
    name = peer.row.name if peer.row else ""
    announced = Announced(node_id, Origin.BMX7, peer.content, _endpoint(peer), name)
    if announced != peer.announced:
        peer.announced = announced
        yield announced
    if peer.row is not None:
        metric = PathMetric(node_id, peer.row.metric, peer.row.hops)
        if metric != peer.metric:
            peer.metric = metric
            yield metric


def _endpoint(peer: _Peer) -> Endpoint | None:
    if isinstance(peer.content, Incompatible):
        return None
    endpoints = peer.content.endpoints
    if not endpoints and peer.row is not None and peer.row.address is not None:
        endpoints = (Endpoint(peer.row.address, peer.content.port or DEFAULT_PORT),)
    # An endpoint inside the mesh would send the tunnel through itself.
    outside = (e for e in endpoints if is_reachable(e.address) and e.address not in _MESH)
    return next(outside, None)
