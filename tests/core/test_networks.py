"""Networks between peers, as the device and the bus get to see them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest

from bmx7wg.core import networks
from bmx7wg.core.config import Config, DeviceConfig
from bmx7wg.core.identity import NodeId
from bmx7wg.core.limits import ADOPTED_HOLD, FAILED_HOLD, UNANSWERED
from bmx7wg.core.mesh import Mesh
from bmx7wg.core.model import (
    ActualDevice,
    ActualPeer,
    Announced,
    Announcement,
    Applied,
    DesiredRoute,
    DesiredRule,
    Endpoint,
    Network,
    Offer,
    OfferRule,
    Origin,
    PathMetric,
    PeerStatistics,
    Search,
    StaticPeer,
    Surroundings,
    Withdrawn,
)
from bmx7wg.core.settings import Settings
from bmx7wg.core.silence import LOOK
from bmx7wg.core.views import NetworkView

ME = NodeId(b"\x01" * 28)
WALL = 1_700_000_000 * 10**9
FOUR, SIX, TEN = (ip_network(text) for text in ("0.0.0.0/0", "::/0", "10.0.0.0/8"))


def node(number: int) -> NodeId:
    return NodeId(bytes([number]) * 28)


def key(number: int) -> bytes:
    return b"\xff" + number.to_bytes(31, "big")


class World:
    """A mesh, a device that does what it is told, and gateways 2, 3, … that answer or don't."""

    def __init__(self, *searches: Search, config: Config = Config()) -> None:
        self.config = replace(config, searches=searches)
        self.mesh = Mesh(ME, Settings(self.config, b"\x01" * 32))
        self.now = 100.0
        self.views: dict[Network, NetworkView] = {}
        self.counters: dict[bytes, tuple[int, int, int]] = {}  # handshake, received, sent
        self.installed: frozenset[bytes] = frozenset()
        self.moves = 0
        self.asked: set[NodeId] = set()  # probes that are under way
        self.round_trips: dict[int, float | None] = {}  # what becomes of them; None: lost

    def announce(
        self,
        number: int,
        *prefixes: Network,
        at: str = "fe80::1",
        origin: Origin = Origin.LINK,
    ) -> World:
        offers = tuple(Offer(prefix, 10**9) for prefix in prefixes)
        said = Announcement(key(number), name=f"n{number}", networks=offers)
        endpoint = Endpoint(ip_address(at), 6277, 3 if at.startswith("fe80") else 0)
        self.mesh.observe(Announced(node(number), origin, said, endpoint), self.now)
        return self

    def gateway(self, number: int, *prefixes: Network, metric: int = 0) -> World:
        """One with whom there is a session."""
        self.announce(number, *prefixes)
        if metric:
            self.mesh.observe(PathMetric(node(number), metric, 1), self.now)
        self.counters[key(number)] = (WALL, 100, 100)
        return self.turn()

    def withdraw(self, number: int, *, origin: Origin = Origin.LINK) -> World:
        self.mesh.observe(Withdrawn(node(number), origin, "goodbye"), self.now)
        return self.turn()

    def traffic(self, number: int, *, sent: int = 0, received: int = 0) -> None:
        shaken, before, after = self.counters[key(number)]
        self.counters[key(number)] = (shaken, before + received, after + sent)

    def turn(self) -> World:
        """What the service does in a turn, until nothing is due."""
        for _ in range(10):
            self.mesh.advance(self.now)
            desired = self.mesh.desired()
            carried = [prefix for peer in desired.peers.values() for prefix in peer.allowed_ips]
            assert len(carried) == len(set(carried)), "one prefix, two peers"
            keys, before = frozenset(desired.peers), self.installed
            self.mesh.applied(Applied(7, 6277, 1420, keys, keys - before, 1), self.now)
            self.installed = keys
            self.mesh.due_probes(self.now)
            self.asked.update(asked for asked, _, _ in self.mesh.due_measurements(self.now))
            for number, round_trip in self.round_trips.items():
                if node(number) in self.asked:
                    self.asked.discard(node(number))
                    self.mesh.probed(node(number), round_trip, self.now)
            wall = WALL + round(self.now * 1e9)
            read = {
                key: PeerStatistics(*self.counters.get(key, (0, 0, 0))) for key in desired.peers
            }
            self.mesh.statistics(read, self.now, wall)
            self.mesh.advance(self.now)
            changes = self.mesh.changes()
            for view in changes.networks:
                self.moves += view.gateway != getattr(self.views.get(view.prefix), "gateway", None)
                self.views[view.prefix] = view
            for prefix in changes.networks_gone:
                del self.views[prefix]
            due = self.mesh.next_timeout()
            if due is None or due > self.now:
                return self
        raise AssertionError("something is due for ever")

    def wait(self, seconds: float) -> World:
        """Let the time pass as it does for the service."""
        end = self.now + seconds
        while self.now < end:
            due = [time for time in (self.mesh.next_timeout(), self.mesh.next_look()) if time]
            self.now = min([end, *(max(time, self.now + 0.001) for time in due)])
            self.turn()
        return self

    def carrier(self, prefix: Network) -> int:
        """The number of the node whose allowed IPs have the prefix; 0: nobody's."""
        for public_key, peer in self.mesh.desired().peers.items():
            if prefix in peer.allowed_ips:
                return public_key[-1]
        return 0

    def why(self, prefix: Network, number: int = 0) -> str:
        """Why a network is where it is, or why a node does not carry it."""
        view = self.views[prefix]
        reasons = {node_id: reason for node_id, _, reason in view.candidates}
        return reasons[node(number)] if number else view.reason


def test_a_network_that_is_offered_and_searched_is_routed() -> None:
    part = ip_network("10.3.0.0/24")
    world = World(Search(TEN)).gateway(3, part, metric=5000)
    desired = world.mesh.desired()
    assert world.carrier(part) == 3
    assert desired.routes == (DesiredRoute(part, 77, 1024),)
    assert world.views[part] == NetworkView(
        prefix=part,
        gateway=node(3),
        candidates=((node(3), 5000, ""),),
        table=77,
        metric=1024,
        since=WALL // 1000 + 100 * 10**6,
        reason="nobody else offers it",
    )
    world.announce(3).turn()
    assert (world.carrier(part), world.mesh.desired().routes, world.views) == (0, (), {})


def test_what_nobody_searches_is_not_taken() -> None:
    world = World().gateway(2, TEN)
    assert (world.carrier(TEN), world.mesh.desired().rules, world.views) == (0, (), {})


def test_rules_lead_to_the_tables_after_all_that_is_on_links() -> None:
    world = World(Search(FOUR), Search(SIX), Search(TEN, table=78, rule=100))
    assert world.mesh.desired().rules == (
        DesiredRule(4, 99, 254, specific=True),
        DesiredRule(4, 100, 78, 0x6277),
        DesiredRule(4, 30077, 77, 0x6277),
        DesiredRule(6, 30076, 254, specific=True),
        DesiredRule(6, 30077, 77, 0x6277),
    )


def test_addresses_and_forwarding_of_the_configuration() -> None:
    own = ip_interface("10.77.0.3/32")
    config = Config(device=DeviceConfig(addresses=(own,), forward=True))
    desired = World(config=config).mesh.desired()
    assert desired.addresses[1:] == (own,) and desired.forward


def test_a_peer_shows_what_it_carries() -> None:
    world = World(Search(TEN))
    world.announce(2, TEN)
    world.mesh.advance(world.now)
    (view,) = world.mesh.changes().peers
    assert "10.0.0.0/8" in view.allowed_ips


def surrounded(prefix: str, *, mark: int) -> str:
    """Why a prefix is not taken of one who offers it; empty if it is."""
    static = StaticPeer(b"s" * 32, allowed_ips=(ip_network("203.0.113.0/24"),))
    config = Config(
        peers=(static,),
        offers=(OfferRule(ip_network("172.16.0.0/16")), OfferRule(ip_network("10.1.3.0/24"))),
        device=DeviceConfig(addresses=(ip_interface("10.77.0.1/24"),), firewall_mark=mark),
    )
    any_length = {"min_prefix_length": 0, "max_prefix_length": 128}
    world = World(Search(FOUR, **any_length), Search(SIX, **any_length), config=config)
    links = frozenset({ip_network("10.1.0.0/16"), ip_network("10.2.0.0/16")})
    around = Surroundings(frozenset({ip_address("192.0.2.1")}), links)
    world.mesh.observe(around, world.now)
    world.announce(3, at="198.51.100.7")
    world.counters[key(3)] = (WALL, 1, 1)
    network = ip_network(prefix)
    world.gateway(2, network)
    if world.carrier(network) == 2:
        return ""
    assert world.views[network].gateway is None and not world.mesh.desired().routes
    reason = world.why(network)
    assert world.why(network, 2) == reason
    return reason.removeprefix("not taken: ").replace(str(static.identity), "{static}")


@pytest.mark.parametrize("mark", [0, 0x6277])
@pytest.mark.parametrize(
    "prefix, why",
    [
        ("fd77:1::/32", "it is inside fd77::/16 (the mesh's own addresses)"),
        ("127.0.0.0/8", "it is inside 127.0.0.0/8 (loopback addresses)"),
        ("10.2.0.0/16", "10.2.0.0/16 is on a link of this machine"),
        ("10.1.2.0/24", "10.1.0.0/16 is on a link of this machine"),
        ("10.1.3.0/24", "this node offers 10.1.3.0/24"),
        ("192.0.2.1/32", "192.0.2.1 is an address of this machine"),
        ("172.16.0.0/16", "this node offers 172.16.0.0/16"),
        ("172.16.3.0/24", "this node offers 172.16.0.0/16"),
        ("172.16.0.0/15", "this node offers 172.16.0.0/16"),
        ("10.77.0.1/32", "this node offers 10.77.0.1/32"),
        ("203.0.113.0/25", "the configuration gives 203.0.113.0/24 to peer {static}"),
        ("2001:db8::/48", ""),
        ("203.0.112.0/23", ""),
    ],
)
def test_what_would_go_astray_is_refused(prefix: str, why: str, mark: int) -> None:
    assert surrounded(prefix, mark=mark) == why


@pytest.mark.parametrize(
    "prefix, why",
    [
        ("10.2.0.0/15", "10.2.0.0/16 is on a link of this machine"),
        ("10.0.0.0/15", "this node offers 10.1.3.0/24"),
        ("192.0.2.0/24", "192.0.2.1 is an address of this machine"),
        ("10.77.0.0/24", "this node offers 10.77.0.1/32"),
        ("198.51.100.0/24", "the endpoint of a peer is inside it"),
        ("198.51.100.7/32", "the endpoint of a peer is inside it"),
        ("0.0.0.0/0", "a default route needs device.firewall-mark, {more}"),
        ("::/0", "a default route needs device.firewall-mark, {more}"),
    ],
)
def test_what_is_safe_with_a_mark_is_refused_without(prefix: str, why: str) -> None:
    assert surrounded(prefix, mark=0x6277) == ""
    more = "to tell WireGuard's own packets by"
    assert surrounded(prefix, mark=0) == why.replace("{more}", more)


def test_a_refusal_comes_and_goes_with_its_reason() -> None:
    world = World(Search(TEN), config=Config(device=DeviceConfig(firewall_mark=0)))
    world.gateway(2, TEN)
    lan = Surroundings(connected=frozenset({ip_network("10.1.0.0/16")}))
    for around, carrier in ((lan, 0), (Surroundings(), 2)):
        world.mesh.observe(around, world.now)
        assert world.turn().carrier(TEN) == carrier
    world.announce(3, at="10.1.1.1").turn()
    assert world.carrier(TEN) == 2, "anybody can say so"
    world.counters[key(3)] = (WALL, 1, 1)
    world.now += 1
    world.wait(1)
    assert world.carrier(TEN) == 0, "there is a session with it"
    world.announce(3, at="fe80::3").turn()
    assert world.carrier(TEN) == 2


def test_without_a_mark_there_is_no_default_route() -> None:
    world = World(Search(FOUR), config=Config(device=DeviceConfig(firewall_mark=0)))
    world.gateway(2, FOUR)
    assert world.carrier(FOUR) == 0 and "needs device.firewall-mark" in world.why(FOUR)


def test_goodbye_moves_everything_at_once_and_coming_back_moves_nothing() -> None:
    world = World(Search(FOUR), Search(SIX))
    world.gateway(2, FOUR, SIX, metric=1200).gateway(3, FOUR, SIX, metric=1000)
    assert (world.carrier(FOUR), world.carrier(SIX)) == (2, 2)
    world.withdraw(2)
    assert (world.carrier(FOUR), world.carrier(SIX)) == (3, 3)
    assert world.why(FOUR) == "the one before is lost" and world.why(FOUR, 2) == "it is lost"
    world.gateway(2, FOUR, SIX, metric=1300).wait(FAILED_HOLD - 2)
    assert world.carrier(FOUR) == 3 and world.why(FOUR, 2) == "it failed lately"
    world.wait(4)
    assert world.carrier(FOUR) == 2, "better by more than the hysteresis"
    assert world.moves == 2 * 3


def test_the_only_gateway_keeps_what_it_has_while_it_is_lost() -> None:
    world = World(Search(FOUR)).gateway(2, FOUR).withdraw(2)
    assert world.carrier(FOUR) == 2
    world.wait(120.0)
    assert world.carrier(FOUR) == 0 and world.views == {}


def test_a_restart_of_the_source_moves_nothing() -> None:
    world = World(Search(FOUR)).gateway(2, FOUR, metric=900).gateway(3, FOUR, metric=1000)
    assert world.carrier(FOUR) == 2, "within the hysteresis"
    for number in (2, 3):
        world.mesh.observe(Withdrawn(node(number), Origin.LINK, "gone"), world.now)
    world.turn().wait(5)
    world.gateway(3, FOUR, metric=1000).gateway(2, FOUR, metric=900).wait(200)
    assert world.carrier(FOUR) == 2 and world.moves == 1


def test_traffic_without_an_answer_fails_a_gateway() -> None:
    world = World(Search(FOUR)).gateway(2, FOUR, metric=9000).gateway(3, FOUR, metric=1000)
    for _ in range(3):
        world.wait(LOOK)
        world.traffic(2, sent=100, received=100)
    start = world.now
    while world.carrier(FOUR) == 2 and world.now < start + 60:
        world.traffic(2, sent=100)
        world.wait(1)
    assert UNANSWERED <= world.now - start <= UNANSWERED + 2 * LOOK + 1
    assert world.why(FOUR) == "the one before does not answer"
    world.wait(FAILED_HOLD * 3)
    assert world.carrier(FOUR) == 3, "it never answered"
    world.traffic(2, received=100)
    world.wait(2 * LOOK)
    assert world.why(FOUR, 2) == "it failed lately"
    world.wait(FAILED_HOLD)
    assert world.carrier(FOUR) == 2


def test_a_gateway_that_answers_no_probe_is_left() -> None:
    world = World(Search(FOUR)).gateway(2, FOUR).gateway(3, FOUR)
    world.round_trips = {2: 0.02, 3: 0.02}
    world.wait(60)
    assert world.carrier(FOUR) == 2, "as good as the other"
    world.round_trips[2] = None
    world.wait(15)
    assert world.carrier(FOUR) == 3 and world.why(FOUR, 2) == "it does not answer"
    world.round_trips[3] = None
    world.wait(15)
    assert world.carrier(FOUR) == 3, "none is better: it stays"
    world.round_trips[2] = 0.02
    world.wait(20)
    assert world.carrier(FOUR) == 2, "one that answers is"


def test_the_shorter_way_wins_by_more_than_the_hysteresis() -> None:
    world = World(Search(FOUR)).gateway(2, FOUR).gateway(3, FOUR)
    world.round_trips = {2: 0.02, 3: 0.018}
    world.wait(120)
    assert world.carrier(FOUR) == 2 and world.moves == 1
    world.round_trips[2] = 0.2
    world.wait(60)
    assert world.carrier(FOUR) == 3 and world.moves == 2


def test_who_bmx7_loses_is_asked_before_it_is_left() -> None:
    world = World(Search(FOUR))
    for number in (2, 3):
        world.announce(number, FOUR, origin=Origin.BMX7)
        world.mesh.observe(PathMetric(node(number), 9000, 1), world.now)
        world.counters[key(number)] = (WALL, 100, 100)
        world.turn()
    world.round_trips = {2: 0.02, 3: 0.02}
    world.wait(30)
    assert world.carrier(FOUR) == 2
    world.withdraw(2, origin=Origin.BMX7).wait(30)
    assert world.carrier(FOUR) == 2, "it answers"
    assert world.moves == 1
    world.round_trips[2] = None
    world.wait(5)
    assert world.carrier(FOUR) == 3


def test_who_never_had_a_handshake_comes_last() -> None:
    world = World(Search(FOUR))
    world.announce(2, FOUR)
    world.mesh.observe(PathMetric(node(2), 9000, 1), world.now)
    assert world.turn().carrier(FOUR) == 2
    world.gateway(3, FOUR)
    assert world.carrier(FOUR) == 3 and world.why(FOUR, 2) == "no handshake with it yet"


def test_candidates_are_explained() -> None:
    world = World(Search(FOUR))
    for number, metric in ((2, 1000), (3, 1100), (4, 700)):
        world.gateway(number, FOUR, metric=metric)
    world.gateway(5, FOUR, metric=1000)
    assert [world.why(FOUR, number) for number in (2, 3, 4, 5)] == [
        "",
        "better by less than the hysteresis",
        "its metric is lower",
        "as good as the one in use",
    ]
    assert [(node_id[0], worth) for node_id, worth, _ in world.views[FOUR].candidates] == [
        (2, 1000),  # first by the hysteresis, which is not in the figure
        (3, 1100),
        (5, 1000),
        (4, 700),
    ]


def test_a_device_that_was_there_keeps_its_gateways() -> None:
    before = World(Search(FOUR)).gateway(2, FOUR).mesh.desired()
    world = World(Search(FOUR))
    peer = before.peers[key(2)]
    actual = ActualPeer(
        *(WALL, 1, 1, peer.endpoint),
        public_key=key(2),
        preshared_key=peer.preshared_key,
        allowed_ips=peer.allowed_ips,
    )
    device = ActualDevice("wg", 7, True, 1420, b"", 6277, 0x6277, (), {key(2): actual})
    world.mesh.adopt(device, world.now)
    assert world.mesh.desired().routes == before.routes and world.turn().carrier(FOUR) == 2
    world.gateway(3, FOUR, metric=9000)
    assert world.carrier(FOUR) == 2 and world.views[FOUR].gateway is None
    world.gateway(2, FOUR, metric=9000)
    assert world.carrier(FOUR) == 2 and world.views[FOUR].gateway == node(2)
    other = World(Search(FOUR))
    other.mesh.adopt(device, other.now)
    other.gateway(3, FOUR).wait(ADOPTED_HOLD - 1)
    assert other.carrier(FOUR) == 2
    assert other.wait(2).carrier(FOUR) == 3, "it was not heard of in time"


def test_other_searches_take_effect_at_once() -> None:
    default = Search(FOUR, max_prefix_length=0)
    world = World(default).gateway(2, FOUR, TEN).gateway(3, FOUR, TEN, metric=1)
    config = replace(world.config, searches=(default, Search(TEN, gateway_id=node(3))))
    world.mesh.reconfigure(Settings(config, b"\x01" * 32), world.now)
    assert (world.turn().carrier(FOUR), world.carrier(TEN)) == (2, 3)
    world.mesh.reconfigure(Settings(Config(), b"\x01" * 32), world.now)
    assert (world.turn().carrier(FOUR), world.carrier(TEN), world.views) == (0, 0, {})
    assert world.mesh.desired().routes == world.mesh.desired().rules == ()


def test_offers_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "MAX_OFFERS", 3)
    world = World(Search(TEN)).gateway(2, TEN, FOUR).gateway(3, TEN, SIX)
    assert world.mesh.refused["too-many-offers"] > 0
    assert [node_id for node_id, _, _ in world.views[TEN].candidates] == [node(2)]
    world.announce(2).turn().announce(3, TEN).turn()
    assert world.carrier(TEN) == 3
