"""The core as the service uses it: observations in, device and views out."""

from __future__ import annotations

import random
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Address, IPv6Network

import pytest

from bmx7wg.core import peers
from bmx7wg.core.config import Config, DiscoveryConfig, TrustConfig
from bmx7wg.core.identity import NodeId, mesh_address
from bmx7wg.core.keys import preshared_key, public_key
from bmx7wg.core.mesh import Mesh
from bmx7wg.core.model import (
    ActualDevice,
    ActualPeer,
    Announced,
    Announcement,
    Applied,
    Endpoint,
    Incompatible,
    Origin,
    PathMetric,
    PeerState,
    PeerStatistics,
    SourceState,
    SourceStatus,
    StaticPeer,
    Withdrawn,
)
from bmx7wg.core.opening import FIRST, SECOND
from bmx7wg.core.sessions import REOPEN
from bmx7wg.core.settings import Settings
from bmx7wg.core.views import PeerView

PRIVATE = b"\x01" * 32
WALL = 1_700_000_000 * 10**9
GRACE = 120.0


def node(number: int) -> NodeId:
    return NodeId(number.to_bytes(14, "big") + bytes(14))


def key(number: int) -> bytes:
    """A public key that is higher than our own, so that we begin the handshake."""
    return b"\xff" + number.to_bytes(31, "big")


ME, N2, N3, N4 = (node(n) for n in range(1, 5))
K2, K3, K4 = (key(n) for n in range(2, 5))


def seen(node_id: NodeId, k: bytes, *, port: int = 6277, name: str = "") -> Announced:
    endpoint = Endpoint(IPv6Address("fe80::1"), port, 3, "eth0")
    return Announced(node_id, Origin.LINK, Announcement(k, port, name), endpoint)


def gone(node_id: NodeId) -> Withdrawn:
    return Withdrawn(node_id, Origin.LINK, "goodbye")


class World:
    """A mesh with a device that does what it is told and a clock."""

    def __init__(self, config: Config = Config()) -> None:
        self.settings = Settings(config, PRIVATE)
        self.mesh = Mesh(ME, self.settings)
        self.now = 0.0
        self.shaken: dict[bytes, int] = {}
        self.peers: dict[NodeId, PeerView] = {}
        self.probed: list[IPv6Address] = []
        self.installed: frozenset[bytes] = frozenset()

    def tell(self, *observations: Announced | Withdrawn | PathMetric | SourceStatus) -> World:
        for observation in observations:
            self.mesh.observe(observation, self.now)
        return self.turn()

    def turn(self, *, device: bool = True) -> World:
        self.mesh.advance(self.now)
        if device:
            keys, before = frozenset(self.mesh.desired().peers), self.installed
            self.mesh.applied(Applied(7, 6277, 1420, keys, keys - before, 1), self.now)
            self.installed = keys
            self.probed += self.mesh.due_probes(self.now)
        while self.mesh.has_changes:
            changes = self.mesh.changes()
            assert not {view.node_id for view in changes.peers} & set(changes.gone)
            for view in changes.peers:
                self.peers[view.node_id] = view
            for node_id in changes.gone:
                del self.peers[node_id]
        return self

    def shake(self, *keys: bytes) -> World:
        for k in keys:
            self.shaken[k] = WALL + int(self.now * 1e9)
        return self.look()

    def look(self) -> World:
        read = {k: PeerStatistics(self.shaken.get(k, 0), 1, 2) for k in self.mesh.desired().peers}
        self.mesh.statistics(read, self.now, WALL + int(self.now * 1e9))
        while True:  # as the service does, until nothing is due
            self.turn()
            timeout = self.mesh.next_timeout()
            if timeout is None or timeout > self.now:
                return self

    def wait(self, seconds: float) -> World:
        self.now += seconds
        return self.look()

    def state(self, node_id: NodeId) -> str:
        return self.peers[node_id].state.value if node_id in self.peers else "gone"


def test_from_discovered_to_idle_and_back() -> None:
    world = World()
    world.mesh.observe(seen(N2, K2, name="n2"), 0.0)
    world.turn(device=False)
    assert world.state(N2) == "discovered"
    assert world.turn().state(N2) == "configured"
    assert world.probed == [mesh_address(N2)]
    assert world.shake(K2).state(N2) == "connected"
    assert world.wait(180.0).state(N2) == "connected"
    assert world.wait(1.0).state(N2) == "idle"
    assert world.shake(K2).state(N2) == "connected"
    view = world.peers[N2]
    assert view.last_handshake == (WALL + 181 * 10**9) // 1000
    assert (view.rx_bytes, view.tx_bytes) == (1, 2)
    assert view.endpoint == "[fe80::1%eth0]:6277" and view.name == "n2"


def test_a_first_handshake_that_fails_is_begun_anew() -> None:
    world = World().tell(seen(N2, K2))
    world.probed.clear()
    revision = world.mesh.revision
    world.now += FIRST
    world.mesh.statistics({}, world.now, WALL)
    assert world.mesh.revision > revision and world.mesh.next_timeout() == world.now
    assert not world.mesh.desired().peers  # left out once
    world.turn()
    assert world.probed == [] and world.mesh.next_timeout() == world.now
    assert set(world.mesh.desired().peers) == {K2}
    world.turn()
    assert world.probed == [mesh_address(N2)] and world.state(N2) == "configured"
    timeout = world.mesh.next_timeout()
    assert timeout is not None and timeout > world.now  # at rest
    assert world.shake(K2).state(N2) == "connected"
    world.probed.clear()
    world.wait(60.0)
    assert world.probed == [] and set(world.mesh.desired().peers) == {K2}


def test_the_end_with_the_higher_key_lets_the_other_begin() -> None:
    low = bytes(32)
    world = World().tell(seen(N2, low))
    assert world.probed == [] and world.mesh.desired().peers[low].endpoint is None
    assert world.state(N2) == "configured"
    assert world.peers[N2].endpoint == "[fe80::1%eth0]:6277"  # it is known all the same
    assert world.shake(low).state(N2) == "connected"
    assert world.mesh.desired().peers[low].endpoint is not None and world.probed == []


def test_the_end_with_the_higher_key_begins_when_the_other_does_not() -> None:
    low = bytes(32)
    world = World().tell(seen(N2, low))
    world.wait(SECOND)  # left out
    world.turn()  # and back
    assert world.probed == [mesh_address(N2)]
    assert world.mesh.desired().peers[low].endpoint is not None


def test_a_device_made_anew_has_no_sessions() -> None:
    world = World().tell(seen(N2, K2)).shake(K2)
    assert world.state(N2) == "connected"
    world.probed.clear()
    world.installed = frozenset()  # somebody deleted the device
    world.shaken.clear()
    world.turn()
    assert world.probed == [mesh_address(N2)] and world.state(N2) == "idle"
    assert world.shake(K2).state(N2) == "connected"


def test_what_the_device_gets() -> None:
    world = World().tell(seen(N2, K2))
    desired = world.mesh.desired()
    assert str(desired.addresses[0]) == f"{mesh_address(ME)}/16"
    (peer,) = desired.peers.values()
    assert peer.public_key == K2
    assert peer.preshared_key == preshared_key(ME, N2)
    assert peer.allowed_ips == (IPv6Network(mesh_address(N2)),)
    assert "preshared" not in repr(peer) and PRIVATE.hex() not in repr(desired)


def test_the_endpoint_shown_is_where_the_peer_is_now() -> None:
    world = World().tell(seen(N2, K2))
    for address, shown in (("fe80::1", "[fe80::1%eth0]:7"), ("2001:db8::1", "[2001:db8::1]:7")):
        read = PeerStatistics(0, 0, 0, Endpoint(IPv6Address(address), 7))
        world.mesh.statistics({K2: read}, 0.0, WALL)
        assert world.turn().peers[N2].endpoint == shown


def test_the_same_again_changes_nothing() -> None:
    world = World().tell(seen(N2, K2))
    revision = world.mesh.revision
    world.mesh.observe(seen(N2, K2), 1.0)
    assert world.mesh.revision == revision
    assert world.mesh.changes().peers == ()


def test_lost_is_kept_for_the_grace_then_removed() -> None:
    world = World().tell(seen(N2, K2)).shake(K2).tell(gone(N2))
    assert world.state(N2) == "lost" and world.peers[N2].reason == "goodbye"
    assert K2 in world.mesh.desired().peers
    assert world.mesh.next_timeout() == GRACE
    assert world.wait(GRACE - 1).state(N2) == "lost"
    assert world.wait(1).state(N2) == "gone"
    assert not world.mesh.desired().peers and sum(world.mesh.counts().values()) == 0


def test_lost_and_back_is_connected_at_once_and_probed() -> None:
    world = World().tell(seen(N2, K2)).shake(K2).tell(gone(N2))
    world.probed.clear()
    world.wait(60)
    world.mesh.observe(seen(N2, K2), world.now)
    world.turn(device=False)
    assert world.state(N2) == "connected" and world.peers[N2].reason == ""
    look = world.mesh.next_look()
    assert look is not None and look < world.now + 1, "to see whether it is still so"
    assert world.turn().probed == [mesh_address(N2)]
    assert world.wait(10 * GRACE).state(N2) == "idle"


def test_grace_runs_from_each_loss_of_its_own() -> None:
    world = World().tell(seen(N2, K2), seen(N3, K3)).tell(gone(N2))
    world.wait(60).tell(gone(N3)).tell(seen(N2, K2)).wait(30).tell(gone(N2))
    assert world.wait(90).state(N3) == "gone"
    assert world.state(N2) == "lost"
    assert world.wait(30).state(N2) == "gone"


def test_a_new_key_replaces_the_old_one() -> None:
    world = World().tell(seen(N2, K2)).shake(K2)
    world.probed.clear()
    world.mesh.observe(seen(N2, K3), world.now)
    assert set(world.mesh.desired().peers) == {K3}
    world.turn(device=False)
    assert world.state(N2) == "discovered"
    assert world.turn().state(N2) == "configured"
    assert world.probed == [mesh_address(N2)]
    assert world.shake(K3).state(N2) == "connected"


def test_two_nodes_that_swap_keys_both_end_up_in_the_device() -> None:
    world = World().tell(seen(N2, K2), seen(N3, K3)).shake(K2, K3)
    world.mesh.observe(seen(N2, K3), world.now)
    world.mesh.observe(seen(N3, K2), world.now)
    world.turn().wait(31)
    world.tell(seen(N2, K3), seen(N3, K2)).turn()
    assert {world.state(N2), world.state(N3)} <= {"configured", "connected", "idle"}
    peers = world.mesh.desired().peers
    assert peers[K3].preshared_key == preshared_key(ME, N2)
    assert peers[K2].preshared_key == preshared_key(ME, N3)


def test_conflict_the_proven_binding_stays() -> None:
    world = World().tell(seen(N2, K2)).shake(K2).tell(seen(N3, K2))
    assert world.state(N3) == "conflict"
    assert world.peers[N3].reason == f"announces the public key of node {N2}"
    assert world.peers[N3].allowed_ips == ()
    assert world.wait(1000).state(N3) == "conflict"
    assert world.mesh.desired().peers[K2].preshared_key == preshared_key(ME, N2)


def test_conflict_the_thief_that_came_first_loses_the_key_after_30_s() -> None:
    world = World().tell(seen(N3, K2)).tell(seen(N2, K2))
    assert (world.state(N3), world.state(N2)) == ("configured", "conflict")
    assert world.mesh.next_timeout() is not None and world.mesh.next_timeout() <= 30.0
    world.probed.clear()
    world.wait(30)
    assert (world.state(N3), world.state(N2)) == ("conflict", "configured")
    assert world.mesh.desired().peers[K2].preshared_key == preshared_key(ME, N2)
    assert world.probed == [mesh_address(N2)]
    assert world.shake(K2).state(N2) == "connected"
    assert world.wait(1000).state(N3) == "conflict"
    world.tell(gone(N3))
    assert world.state(N3) == "gone"


def test_conflict_ends_when_the_holder_is_gone() -> None:
    world = World().tell(seen(N2, K2)).shake(K2).tell(seen(N3, K2)).tell(gone(N2))
    assert world.wait(GRACE).state(N2) == "gone"
    assert world.state(N3) == "configured"


def test_our_own_key_announced_by_another() -> None:
    world = World().tell(seen(N2, public_key(PRIVATE)))
    assert world.state(N2) == "conflict"
    assert world.peers[N2].reason == "announces this node's own public key"
    assert not world.mesh.desired().peers


def test_our_own_id_is_nobody() -> None:
    world = World().tell(seen(ME, K2))
    assert not world.peers and world.mesh.refused == {"own-id": 1}


def test_an_incompatible_node_is_shown_with_its_reason() -> None:
    world = World()
    other = Announced(N2, Origin.LINK, Incompatible("announces version 2"), None, "n2")
    world.tell(other)
    assert world.state(N2) == "incompatible" and world.peers[N2].reason == "announces version 2"
    assert world.peers[N2].public_key == "" and not world.mesh.desired().peers
    assert world.tell(seen(N2, K2)).state(N2) == "configured"
    assert world.tell(other).state(N2) == "incompatible"
    assert not world.mesh.desired().peers
    assert world.tell(gone(N2)).state(N2) == "gone"


def trusting(**trust: object) -> Config:
    return Config(trust=TrustConfig(**trust))  # type: ignore[arg-type]


def test_policy_listed_and_blocked() -> None:
    world = World(trusting(accept="listed", nodes=(N2, N4), blocked=(N4,)))
    world.tell(seen(N2, K2), seen(N3, K3), seen(N4, K4))
    assert [world.state(n) for n in (N2, N3, N4)] == ["configured", "untrusted", "blocked"]
    assert set(world.mesh.desired().peers) == {K2}


def test_policy_can_change_while_it_runs() -> None:
    world = World().tell(seen(N2, K2), seen(N3, K3)).shake(K2, K3)
    world.mesh.reconfigure(replace(world.settings, config=trusting(blocked=(N3,))), world.now)
    world.turn()
    assert (world.state(N2), world.state(N3)) == ("connected", "blocked")
    world.mesh.reconfigure(world.settings, world.now)
    world.turn()
    assert (world.state(N2), world.state(N3)) == ("connected", "configured")


def test_a_lost_peer_that_gets_blocked_is_gone() -> None:
    world = World().tell(seen(N2, K2)).tell(gone(N2))
    world.mesh.reconfigure(replace(world.settings, config=trusting(blocked=(N2,))), world.now)
    assert world.turn().state(N2) == "gone"


def test_who_is_blocked_holds_no_key() -> None:
    world = World(trusting(blocked=(N3,))).tell(seen(N3, K2), seen(N2, K2))
    assert (world.state(N3), world.state(N2)) == ("blocked", "configured")
    world = World().tell(seen(N3, K2), seen(N2, K2))
    assert world.state(N2) == "conflict"
    world.mesh.reconfigure(replace(world.settings, config=trusting(blocked=(N3,))), world.now)
    assert world.turn().state(N2) == "configured"


def test_a_new_mesh_secret_changes_every_preshared_key() -> None:
    world = World().tell(seen(N2, K2))
    world.mesh.reconfigure(replace(world.settings, secret=b"s"), world.now)
    assert world.mesh.desired().peers[K2].preshared_key == preshared_key(ME, N2, b"s")
    assert world.turn().state(N2) == "configured"


def test_a_device_that_went_away_and_came_back() -> None:
    world = World().tell(seen(N2, K2)).shake(K2)
    world.mesh.device_lost(world.now)
    world.turn(device=False)
    assert world.state(N2) == "discovered"
    world.shaken.clear()
    assert world.turn().state(N2) == "configured"


def test_what_the_device_does_not_take_stays_discovered() -> None:
    world = World().tell(seen(N2, K2), seen(N3, K3))
    world.mesh.applied(Applied(7, 6277, 1420, frozenset([K2]), frozenset(), 1), world.now)
    world.turn(device=False)
    assert (world.state(N2), world.state(N3)) == ("configured", "discovered")


def test_a_peer_that_moved_is_set_and_probed_again() -> None:
    world = World().tell(seen(N2, K2)).shake(K2)
    world.probed.clear()
    world.tell(seen(N2, K2, port=7000))
    endpoint = world.mesh.desired().peers[K2].endpoint
    assert endpoint is not None and endpoint.port == 7000
    assert world.state(N2) == "connected" and world.probed == [mesh_address(N2)]


def test_two_sources_the_peer_stays_until_both_let_go() -> None:
    world = World().tell(seen(N2, K2))
    world.tell(Announced(N2, Origin.BMX7, Announcement(K2), None, "from bmx7"))
    assert world.peers[N2].origin is Origin.BMX7 and world.peers[N2].name == "from bmx7"
    world.tell(Withdrawn(N2, Origin.BMX7, "deleted"))
    assert world.state(N2) == "configured" and world.peers[N2].origin is Origin.LINK
    assert world.tell(gone(N2)).state(N2) == "lost"
    assert world.tell(gone(N2)).state(N2) == "lost"


def test_metric_and_hops_are_shown() -> None:
    world = World().tell(PathMetric(N2, 5, 1), seen(N2, K2), PathMetric(N2, 706_000_000, 2))
    assert (world.peers[N2].metric, world.peers[N2].hops) == (706_000_000, 2)


def with_peers(*peers: StaticPeer) -> Config:
    return Config(peers=peers)


def test_a_static_peer_that_is_a_node() -> None:
    endpoint = Endpoint(IPv6Address("2001:db8::2"), 1)
    static = StaticPeer(K2, "n2", N2, endpoint, (IPv6Network("2001:db8:2::/48"),), keepalive=25)
    world = World(with_peers(static)).turn()
    assert world.state(N2) == "configured"
    assert world.probed == [mesh_address(N2)]
    peer = world.mesh.desired().peers[K2]
    assert peer.allowed_ips == (IPv6Network("2001:db8:2::/48"), IPv6Network(mesh_address(N2)))
    assert (peer.endpoint, peer.keepalive) == (endpoint, 25)
    assert peer.preshared_key == preshared_key(ME, N2)
    assert world.peers[N2].origin is Origin.STATIC and world.peers[N2].name == "n2"


def test_a_static_peer_that_is_no_node() -> None:
    static = StaticPeer(K2, allowed_ips=(IPv4Network("10.2.0.0/16"),))
    world = World(with_peers(static)).turn()
    view = world.peers[static.identity]
    assert view.address == "" and view.allowed_ips == ("10.2.0.0/16",)
    assert not world.probed
    assert world.mesh.desired().peers[K2].preshared_key == bytes(32), "none"
    secret = replace(static, preshared_key=b"p" * 32)
    world.mesh.reconfigure(replace(world.settings, config=with_peers(secret)), 0.0)
    assert world.mesh.desired().peers[K2].preshared_key == b"p" * 32


def test_the_administrators_word_counts_more_than_an_announcement() -> None:
    static = StaticPeer(K2, node_id=N2)
    world = World(with_peers(static)).tell(seen(N2, K3, name="heard"))
    assert set(world.mesh.desired().peers) == {K2}
    endpoint = world.mesh.desired().peers[K2].endpoint
    assert endpoint is not None and endpoint.interface == "eth0", "found by discovery"
    world.mesh.reconfigure(Settings(Config(), PRIVATE), 0.0)
    assert set(world.mesh.desired().peers) == {K3}
    assert world.turn().peers[N2].name == "heard"


def test_a_static_peer_that_is_removed_is_gone_at_once() -> None:
    world = World(with_peers(StaticPeer(K2, node_id=N2), StaticPeer(K3, node_id=N3))).turn()
    config = with_peers(StaticPeer(K3, node_id=N3))
    world.mesh.reconfigure(replace(world.settings, config=config), 0.0)
    assert (world.turn().state(N2), world.state(N3)) == ("gone", "configured")


def switching(node_id: NodeId, old: bytes, new: bytes) -> Announced:
    said = seen(node_id, old)
    assert isinstance(said.content, Announcement)
    return replace(said, content=replace(said.content, next_key=new))


def test_a_peer_that_switches_its_key_is_expected() -> None:
    world = World().tell(seen(N2, K2)).shake(K2).tell(switching(N2, K2, K3))
    prepared = world.mesh.desired().peers[K3]
    assert prepared.allowed_ips == () and prepared.preshared_key == preshared_key(ME, N2)
    assert world.state(N2) == "connected"
    world.probed.clear()
    world.tell(seen(N2, K3))
    assert set(world.mesh.desired().peers) == {K3}
    assert world.mesh.desired().peers[K3].allowed_ips == (IPv6Network(mesh_address(N2)),)
    assert world.probed == [mesh_address(N2)]
    assert world.shake(K3).state(N2) == "connected"


def test_a_peer_is_followed_to_its_new_key_before_it_announces_it() -> None:
    world = World().tell(seen(N2, K2)).shake(K2)
    usual = world.mesh.next_look()
    world.tell(switching(N2, K2, K3))
    look = world.mesh.next_look()
    assert usual is not None and look is not None and look < usual
    world.shake(K3)
    assert world.state(N2) == "connected", "the new session stands"
    assert set(world.mesh.desired().peers) == {K3}
    assert world.mesh.desired().peers[K3].allowed_ips == (IPv6Network(mesh_address(N2)),)
    world.tell(switching(N2, K2, K3))  # an old announcement, once more
    assert set(world.mesh.desired().peers) == {K3}
    world.tell(seen(N2, K3))
    assert set(world.mesh.desired().peers) == {K3} and world.state(N2) == "connected"
    world.tell(switching(N2, K3, K4))
    assert set(world.mesh.desired().peers) == {K3, K4}, "and the next time likewise"
    world.tell(seen(N2, K2))
    assert set(world.mesh.desired().peers) == {K2}, "whatever is announced in the end counts"


def test_only_who_is_connected_may_prepare_a_key_and_none_of_somebody_else() -> None:
    world = World().tell(seen(N3, K3)).tell(switching(N2, K2, K4))
    assert set(world.mesh.desired().peers) == {K2, K3}
    world.shake(K2).tell(switching(N2, K2, K3))
    assert world.mesh.desired().peers[K3].preshared_key == preshared_key(ME, N3)
    world.tell(switching(N2, K2, K4))
    assert set(world.mesh.desired().peers) == {K2, K3, K4}
    world.tell(seen(N2, K2))
    assert set(world.mesh.desired().peers) == {K2, K3}
    world.tell(switching(N2, K2, K4)).tell(gone(N2)).wait(GRACE)
    assert set(world.mesh.desired().peers) == {K3}


def test_after_a_new_key_of_our_own_every_session_is_renewed_at_once() -> None:
    world = World().tell(seen(N2, K2), seen(N3, K3)).shake(K2, K3)
    world.probed.clear()
    world.mesh.reconfigure(replace(world.settings, private_key=b"\x05" * 32), world.now)
    assert world.mesh.desired().private_key == b"\x05" * 32
    world.turn()
    assert set(world.probed) == {mesh_address(N2), mesh_address(N3)}
    assert world.tell(seen(N4, public_key(b"\x05" * 32))).state(N4) == "conflict"


READY = SourceStatus(Origin.LINK, SourceState.READY, interfaces=("eth0",))


def device(*peers: ActualPeer) -> ActualDevice:
    return ActualDevice("wg", 7, True, 1420, PRIVATE, 6277, 0, (), {p.public_key: p for p in peers})


def actual(node_id: NodeId, k: bytes) -> ActualPeer:
    return ActualPeer(
        public_key=k,
        preshared_key=preshared_key(ME, node_id),
        allowed_ips=(IPv6Network(mesh_address(node_id)),),
    )


def test_adopted_peers_stay_until_the_source_had_its_time() -> None:
    world = World()
    world.mesh.adopt(device(actual(N2, K2), actual(N3, K3)), 0.0)
    assert set(world.mesh.desired().peers) == {K2, K3}
    world.now = 1000.0
    assert set(world.turn().mesh.desired().peers) == {K2, K3}
    world.tell(READY, seen(N2, K2))
    world.now += GRACE - 1
    assert set(world.turn().mesh.desired().peers) == {K2, K3}
    world.now += 1
    assert set(world.turn().mesh.desired().peers) == {K2}


def test_an_adopted_peer_gives_way_to_the_node_that_it_was() -> None:
    world = World()
    world.mesh.adopt(device(actual(N2, K2)), 0.0)
    world.tell(seen(N2, K4))
    assert set(world.mesh.desired().peers) == {K4}


def test_the_table_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    # 10,000 take some seconds, and a bound is a bound.
    monkeypatch.setattr(peers, "MAX_PEERS", 500)
    for number in range(510):
        world.mesh.observe(seen(node(number + 2), key(number + 2)), 0.0)
    assert sum(world.mesh.counts().values()) == 500
    assert world.mesh.refused == {"too-many-peers": 10}
    assert world.turn().state(N2) == "configured"


def test_random_lives_keep_the_table_the_device_and_the_views_together() -> None:
    for seed in range(30):
        rng = random.Random(seed)
        world = World(Config(discovery=DiscoveryConfig(grace=rng.choice((0, 5, 60)))))
        nodes, keys = [node(n) for n in range(2, 8)], [key(n) for n in range(2, 7)]
        for _ in range(150):
            event = rng.randrange(8)
            if event < 3:
                world.tell(seen(rng.choice(nodes), rng.choice(keys), port=rng.randrange(1, 4)))
            elif event < 5:
                world.tell(gone(rng.choice(nodes)))
            elif event == 5:
                world.shake(rng.choice(keys))
            elif event == 6:
                blocked = tuple(rng.sample(nodes, rng.randrange(3)))
                config = replace(world.settings.config, trust=TrustConfig(blocked=blocked))
                world.mesh.reconfigure(replace(world.settings, config=config), world.now)
                world.turn()
            else:
                world.wait(rng.choice((0.5, 10, 40, 200)))
            desired = world.mesh.desired().peers
            in_device = {
                view.public_key: view
                for view in world.peers.values()
                if view.state in ("configured", "connected", "idle", "lost")
            }
            assert len(in_device) == len(desired), "one node for each key in the device"
            for view in in_device.values():
                assert any(
                    peer.preshared_key == preshared_key(ME, view.node_id)
                    and view.allowed_ips == tuple(map(str, peer.allowed_ips))
                    for peer in desired.values()
                )
            assert len(world.peers) == sum(world.mesh.counts().values())
            assert not any(v.state is PeerState.DISCOVERED for v in world.peers.values())


def test_an_hour_of_sleep_and_the_mesh_is_whole_within_three_seconds() -> None:
    """Monotonic time stands still meanwhile; the wall clock, and the others, do not."""
    first = [key(number) for number in range(2, 102)]
    second = [bytes(1) + number.to_bytes(31, "big") for number in range(102, 202)]  # they begin
    keys = first + second
    names = {k: node(number) for number, k in enumerate(keys, 2)}
    world = World().tell(*(seen(names[k], k) for k in keys))
    world.shake(*keys)
    assert set(world.mesh.counts().items()) >= {(PeerState.CONNECTED, len(keys))}
    world.probed.clear()

    slept, resumed, most, known = 3600.0, world.now, 0, 0
    world.mesh.resumed(slept, world.now)
    world.turn()
    assert world.mesh.counts()[PeerState.IDLE] == len(keys), "nobody is lost, nobody pretended"
    waiting = {k for k in keys if world.mesh.desired().peers[k].endpoint is None}
    assert waiting == set(second), "those who begin on the other side are left to"
    shaken: dict[bytes, int] = {}
    while world.mesh.counts()[PeerState.CONNECTED] < len(keys):
        assert world.now < resumed + 3.0
        wall = WALL + int((slept + world.now) * 1e9)
        for k in first:
            if mesh_address(names[k]) in world.probed:
                shaken.setdefault(k, wall)
        if world.now > resumed + 0.05:
            for k in second:
                shaken.setdefault(k, wall)
        read = {
            k: PeerStatistics(shaken.get(k, world.shaken[k]), 1, 2)
            for k in world.mesh.desired().peers
        }
        world.mesh.statistics(read, world.now, wall)
        world.turn()
        most, known = max(most, len(world.probed) - known), len(world.probed)
        times = (world.mesh.next_look(), world.mesh.next_timeout())
        world.now = max(world.now + 0.001, min(time for time in times if time is not None))
    assert most <= REOPEN, "not all at once"
    assert len(world.probed) == len(first)


def test_a_short_sleep_ends_no_session() -> None:
    world = World().tell(seen(N2, K2))
    world.shake(K2)
    world.probed.clear()
    world.mesh.resumed(100.0, world.now)
    assert world.turn().state(N2) == "connected" and world.probed == []
    assert world.wait(81.0).state(N2) == "idle", "it is as old as it is"


def test_a_handshake_before_a_sleep_that_is_seen_after_it_is_old() -> None:
    world = World().tell(seen(N2, K2))
    world.mesh.resumed(3600.0, world.now)
    read = {K2: PeerStatistics(WALL, 1, 2)}
    world.mesh.statistics(read, world.now, WALL + 3600 * 10**9)
    assert world.turn().state(N2) == "idle"


def test_a_peer_with_nothing_but_a_learnt_endpoint_keeps_it_after_a_sleep() -> None:
    static = StaticPeer(K2, node_id=N2)
    world = World(Config(peers=(static,)))
    world.turn().shake(K2)
    world.mesh.resumed(3600.0, world.now)
    for _ in range(20):
        world.wait(0.1)
        assert K2 in world.mesh.desired().peers, "put in anew it would be forgotten"


def test_a_clock_that_jumps_makes_nobody_old() -> None:
    world = World().tell(seen(N2, K2))
    world.shake(K2)
    for jump in (10**6, -(10**6)):
        world.now += 60.0
        handshake = WALL + int((world.now + jump) * 1e9)
        world.mesh.statistics({K2: PeerStatistics(handshake, 1, 2)}, world.now, handshake)
        assert world.turn().state(N2) == "connected"
