"""What the service says of itself: its state, its problems, and what becomes of its peers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from ..core.config import Config
from ..core.identity import NodeId, mesh_address
from ..core.model import Network, Offer, OfferRule, PeerState, SourceStatus
from ..core.prefixes import inside
from ..core.searches import name_of, shortest
from ..core.views import Changes, DeviceView, ManagerView, NetworkView, PeerView, ServiceState
from . import journal

log = logging.getLogger("bmx7wg.service")
peers_log = logging.getLogger("bmx7wg.peers")
networks_log = logging.getLogger("bmx7wg.networks")

#: The states that an administrator wants to hear of; the others are steps on the way.
_NEWS = {
    PeerState.CONNECTED: logging.INFO,
    PeerState.LOST: logging.INFO,
    PeerState.INCOMPATIBLE: logging.WARNING,
    PeerState.CONFLICT: logging.WARNING,
}


class Report:
    """Remembers what was said, so that each thing is said once."""

    def __init__(self) -> None:
        self.node_id = ""
        self.state = ServiceState.STARTING
        self.source: SourceStatus | None = None
        self._problems: dict[str, str] = {}
        self._states: dict[NodeId, PeerState] = {}
        self.offers: tuple[tuple[str, int, tuple[str, ...]], ...] = ()  # as in ManagerView
        self.searches: tuple[tuple[str, str, int, int], ...] = ()
        self._told: tuple[object, ...] = ()  # what these are made of
        self._gateways: dict[Network, NodeId | None] = {}
        self._manager: ManagerView | None = None
        self._device: DeviceView | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong at the moment, "area: sentence" each."""
        return tuple(f"{area}: {sentence}" for area, sentence in self._problems.items())

    def problem(self, area: str, sentence: str) -> None:
        """Note what is wrong with *area*; an empty sentence when nothing is any more."""
        before = self._problems.get(area, "")
        if sentence == before:
            return
        if sentence:
            self._problems[area] = sentence
            log.warning("%s: %s", area, sentence, extra=self._id(journal.PROBLEM_APPEARED))
        else:
            del self._problems[area]
            log.info("%s: solved: %s", area, before, extra=self._id(journal.PROBLEM_SOLVED))

    def settle(self, *, ready: bool) -> None:
        """Let the state follow from the problems, once the start is over."""
        if ready and self.state is not ServiceState.STOPPING:
            self.state = ServiceState.DEGRADED if self._problems else ServiceState.RUNNING

    def complete(
        self, changes: Changes, manager: ManagerView, device: DeviceView | None
    ) -> Changes | None:
        """Add what changed of the service itself; None when nothing at all did."""
        if manager != self._manager:
            self._manager = manager
            changes = replace(changes, manager=manager)
        if device is not None and device != self._device:
            self._device = device
            changes = replace(changes, device=device)
        return changes if changes != Changes() else None

    def peers_changed(self, changes: Changes) -> None:
        """Write to the journal what became of peers."""
        for peer in changes.peers:
            before = self._states.get(peer.node_id)
            if peer.state is not before:
                self._states[peer.node_id] = peer.state
                level = _NEWS.get(peer.state, logging.DEBUG)
                if peer.state is PeerState.CONNECTED and before is PeerState.IDLE:
                    level = logging.DEBUG
                self._peer(level, peer)
        for node_id in changes.gone:
            self._states.pop(node_id, None)
            peers_log.info("peer %s: removed", node_id, extra=self._peer_fields(node_id, "removed"))

    def networks_changed(self, changes: Changes) -> None:
        """Write to the journal which network is now carried by whom, and why."""
        for network in changes.networks:
            before = self._gateways.get(network.prefix)
            self._gateways[network.prefix] = network.gateway
            if network.gateway != before:
                self._network(network)
        for prefix in changes.networks_gone:
            if self._gateways.pop(prefix, None) is not None:
                extra = self._network_fields(prefix, None)
                networks_log.info("network %s: no longer carried", prefix, extra=extra)

    def networks_told(self, config: Config, announced: tuple[Offer, ...]) -> None:
        """What this node offers and searches, and what it announces of that."""
        if (told := (config.offers, config.searches, announced)) == self._told:
            return
        self._told = told
        self.searches = tuple(
            (name_of(item), str(item.network), shortest(item), item.max_prefix_length)
            for item in config.searches
        )
        self.offers = tuple(
            (str(rule.network), rule.bandwidth, tuple(_announced(rule, announced)))
            for rule in config.offers
        )

    def status_line(self, counts: Mapping[PeerState, int]) -> str:
        """One line for systemctl status, in plain words."""
        total = sum(counts.values())
        parts = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        peers = f"{total} peer{'' if total == 1 else 's'}" + (f": {parts}" if parts else "")
        via = f"; via {self.source.origin}" if self.source else ""
        problems = f"; {'; '.join(self.problems)}" if self._problems else ""
        return f"{peers}{via}{problems}"

    def _peer(self, level: int, peer: PeerView) -> None:
        peers_log.log(
            level,
            "peer %s%s: %s%s%s",
            f"{peer.name} " if peer.name else "",
            peer.address,
            peer.state.value,
            f" at {peer.endpoint}" if peer.endpoint and peer.state is PeerState.CONNECTED else "",
            f" ({peer.reason})" if peer.reason else "",
            extra=self._peer_fields(peer.node_id, peer.state.value),
        )

    def _network(self, network: NetworkView) -> None:
        gateway = network.gateway
        carried = f"carried by {mesh_address(gateway)}" if gateway else "carried by nobody"
        networks_log.info(
            "network %s: %s%s",
            network.prefix,
            carried,
            f" ({network.reason})" if network.reason else "",
            extra=self._network_fields(network.prefix, gateway),
        )

    def _network_fields(self, prefix: Network, gateway: NodeId | None) -> dict[str, object]:
        peer = {journal.PEER: str(gateway)} if gateway else {}
        fields = {journal.NETWORK: str(prefix), **peer}
        return journal.fields(journal.NETWORK_CHANGED, self.node_id, **fields)

    def _peer_fields(self, node_id: NodeId, state: str) -> dict[str, object]:
        fields = {journal.PEER: str(node_id), journal.STATE: state}
        return journal.fields(journal.PEER_CHANGED, self.node_id, **fields)

    def _id(self, message_id: str) -> dict[str, object]:
        return journal.fields(message_id, self.node_id)


def _announced(rule: OfferRule, announced: Iterable[Offer]) -> Iterator[str]:
    for offer in announced:
        if offer.prefix == rule.network or rule.from_table and inside(offer.prefix, rule.network):
            yield str(offer.prefix)
