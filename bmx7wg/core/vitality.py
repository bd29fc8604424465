"""Which gateways answer, and how good the way to each is: what their counters and probes tell.

A gateway that its source gave up is asked before it is left, if the source may be wrong: bmx7
forgets the nodes behind one that restarts for some seconds, while packets go on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .identity import NodeId
from .model import Origin, PeerState, PeerStatistics
from .pathmeter import PathMeter
from .peers import Peer
from .silence import Silence


class Vitality:
    """Watches the peers that carry networks, or could.

    *failed* and *works* are called with a node whenever there is something to say of it.
    """

    def __init__(
        self, failed: Callable[[NodeId, float], None], works: Callable[[NodeId, float], None]
    ) -> None:
        self._failed, self._works = failed, works
        self._silence = Silence()
        self._meter = PathMeter()

    def follow(self, gateways: Mapping[NodeId, bool], now: float) -> None:
        """Measure the ways to these; true: it carries something."""
        self._meter.follow(gateways, now)

    def lost(self, peer: Peer, now: float) -> bool:
        """Whether this peer is lost, as far as gateways go: asked first if bmx7 lost it."""
        if peer.state is not PeerState.LOST:
            self._meter.trust(peer.node_id)
            return False
        if peer.sighting.origin is not Origin.BMX7 or not self._meter.answers(peer.node_id):
            return True
        self._meter.suspect(peer.node_id, now)
        return False

    def listen(
        self,
        keys: Mapping[bytes, NodeId],
        read: Mapping[bytes, PeerStatistics],
        now: float,
    ) -> None:
        """Take in the counters; *keys* are those of the peers to watch."""
        silent, answered = self._silence.look(keys, read, now)
        for key in silent:
            self._failed(keys[key], now)
        for key in answered - silent:
            self._works(keys[key], now)

    def due_probes(self, now: float) -> list[tuple[NodeId, float]]:
        """Whom to probe now, and how many seconds to wait for the answer."""
        return self._meter.due(now)

    def probed(self, node_id: NodeId, round_trip: float | None, now: float) -> None:
        """What became of a probe: seconds, or None when nothing came back."""
        self._meter.probed(node_id, round_trip, now)
        if round_trip is not None:
            self._works(node_id, now)
        elif self._meter.failed(node_id):
            self._failed(node_id, now)

    def metrics(self) -> Mapping[NodeId, int]:
        """The metrics, in bit/s, that are worth telling since the last call."""
        return self._meter.news()

    def next_look(self) -> float | None:
        """When the counters should be read again."""
        return self._silence.next_look()

    def next_probe(self) -> float | None:
        """When `due_probes` has somebody next."""
        return self._meter.next_due()
