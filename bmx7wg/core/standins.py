"""Who carries the networks of an adopted device until the nodes behind its peers are heard of."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .identity import NodeId
from .limits import ADOPTED_HOLD, MAX_BANDWIDTH
from .model import Network, Offer
from .policy import Gateway, Standing


class StandIns:
    """Gateways that nobody announces, one for each public key; no other is preferred to them.

    Their node ids are names and nothing else: those of peers that are no nodes.
    """

    def __init__(self) -> None:
        self._gateways: dict[NodeId, Gateway] = {}
        self._until: float | None = None

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._gateways

    @property
    def gateways(self) -> Collection[Gateway]:
        return self._gateways.values()

    def add(self, key: bytes, prefixes: Iterable[Network], now: float) -> Gateway:
        """One for the peer with this public key, that keeps these *prefixes* for a while."""
        node_id = NodeId.of_public_key(key)
        offers = tuple(Offer(prefix, MAX_BANDWIDTH) for prefix in prefixes)
        gateway = self._gateways[node_id] = Gateway(node_id, "", offers, 0, Standing.KEPT)
        self._until = now + ADOPTED_HOLD
        return gateway

    def relieve(self, key: bytes) -> NodeId | None:
        """The node with this public key is there; returns who stood in for it, if any did."""
        if not self._gateways:
            return None
        gateway = self._gateways.pop(NodeId.of_public_key(key), None)
        return gateway.node_id if gateway is not None else None

    def expire(self, now: float) -> Collection[NodeId]:
        """Those whose time is over."""
        if self._until is None or now < self._until:
            return ()
        gone = tuple(self._gateways)
        self._gateways.clear()
        self._until = None
        return gone

    def next_timeout(self) -> float | None:
        return self._until
