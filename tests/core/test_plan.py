"""The plan: what is told to the device, in which order, and that it is enough."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import (
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_network,
)

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bmx7wg.core.identity import key_text
from bmx7wg.core.model import (
    ActualDevice,
    ActualPeer,
    DesiredDevice,
    DesiredPeer,
    DesiredRoute,
    DesiredRule,
    Endpoint,
)
from bmx7wg.core.plan import plan
from bmx7wg.core.planmemory import Memory

from ..memory import after, in_order

SECOND = 1_000_000_000
NOW = 1_000_000 * SECOND
ADDRESS = IPv6Interface("fd77::1/16")
PRIVATE = bytes([8]) + bytes(30) + bytes([0x40])


def key(number):
    return number.to_bytes(32, "big")


def host(number):
    return IPv6Network((0xFD77 << 112) + number)


def endpoint(number, port=6277):
    return Endpoint(IPv6Address((0x20010DB8 << 96) + number), port)


def link_local(number, scope_id):
    return Endpoint(IPv6Address((0xFE80 << 112) + number), 6277, scope_id)


def peer(number, **changes):
    usual = DesiredPeer(key(number), key(1000 + number), endpoint(number), (host(number),))
    return replace(usual, **changes)


def wanted(*peers, **changes):
    usual = DesiredDevice(
        name="wgBmx7",
        private_key=PRIVATE,
        listen_port=6277,
        firewall_mark=0x6277,
        mtu=1420,
        underlay=(),
        addresses=(ADDRESS,),
        peers={p.public_key: p for p in peers},
    )
    return replace(usual, **changes)


def carried_out(operations, device=None):
    for operation in operations:
        device = after(device, operation)
    return device


def standing(*peers, **changes):
    return carried_out(plan(wanted(*peers, **changes), None, NOW, Memory()))


def lines(desired, actual, sent=None, now=NOW):
    return [str(operation) for operation in plan(desired, actual, now, Memory(sent))]


def told(peers):
    return {p.public_key: p.endpoint for p in peers}


A, B, C = (key_text(key(n)) for n in (1, 2, 3))


def test_from_nothing_the_device_stands_before_its_peers():
    assert lines(wanted(peer(1), peer(2, keepalive=25, endpoint=None)), None) == [
        "make wgBmx7",
        "set private key, listen port 6277, firewall mark 0x6277",
        "set mtu 1420",
        "set up",
        "add address fd77::1/16",
        f"add peer {A}: preshared key, endpoint [2001:db8::1]:6277, allow fd77::1/128",
        f"add peer {B}: preshared key, keepalive 25, allow fd77::2/128",
    ]


def test_what_is_right_is_left_alone():
    peers = peer(1), peer(2)
    assert lines(wanted(*peers), standing(*peers), told(peers)) == []
    assert lines(wanted(*peers), standing(*peers)) == [], "nor when it was found so"


def test_an_endpoint_that_is_told_without_its_scope_is_compared_once():
    there = peer(1, endpoint=link_local(1, 3))
    actual = standing(there)
    (found,) = actual.peers.values()
    scopeless = replace(found, endpoint=link_local(1, 0))
    actual = replace(actual, peers={found.public_key: scopeless})
    memory = Memory(told([there]))
    for later in (0, 1000 * SECOND):
        assert plan(wanted(there), actual, NOW + later, memory) == ()
        assert memory.alike == {there.public_key: (there, scopeless)}
    moved = peer(1, endpoint=link_local(1, 4))
    (change,) = plan(wanted(moved), actual, NOW, memory)
    assert change.endpoint == moved.endpoint and not memory.alike


def test_added_before_removed():
    old = standing(peer(1), addresses=(IPv6Interface("fd77::99/16"),))
    assert lines(wanted(peer(2)), old) == [
        "add address fd77::1/16",
        f"add peer {B}: preshared key, endpoint [2001:db8::2]:6277, allow fd77::2/128",
        "remove address fd77::99/16",
        f"remove peer {A}",
    ]


def test_a_new_key_of_a_node_takes_over_in_one_transaction():
    old = standing(peer(1), peer(3))
    new = peer(2, allowed_ips=(host(1),))
    assert lines(wanted(new, peer(3)), old, told([peer(3)])) == [
        f"replace peer {A} by {B}: preshared key, endpoint [2001:db8::2]:6277, allow fd77::1/128"
    ]


def routed(*texts, table=77, metric=1024):
    return tuple(DesiredRoute(ip_network(text), table, metric) for text in texts)


LAN, FAR = IPv4Network("10.1.0.0/16"), IPv6Network("2001:db8:1::/48")
RULE = DesiredRule(4, 30077, 77, mark=0x6277)


def test_a_route_comes_after_and_goes_before_the_allowed_ip_it_leads_to():
    bare = standing(peer(1))
    carrying = wanted(
        peer(1, allowed_ips=(host(1), LAN)), routes=routed("10.1.0.0/16"), rules=(RULE,)
    )
    assert lines(carrying, bare, told([peer(1)])) == [
        f"change peer {A}: allow 10.1.0.0/16",
        "add route 10.1.0.0/16 table 77 metric 1024",
        "add rule IPv4 pref 30077 not fwmark 0x6277 lookup 77",
    ]
    there = carried_out(plan(carrying, bare, NOW, Memory()), bare)
    assert lines(wanted(peer(1)), there, told([peer(1)])) == [
        "remove rule IPv4 pref 30077 not fwmark 0x6277 lookup 77",
        "remove route 10.1.0.0/16 table 77 metric 1024",
        f"change peer {A}: allow only fd77::1/128",
    ]
    assert lines(wanted(), there)[-1] == f"remove peer {A}"


def test_a_prefix_that_moves_to_another_peer_keeps_its_route():
    old = standing(peer(1, allowed_ips=(host(1), LAN)), peer(2), routes=routed("10.1.0.0/16"))
    moved = peer(1), peer(2, allowed_ips=(host(2), LAN))
    assert lines(wanted(*moved, routes=routed("10.1.0.0/16")), old, told(moved)) == [
        f"change peer {B}: allow 10.1.0.0/16"
    ]


def test_a_route_gets_another_metric_or_table_without_a_gap():
    old = standing(peer(1, allowed_ips=(LAN,)), routes=routed("10.1.0.0/16"))
    new = wanted(peer(1, allowed_ips=(LAN,)), routes=routed("10.1.0.0/16", table=78, metric=7))
    assert lines(new, old, told([peer(1)])) == [
        "add route 10.1.0.0/16 table 78 metric 7",
        "remove route 10.1.0.0/16 table 77 metric 1024",
    ]


def test_a_key_that_held_a_network_nobody_wants_is_removed_after_its_route():
    old = standing(peer(1, allowed_ips=(host(1), LAN)), routes=routed("10.1.0.0/16"))
    new = peer(2, allowed_ips=(host(1),))
    assert [line.partition(":")[0] for line in lines(wanted(new), old)] == [
        f"add peer {B}",
        "remove route 10.1.0.0/16 table 77 metric 1024",
        f"remove peer {A}",
    ]


def test_the_kernel_has_no_metric_0_for_ipv6():
    routes = routed("2001:db8:1::/48", "10.1.0.0/16", metric=0)
    assert lines(wanted(routes=routes), standing()) == [
        "add route 2001:db8:1::/48 table 77 metric 1024",
        "add route 10.1.0.0/16 table 77 metric 0",
    ]
    assert lines(wanted(routes=routes), standing(routes=routes)) == []


def test_what_goes_with_the_link_or_the_last_ipv4_address_is_added_again():
    four = IPv4Interface("10.99.0.1/24")
    routes = routed("10.1.0.0/16", "2001:db8:1::/48")
    old = standing(addresses=(ADDRESS, four), routes=routes, rules=(RULE,))
    assert lines(wanted(routes=routes, rules=(RULE,)), old) == [
        "remove address 10.99.0.1/24",
        "add route 10.1.0.0/16 table 77 metric 1024",
    ]
    complete = wanted(addresses=(ADDRESS, four), routes=routes, rules=(RULE,))
    assert lines(complete, replace(old, up=False)) == [
        "set up",
        "add address fd77::1/16",
        "add address 10.99.0.1/24",
        "add route 10.1.0.0/16 table 77 metric 1024",
        "add route 2001:db8:1::/48 table 77 metric 1024",
    ]
    assert lines(complete, replace(old, connected=(ADDRESS.network,))) == [
        "restore route 10.99.0.0/24"
    ]


def test_one_ipv4_address_has_no_connected_route():
    one = IPv4Interface("10.99.0.1/32")
    old = standing(addresses=(ADDRESS, one))
    assert lines(wanted(addresses=(ADDRESS, one)), replace(old, connected=(ADDRESS.network,))) == []


def test_only_what_changed_of_a_peer():
    old = standing(peer(1), peer(2))
    changed = peer(1, keepalive=25), peer(2, preshared_key=key(5))
    assert lines(wanted(*changed), old) == [
        f"change peer {A}: keepalive 25",
        f"change peer {B}: preshared key",
    ]


def test_keepalive_is_switched_off():
    old = standing(peer(1, keepalive=25))
    assert lines(wanted(peer(1)), old) == [f"change peer {A}: keepalive 0"]


def test_a_network_moves_by_itself():
    network = IPv4Network("10.3.0.0/24")
    old = standing(peer(1, allowed_ips=(network, host(1))), peer(2))
    new = peer(1), peer(2, allowed_ips=(network, host(2)))
    assert lines(wanted(*new), old) == [f"change peer {B}: allow 10.3.0.0/24"]


def test_networks_are_swapped_without_a_gap():
    one, other = IPv4Network("10.1.0.0/24"), IPv4Network("10.2.0.0/24")
    old = standing(peer(1, allowed_ips=(one,)), peer(2, allowed_ips=(other,)))
    new = peer(1, allowed_ips=(other,)), peer(2, allowed_ips=(one,))
    assert lines(wanted(*new), old) == [
        f"change peer {A}: allow 10.2.0.0/24",
        f"change peer {B}: allow 10.1.0.0/24",
    ]


def test_a_network_that_nobody_takes_is_deleted_after_all_additions():
    network = IPv4Network("10.3.0.0/24")
    old = standing(peer(1, allowed_ips=(network, host(1))))
    assert lines(wanted(peer(1), peer(2)), old) == [
        f"add peer {B}: preshared key, endpoint [2001:db8::2]:6277, allow fd77::2/128",
        f"change peer {A}: allow only fd77::1/128",
    ]


def test_device_settings():
    new = wanted(private_key=key(3), listen_port=7000, firewall_mark=0, mtu=1400)
    assert lines(new, standing()) == [
        "set private key, listen port 7000, firewall mark 0x0",
        "set mtu 1400",
    ]


def test_a_private_key_is_compared_as_devices_store_it():
    unclamped = bytes([255]) + bytes(30) + bytes([255])
    stored = replace(standing(), private_key=bytes([248]) + bytes(30) + bytes([127]))
    assert lines(wanted(private_key=unclamped), stored) == []


def test_without_an_mtu_it_is_left():
    assert lines(wanted(mtu=0), standing()) == []


def test_put_right_what_others_did():
    good = standing()
    assert lines(wanted(), replace(good, up=False, addresses=(), connected=())) == [
        "set up",
        "add address fd77::1/16",
    ]
    assert lines(wanted(), replace(good, connected=())) == ["restore route fd77::/16"]
    assert lines(wanted(), replace(good, name="wg9")) == [
        "rename wg9 to wgBmx7",
        "set up",
        "add address fd77::1/16",
    ]


def test_addresses_outside_the_mesh_are_not_ours():
    foreign = (ADDRESS, IPv6Interface("2001:db8::1/64"), IPv6Interface("fe80::1/64"))
    assert lines(wanted(), replace(standing(), addresses=foreign)) == []


class TestEndpoint:
    """Peers roam, and WireGuard follows them by itself."""

    def roamed(self, ago):
        device = standing(peer(1))
        there = replace(
            device.peers[key(1)], endpoint=endpoint(77), last_handshake=NOW - ago * SECOND
        )
        return replace(device, peers={key(1): there})

    def test_a_peer_that_roamed_is_followed(self):
        assert lines(wanted(peer(1)), self.roamed(9999), told([peer(1)])) == []

    def test_a_new_announcement_is_newer(self):
        moved = peer(1, endpoint=endpoint(1, port=7000))
        assert lines(wanted(moved), self.roamed(1), told([peer(1)])) == [
            f"change peer {A}: endpoint [2001:db8::1]:7000"
        ]

    def test_a_device_without_one_is_told(self):
        device = standing(peer(1, endpoint=None))
        assert lines(wanted(peer(1)), device) == [f"change peer {A}: endpoint [2001:db8::1]:6277"]

    def test_adopted_while_it_works(self):
        assert lines(wanted(peer(1)), self.roamed(180)) == []

    def test_adopted_when_it_does_not(self):
        expected = [f"change peer {A}: endpoint [2001:db8::1]:6277"]
        assert lines(wanted(peer(1)), self.roamed(181)) == expected
        device = standing(peer(1, endpoint=endpoint(77)))
        assert lines(wanted(peer(1)), device) == expected, "never a handshake"

    def test_what_is_announced_anew_is_newer_than_what_it_learnt_by_itself(self):
        """Adopted, or made without an endpoint: it was never told one, and works."""
        memory, device = Memory(), self.roamed(1)
        for _ in range(2):
            assert plan(wanted(peer(1)), device, NOW, memory) == ()
            memory.settled(wanted(peer(1)).peers, device.peers, {})
        moved = wanted(peer(1, endpoint=endpoint(1, port=7000)))
        for _ in range(2):  # the device refuses it at first
            (change,) = plan(moved, device, NOW, memory)
            assert str(change) == f"change peer {A}: endpoint [2001:db8::1]:7000"
            memory.settled(moved.peers, device.peers, {})
        memory.settled(moved.peers, device.peers, {key(1): change.endpoint})
        assert plan(moved, device, NOW, memory) == (), "it roams again"

    def test_what_was_weighed_is_told_when_it_does_not_work_any_more(self):
        memory = Memory()
        assert plan(wanted(peer(1)), self.roamed(1), NOW, memory) == ()
        memory.settled(wanted(peer(1)).peers, self.roamed(1).peers, {})
        assert len(plan(wanted(peer(1)), self.roamed(181), NOW, memory)) == 1

    def test_an_interface_made_anew_has_another_scope(self):
        before, behind = peer(1, endpoint=link_local(1, 3)), peer(1, endpoint=link_local(1, 4))
        assert lines(wanted(behind), standing(before), told([before])) == [
            f"change peer {A}: endpoint [fe80::1%4]:6277"
        ]

    def test_a_scope_that_the_device_does_not_tell(self):
        said = peer(1, endpoint=link_local(1, 3))
        device = standing(peer(1, endpoint=link_local(1, 0)))
        assert lines(wanted(said), device, told([said])) == []
        assert lines(wanted(said), device) == [f"change peer {A}: endpoint [fe80::1%3]:6277"]


def test_no_secret_in_text_or_representation():
    secret, shared = b"\x18" + b"S" * 30 + b"\x41", b"P" * 32
    operations = plan(
        wanted(peer(1, preshared_key=shared), private_key=secret), None, NOW, Memory()
    )
    text = "".join(str(o) + repr(o) for o in operations)
    for value in (secret, shared):
        assert key_text(value) not in text and repr(value)[2:-1] not in text
        assert value.hex() not in text


# -- any device, any wish ----------------------------------------------------------------------

NUMBERS = st.integers(1, 6)
NETWORKS = [host(n) for n in range(1, 7)] + [IPv4Network(f"10.{n}.0.0/16") for n in range(4)]
ENDPOINTS = st.none() | st.builds(endpoint, NUMBERS) | st.builds(link_local, NUMBERS, NUMBERS)


@st.composite
def peers_of(draw, make):
    """Peers by key; each network is with one at most, as in WireGuard's trie."""
    numbers = draw(st.sets(NUMBERS))
    owner = {network: draw(NUMBERS) for network in draw(st.sets(st.sampled_from(NETWORKS)))}
    result = {}
    for number in draw(st.permutations(sorted(numbers))):
        networks = in_order(tuple(network for network in owner if owner[network] == number))
        shared = key(draw(st.integers(1000, 1002)))
        result[key(number)] = make(
            public_key=key(number),
            preshared_key=shared,
            endpoint=draw(ENDPOINTS),
            allowed_ips=networks,
            keepalive=draw(st.sampled_from([0, 25])),
        )
    return result


NAMES = st.sampled_from(["wgBmx7", "other"])
MTUS = st.integers(1280, 1284)
OWN = st.sets(st.builds(lambda n: IPv6Interface(f"fd77::{n}/16"), NUMBERS), max_size=2).map(tuple)
IPV4 = st.sets(st.builds(lambda n: IPv4Interface(f"10.99.{n}.1/24"), st.integers(1, 2)), max_size=1)
RULES = st.sets(st.builds(DesiredRule, st.sampled_from([4, 6]), st.integers(1, 3), st.just(77)))


@st.composite
def routes_of(draw, peers):
    """Routes to networks that some peer carries."""
    networks = [n for p in peers.values() for n in p.allowed_ips]
    chosen = draw(st.sets(st.sampled_from(networks))) if networks else ()
    return tuple(DesiredRoute(n, 77, draw(st.integers(1, 2))) for n in chosen)


PORTS = st.integers(6277, 6279)


@st.composite
def actual_devices(draw):
    addresses = draw(OWN)
    four = tuple(draw(IPV4))
    peers = draw(peers_of(ActualPeer))
    up = draw(st.booleans())
    return ActualDevice(
        name=draw(NAMES),
        index=7,
        up=up,
        mtu=draw(MTUS),
        private_key=draw(st.sampled_from([bytes(32), PRIVATE])),
        listen_port=draw(PORTS),
        firewall_mark=draw(st.integers(0, 1)),
        addresses=addresses + four,
        own_addresses=frozenset(addresses + four),
        peers=peers,
        routes=draw(routes_of(peers)) if up else (),
        rules=tuple(draw(RULES)),
        connected=(IPv6Network("fd77::/16"),) if addresses and draw(st.booleans()) else (),
    )


@st.composite
def desired_devices(draw):
    peers = draw(peers_of(DesiredPeer))
    return DesiredDevice(
        name="wgBmx7",
        private_key=PRIVATE,
        listen_port=draw(PORTS),
        firewall_mark=draw(st.integers(0, 1)),
        mtu=draw(MTUS),
        underlay=(),
        addresses=draw(OWN.filter(bool)) + tuple(draw(IPV4)),
        peers=peers,
        routes=draw(routes_of(peers)),
        rules=tuple(draw(RULES)),
    )


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(desired_devices(), st.none() | actual_devices())
def test_the_plan_reaches_the_goal_and_then_is_empty(desired, actual):
    reached = carried_out(plan(desired, actual, NOW, Memory()), actual)
    sent = told(p for p in desired.peers.values() if p.endpoint)

    assert plan(desired, reached, NOW, Memory(sent)) == ()
    assert reached.up
    for name in ("name", "private_key", "listen_port", "firewall_mark", "mtu"):
        assert getattr(reached, name) == getattr(desired, name)
    assert set(reached.addresses) == set(desired.addresses)
    assert IPv6Network("fd77::/16") in reached.connected
    assert set(reached.routes) == set(desired.routes)
    assert set(reached.rules) == set(desired.rules)
    assert reached.peers.keys() == desired.peers.keys()
    for public_key, wish in desired.peers.items():
        got = reached.peers[public_key]
        assert got.preshared_key == wish.preshared_key
        assert set(got.allowed_ips) == set(wish.allowed_ips)
        assert got.keepalive == wish.keepalive
        assert wish.endpoint is None or got.endpoint == wish.endpoint


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(desired_devices(), actual_devices())
def test_no_network_that_stays_is_ever_without_a_peer(desired, actual):
    def routed(device):
        return {network for p in device.peers.values() for network in p.allowed_ips}

    stays = routed(actual) & routed(desired)
    device = actual
    for operation in plan(desired, actual, NOW, Memory()):
        device = after(device, operation)
        assert stays <= routed(device), str(operation)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(desired_devices(), actual_devices())
def test_no_route_ever_leads_to_nobody(desired, actual):
    device = actual
    for operation in plan(desired, actual, NOW, Memory()):
        device = after(device, operation)
        carried = {network for p in device.peers.values() for network in p.allowed_ips}
        assert {route.prefix for route in device.routes} <= carried, str(operation)
