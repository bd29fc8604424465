"""The core of the service: observations in, the desired device and what people see out.

    observe() → peer table → desired() → the device → applied(), statistics() → changes()

`now` is monotonic seconds, `wall` is ns since 1970. Nothing here does IO; the service carries
out what `desired`, `due_probes` and `next_timeout` ask for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Interface

from .adoption import Adoption
from .identity import NodeId, mesh_address
from .keys import public_key
from .model import (
    ActualDevice,
    Announced,
    Announcement,
    Applied,
    DesiredDevice,
    Offer,
    Origin,
    PathMetric,
    PeerState,
    PeerStatistics,
    SourceState,
    SourceStatus,
    StaticPeer,
    Surroundings,
    Withdrawn,
)
from .networks import Networks
from .news import News
from .peers import Peer, PeerTable
from .peerview import current_endpoint, view
from .roster import Roster
from .sessions import Sessions
from .settings import Settings
from .states import WANTED
from .views import Changes, PeerView
from .vitality import Vitality

MESH_PREFIX_LENGTH = 16  # one connected route serves every peer


class Mesh:
    """One node's view of the mesh."""

    def __init__(self, node_id: NodeId, settings: Settings) -> None:
        self.node_id = node_id
        self._settings = settings
        own_key = public_key(settings.private_key)
        self._table = PeerTable(
            settings.policy,
            own_id=node_id,
            own_key=own_key,
            grace=settings.config.discovery.grace,
        )
        self._sessions = Sessions(own_key)
        self._resting: set[bytes] = set()  # left out of the device once, for a new handshake
        self._hurried: float | None = None
        self._static: set[NodeId] = set()
        self._roster = Roster(node_id, settings)
        self._networks = Networks(settings.config)
        self._vitality = Vitality(self._networks.failed, self._networks.works)
        self._adoption = Adoption()
        self._underlay: tuple[str, ...] = ()
        self._news = News()
        self._revision = 0
        self._set_static(settings.config.peers, 0.0)

    @property
    def revision(self) -> int:
        """Grows whenever `desired` may be different from before."""
        return self._revision + self._roster.revision + self._networks.revision

    @property
    def refused(self) -> Mapping[str, int]:
        """How many observations were not taken in, by reason."""
        return self._table.refused + self._networks.refused

    def counts(self) -> Mapping[PeerState, int]:
        """How many peers there are in each state."""
        counts: dict[PeerState, int] = {state: 0 for state in PeerState}
        for peer in self._table:
            counts[peer.state] += 1
        return counts

    # -- in ---------------------------------------------------------------------------------------

    def observe(
        self,
        observation: Announced | Withdrawn | PathMetric | SourceStatus | Surroundings,
        now: float,
    ) -> None:
        """Take in what a source saw."""
        if isinstance(observation, Announced):
            self._announced(observation, now)
        elif isinstance(observation, Withdrawn):
            self._table.withdrawn(observation, now)
        elif isinstance(observation, PathMetric):
            self._table.measured(observation.node_id, observation.metric, observation.hops)
        elif isinstance(observation, SourceStatus):
            if observation.interfaces != self._underlay:
                self._underlay = observation.interfaces
                self._revision += 1
            if observation.state is SourceState.READY:
                self._adoption.answered(now, self._settings.config.discovery.grace)
        elif isinstance(observation, Surroundings):
            self._networks.surround(observation, now)
        self._settle(now)

    def _announced(self, seen: Announced, now: float) -> None:
        before = self._table.get(seen.node_id)
        back = before is not None and before.state is PeerState.LOST
        self._table.announced(seen, now)
        self._settle(now)
        peer = self._table.get(seen.node_id)
        if back and peer is not None:
            # It may be in the device all the time, and nothing there changes by its return.
            self._sessions.probe_again(peer.public_key, now)
            self._compare_one(peer, now)

    def reconfigure(self, settings: Settings, now: float) -> None:
        """Use another configuration from now on; nothing that it allows is torn down."""
        before, self._settings = self._settings, settings
        own_key = self._sessions.own_key = public_key(settings.private_key)
        self._table.apply_policy(
            settings.policy,
            own_key=own_key,
            grace=settings.config.discovery.grace,
            now=now,
        )
        self._roster.reconfigure(settings)
        self._networks.reconfigure(settings.config, now)
        self._set_static(settings.config.peers, now)
        if settings.private_key != before.private_key:
            self._sessions.renew(now)
        for peer in self._table:
            self._table.touch(peer)
        self._settle(now)
        self._revision += 1

    def resumed(self, away: float, now: float) -> None:
        """The machine slept for *away* seconds, which `now` does not count."""
        self._sessions.resumed(away, now)
        self._hurry(now)
        self._compare(now)

    def adopt(self, actual: ActualDevice, now: float) -> None:
        """Keep the peers of a device that was there before us (adoption.py)."""
        self._adoption.begin(actual)
        self._sessions.install(actual.peers, now, fresh=False)
        self._networks.adopt(self._adoption.peers, self._roster.holder, now)
        self._choose(now)
        self._revision += 1

    def applied(self, applied: Applied, now: float) -> None:
        """Take in what the device reached."""
        left_out = self._resting - applied.peers
        if left_out:
            self._resting = self._resting - left_out  # a new one, for sets don't shrink
            self._hurry(now)
        self._sessions.evict(self._sessions.keys() - applied.peers - left_out)
        # Added ones are new to the device; it may have been made anew, without their sessions.
        fresh = applied.added | (applied.peers - self._sessions.keys())
        self._sessions.install(fresh, now, fresh=True)
        self._compare(now)

    def device_lost(self, now: float) -> None:
        """There is no device at the moment."""
        self._sessions.evict(tuple(self._sessions.keys()))
        self._compare(now)

    def statistics(self, read: Mapping[bytes, PeerStatistics], now: float, wall: int) -> None:
        """Take in the device's counters and handshakes."""
        self._networks.clock(now, wall)
        waiting = self._sessions.waiting()
        seen = self._sessions.update(read, now, wall)
        for key in seen.changed:
            peer = self._holder(key)
            if peer is None:
                continue
            if key in seen.shaken:
                self._table.handshake(peer)
            if key in seen.shaken or key in seen.roamed:
                self._table.touch(peer)
            else:
                self._news.counted(peer.node_id)
        self._switch(seen.shaken, now)
        watched = {self._roster.key_of(node_id): node_id for node_id in self._networks.watched()}
        self._vitality.listen(watched, read, now)
        stalled = self._sessions.take_stalled()
        self._resting.update(key for key in stalled if self._can_rest(key))
        if self._resting or waiting != self._sessions.waiting():
            self._hurry(now)
        self._settle(now)  # from here on, who switched is known by the new key
        for key in seen.changed | seen.aged:
            peer = self._holder(key)
            if peer is not None:
                self._compare_one(peer, now)
        self._settle(now)

    def _switch(self, shaken: set[bytes], now: float) -> None:
        """Follow peers to the keys that they announced and now use.

        Their announcement of it may take seconds to come; their packets are there now.
        """
        if not self._roster.expects_switches:
            self._sessions.look_as_usual()
            return
        for key in shaken:
            node_id = self._roster.switching(key)
            peer = self._table.get(node_id) if node_id else None
            if peer is not None:
                self._table.switch(peer, now)

    def advance(self, now: float) -> None:
        """Let time do its work."""
        self._hurried = None
        self._table.expire(now)
        if self._adoption.expire(now):
            self._revision += 1
        self._settle(now)
        for node_id in self._networks.due_calls(now):
            self._sessions.probe_again(self._roster.key_of(node_id), now)
        self._choose(now)

    def probed(self, node_id: NodeId, round_trip: float | None, now: float) -> None:
        """What became of a probe of `due_measurements`: seconds, or None when it was lost."""
        self._vitality.probed(node_id, round_trip, now)
        for measured, metric in self._vitality.metrics().items():
            peer = self._table.get(measured)
            if peer is not None and peer.sighting.origin is not Origin.BMX7:  # which measures
                self._table.measured(measured, metric, peer.hops)
        peer = self._table.get(node_id)
        if peer is not None and peer.state is PeerState.LOST:
            self._table.touch(peer)  # whether it is lost as a gateway hangs on its answers
        self._settle(now)

    # -- out --------------------------------------------------------------------------------------

    def desired(self) -> DesiredDevice:
        """The whole state that the device should have."""
        device = self._settings.config.device
        peers = self._roster.peers()
        for key in self._resting:
            peers.pop(key, None)
        for key, peer in peers.items():
            if self._roster.holder(key) and self._sessions.waits_for(key):
                peers[key] = replace(peer, endpoint=None)
        self._adoption.add_to(peers)
        return DesiredDevice(
            name=device.name,
            private_key=self._settings.private_key,
            listen_port=device.port,
            firewall_mark=device.firewall_mark,
            mtu=device.mtu,
            underlay=self._underlay,
            addresses=(
                IPv6Interface((mesh_address(self.node_id), MESH_PREFIX_LENGTH)),
                *device.addresses,
            ),
            peers=peers,
            routes=self._networks.routes(),
            rules=self._networks.rules(),
            forward=device.forward,
        )

    def offers(self) -> tuple[Offer, ...]:
        """What this node carries for others at the moment."""
        return self._networks.offers

    def offers_left_out(self) -> int:
        """How many networks it would carry besides, for which an announcement has no room."""
        return self._networks.left_out

    def tables(self) -> frozenset[int]:
        """The routing tables of which `Surroundings` should tell."""
        return self._networks.tables

    @property
    def chooses(self) -> bool:
        """Whether there are gateways to choose among, so that metrics have to be fresh."""
        return self._networks.chooses

    def due_probes(self, now: float) -> list[IPv6Address]:
        """The mesh addresses to which one datagram should be sent now."""
        due = (self._roster.holder(key) for key in self._sessions.due_probes(now))
        return [a for a in (self._roster.address(node) for node in due if node) if a]

    def due_measurements(self, now: float) -> list[tuple[NodeId, IPv6Address, float]]:
        """Gateways to be measured: node, mesh address, seconds to wait for the answer."""
        due = self._vitality.due_probes(now)
        found = ((node_id, self.address(node_id), patience) for node_id, patience in due)
        return [(node_id, address, wait) for node_id, address, wait in found if address]

    def address(self, node_id: NodeId) -> IPv6Address | None:
        """The mesh address of a peer that is in the device, None if it has none."""
        return self._roster.address(node_id) if self._roster.key_of(node_id) else None

    def next_timeout(self) -> float | None:
        """When `advance` or `due_probes` have something to do."""
        times = (
            self._table.next_timeout(),
            self._sessions.next_probe(),
            self._vitality.next_probe(),
            self._adoption.next_timeout(),
            self._hurried,
            self._networks.next_timeout(),
        )
        return min((time for time in times if time is not None), default=None)

    def next_look(self) -> float | None:
        """When the device's counters should be read next."""
        times = (self._sessions.next_look(), self._vitality.next_look())
        return min((time for time in times if time is not None), default=None)

    @property
    def looked(self) -> float:
        """When the device's counters were read last."""
        return self._sessions.looked

    def show_counters(self) -> bool:
        """Let `changes` tell of the counters too; false if there is nothing new."""
        return self._news.show_counters()

    @property
    def has_changes(self) -> bool:
        """Whether `changes` has something to tell of."""
        return bool(self._news) or self._networks.has_changes

    def changes(self) -> Changes:
        """What is different, for those who look, since the last call.

        Of many peers only some are told at once; `has_changes` then says that there are more.
        """
        shown, counted, gone = self._news.take()
        present = (self._table.get(node_id) for node_id in shown)
        reads = ((n, self._sessions.statistics(self._roster.key_of(n))) for n in counted)
        networks, networks_gone = self._networks.changes()
        return Changes(
            peers=tuple(self._view(peer) for peer in present if peer is not None),
            counted={node_id: read for node_id, read in reads if read is not None},
            gone=tuple(gone),
            networks=networks,
            networks_gone=networks_gone,
        )

    # -- inside -----------------------------------------------------------------------------------

    def _hurry(self, now: float) -> None:
        """What is desired changed by itself: it should be applied at once."""
        self._revision += 1
        self._hurried = now

    def _can_rest(self, key: bytes) -> bool:
        """Whether a peer that is put into the device anew can be reached as well as before.

        Without an endpoint of its own, what the device has learnt is all that there is.
        """
        node_id = self._roster.holder(key)
        wanted = self._roster.get(node_id) if node_id else None
        return wanted is not None and wanted.endpoint is not None

    def _holder(self, key: bytes) -> Peer | None:
        node_id = self._roster.holder(key)
        return None if node_id is None else self._table.get(node_id)

    def _compare(self, now: float) -> None:
        for peer in self._table:
            self._compare_one(peer, now)
        self._settle(now)

    def _compare_one(self, peer: Peer, now: float) -> None:
        key = self._roster.key_of(peer.node_id)
        self._table.device_has(
            peer,
            installed=key in self._sessions,
            connected=self._sessions.is_connected(key, now),
        )

    def _settle(self, now: float) -> None:
        """Carry what changed in the table over to the desired peers."""
        changed, gone = self._table.drain()
        fresh = []
        for node_id in (*changed, *gone):
            peer = self._table.get(node_id)
            if peer is None or peer.state not in WANTED:
                self._unwant(node_id)
                self._networks.remove(node_id, now)
            else:
                fresh.append(peer)
        for peer in fresh:
            self._want(peer, now)
        self._news.settled(changed, gone)

    def _set_static(self, peers: tuple[StaticPeer, ...], now: float) -> None:
        for node_id in self._static - {peer.identity for peer in peers}:
            self._table.dropped(node_id, Origin.STATIC, now)
        self._static = {peer.identity for peer in peers}
        for peer in peers:
            said = Announcement(peer.public_key, name=peer.name)
            seen = Announced(peer.identity, Origin.STATIC, said, peer.endpoint)
            self._table.announced(seen, now)

    def _unwant(self, node_id: NodeId) -> None:
        key = self._roster.remove(node_id)
        if key:
            self._sessions.evict((key,))

    def _want(self, peer: Peer, now: float) -> None:
        expected = self._roster.expects_switches
        old_key, probe = self._roster.put(peer)
        if self._roster.expects_switches and not expected:
            self._sessions.look_often(now)
        if old_key:
            self._sessions.evict((old_key,))
        if probe:
            self._sessions.probe_again(peer.public_key, now)
        self._adoption.known(peer.public_key)
        read = self._sessions.statistics(peer.public_key)
        self._networks.put(
            peer,
            current_endpoint(read, peer.endpoint),
            now,
            lost=self._vitality.lost(peer, now),
        )

    def _choose(self, now: float) -> None:
        """Let the networks go where they should."""
        changed = self._networks.settle(now)
        if changed is None:
            return
        self._vitality.follow(dict(self._measured()), now)
        for node_id in changed:
            self._roster.carry(node_id, self._networks.carried_by(node_id))
            peer = self._table.get(node_id)
            if peer is not None:
                self._news.changed(node_id)  # what it carries is shown

    def _measured(self) -> Iterator[tuple[NodeId, bool]]:
        """The gateways whose ways are worth measuring; bmx7 knows those to who could carry."""
        for node_id, in_use in self._networks.searched().items():
            peer = self._table.get(node_id)
            if peer is not None and self.address(node_id) is not None:
                if in_use or peer.sighting.origin is not Origin.BMX7:
                    yield node_id, in_use

    def _view(self, peer: Peer) -> PeerView:
        in_device = peer.state in WANTED
        return view(
            peer,
            address=self._roster.address(peer.node_id),
            wanted=self._roster.get(peer.node_id) if in_device else None,
            read=self._sessions.statistics(peer.public_key) if in_device else None,
        )
