"""Discovery on real links. The topology is drawn in links.py."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address

import pytest

from bmx7wg.core.config import LinkConfig
from bmx7wg.core.keys import SigningKey
from bmx7wg.core.limits import LINK_GROUP, LINK_PORT
from bmx7wg.core.linkframe import Flags, encode
from bmx7wg.core.model import Announced, Endpoint, SourceState
from tests.discovery.links import Ground, Node, Switch, ground, in_namespace, wait_for


@pytest.fixture
def lab() -> Iterator[Ground]:
    with ground() as made:
        yield made


def pair(lab: Ground, **options: object) -> tuple[Switch, Node, Node]:
    """Two nodes on one switch that know each other."""
    switch = lab.switch()
    nodes = []
    for name in ("a", "b"):
        namespace = lab.namespace(name)
        switch.plug(namespace)
        nodes.append(lab.node(namespace, **options))
    a, b = nodes
    a.wait_for(b)
    b.wait_for(a)
    return switch, a, b


def endpoint_of(node: Node, other: Node) -> Endpoint:
    endpoint = node.known[other.node_id].endpoint
    assert endpoint is not None
    return endpoint


def test_two_nodes_find_each_other_and_part(lab: Ground) -> None:
    _, a, b = pair(lab)
    found = a.known[b.node_id]
    assert found.content == b.said
    assert found.endpoint == Endpoint(b.address(), 6277, a.index())
    assert str(found.endpoint) == f"[{b.address()}%e0]:6277"
    assert a.status.interfaces == ("e0",)
    assert a.source.counters()["accepted"] >= 1
    saved = b.saved[-1]
    b.stop()
    a.wait_without(b)
    assert b.status.state is SourceState.STOPPED
    assert b.saved[-1] < saved  # what was reserved and not used is given back


def test_a_killed_node_expires(lab: Ground) -> None:
    _, a, b = pair(lab, interval=0.5)
    b.silence()
    a.wait_without(b)
    assert "not heard any more" in str(a.observed[-1])


def test_own_packets_are_ignored(lab: Ground) -> None:
    switch = lab.switch()
    namespace = lab.namespace("a")
    switch.plug(namespace, "e0")
    switch.plug(namespace, "e1")  # the same link twice: each hears the other
    node = lab.node(namespace)
    wait_for(lambda: node.status.interfaces == ("e0", "e1"), "both interfaces are used")
    wait_for(lambda: node.source.counters().get("own", 0) >= 4, "own packets come back")
    assert not node.known
    assert node.status.detail == ""


def test_a_clone_of_our_identity_is_told(lab: Ground) -> None:
    switch, a, b = pair(lab)
    namespace = lab.namespace("clone")
    switch.plug(namespace)
    clone = lab.node(namespace, seed=a.seed)
    for node in (a, clone):
        wait_for(lambda: "another node uses the key" in node.status.detail, "it is noticed")
        assert node.source.counters()["cloned"] >= 1
        assert a.node_id not in node.known
    assert [o for o in a.observed if o == a.status] == [a.status]  # told once


def test_an_interface_appears_and_vanishes(lab: Ground) -> None:
    switch = lab.switch()
    one, two = lab.namespace("a"), lab.namespace("b")
    a = lab.node(one)
    assert a.status.state is SourceState.WAITING
    assert "no interface" in a.status.detail
    switch.plug(two)
    b = lab.node(two)
    switch.plug(one)
    a.wait_for(b)
    b.wait_for(a)
    before = endpoint_of(a, b)
    one.ip("link", "delete", "e0")
    wait_for(lambda: not a.ready, "the interface is missed")
    switch.plug(one)
    wait_for(lambda: endpoint_of(a, b).scope_id == a.index(), "the new index is observed")
    assert endpoint_of(a, b).scope_id != before.scope_id
    assert a.ready and a.source.counters().get("join-errors", 0) == 0


def test_carrier_down_and_up(lab: Ground) -> None:
    switch, a, b = pair(lab)
    count = len(a.observed)
    heard = b.source.counters()["accepted"]
    switch.carrier("a-e0", "down")
    wait_for(lambda: not a.ready, "no carrier")
    switch.carrier("a-e0", "up")
    wait_for(lambda: a.ready, "carrier")
    wait_for(lambda: b.source.counters()["accepted"] > heard, "it asks at once", 3)
    assert [type(o) for o in a.observed[count:]] == [type(a.status)] * 2  # no peer went or came
    assert not [o for o in b.observed if not isinstance(o, (Announced, type(b.status)))]


def test_an_address_changes(lab: Ground) -> None:
    _, a, b = pair(lab)
    before = b.address()
    b.namespace.ip("address", "add", "fe80::77/64", "dev", "e0", "nodad")
    b.namespace.ip("address", "delete", f"{before}/64", "dev", "e0")
    wait_for(lambda: endpoint_of(a, b).address == IPv6Address("fe80::77"), "it moves")
    assert b.node_id in a.known


def test_without_a_link_local_address_it_waits(lab: Ground) -> None:
    _, a, b = pair(lab)
    a.namespace.ip("address", "flush", "dev", "e0", "scope", "link")
    wait_for(lambda: not a.ready, "no address")
    a.namespace.ip("address", "add", "fe80::55/64", "dev", "e0", "nodad")
    wait_for(lambda: endpoint_of(b, a).address == IPv6Address("fe80::55"), "it is back")


def test_a_tentative_address_is_waited_for(lab: Ground) -> None:
    switch = lab.switch()
    one, two = lab.namespace("a", dad=True), lab.namespace("b")
    switch.plug(two)
    b = lab.node(two)
    a = lab.node(one)
    switch.plug(one)
    a.wait_for(b)
    b.wait_for(a)
    assert "send-errors" not in a.source.counters()


def test_an_interface_is_renamed(lab: Ground) -> None:
    _, a, b = pair(lab)
    a.namespace.ip("link", "set", "e0", "down")
    a.namespace.ip("link", "set", "e0", "name", "uplink")
    a.namespace.ip("link", "set", "uplink", "up")
    wait_for(lambda: endpoint_of(a, b).interface == "uplink", "the new name is observed")
    assert a.status.interfaces == ("uplink",)


def test_two_links_and_one_goes_down(lab: Ground) -> None:
    switch, a, b = pair(lab)
    second = Switch(switch.namespace, "br1")
    for node in (a, b):
        second.plug(node.namespace, "e1")
    for node in (a, b):
        wait_for(lambda: node.status.interfaces == ("e0", "e1"), "the second link")
    wait_for(lambda: b.source.counters()["accepted"] >= 4, "a is heard there, too")
    assert endpoint_of(a, b).interface == "e0"
    wait_for(lambda: a.source.counters()["accepted"] >= 4, "b is heard there, too")
    switch.carrier("a-e0", "down")
    wait_for(lambda: endpoint_of(a, b).interface == "e1", "it moves at once", 2)


def test_events_that_were_lost(lab: Ground, caplog: pytest.LogCaptureFixture) -> None:
    _, a, b = pair(lab)
    caplog.set_level(logging.INFO, "bmx7wg.discovery")
    with a.stalled():
        commands = "".join(f"link set e0 alias {n:0>200}\n" for n in range(2000))
        a.namespace.batch(commands + "link set e0 down\n")
    wait_for(lambda: not a.ready, "it is noticed although its event was lost")
    assert "events about interfaces were lost" in caplog.text
    a.namespace.ip("link", "set", "e0", "up")
    wait_for(lambda: a.ready, "events come again")


def test_resync(lab: Ground) -> None:
    _, a, b = pair(lab)
    answered = b.source.counters().get("answered", 0)
    a.resync()
    wait_for(lambda: b.source.counters().get("answered", 0) > answered, "b answers", 3)


def test_a_change_of_what_we_say(lab: Ground) -> None:
    _, a, b = pair(lab)
    b.said = replace(b.said, name="other")
    b.announce()
    wait_for(lambda: a.known[b.node_id].content == b.said, "it is told", 2)


def test_the_port_is_taken(lab: Ground) -> None:
    switch = lab.switch()
    namespace = lab.namespace("a")
    switch.plug(namespace)
    with in_namespace(namespace), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
        other.bind(("::", LINK_PORT))
        node = lab.node(namespace)
        assert node.status.state is SourceState.FAILED
        assert node.status.detail == f"can't listen on UDP port {LINK_PORT}: Address already in use"
    wait_for(lambda: node.ready, "it begins when the port is free")


# -- hostile neighbours -------------------------------------------------------------------------


@pytest.fixture
def attacker(lab: Ground) -> Iterator[tuple[Node, socket.socket]]:
    """A node, and a socket on the same link."""
    switch = lab.switch()
    one, two = lab.namespace("a"), lab.namespace("evil")
    switch.plug(one)
    switch.plug(two)
    node = lab.node(one)
    wait_for(lambda: node.ready, "the node is ready")
    with in_namespace(two), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as evil:
        evil.connect((LINK_GROUP, LINK_PORT, 0, socket.if_nametoindex("e0")))
        evil.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        wait_for(lambda: two.addresses("e0"), "an address to send from")
        yield node, evil


def test_hostile_datagrams(attacker: tuple[Node, socket.socket]) -> None:
    node, evil = attacker
    key = SigningKey(SigningKey.generate_seed())
    good = encode(Flags.NONE, 1, b'{"v":2}', key)

    def count(reason: str, data: bytes) -> None:
        before = node.source.counters().get(reason, 0)
        evil.send(data)
        wait_for(lambda: node.source.counters().get(reason, 0) == before + 1, reason)

    count("magic", b"")
    count("magic", bytes(1000))
    count("long", good.ljust(65_507, b"\0"))
    count("short", good[:100])
    count("signature", good[:-1] + bytes([good[-1] ^ 1]))
    count("announcement-utf8", encode(Flags.NONE, 1, b"\xff", key))
    evil.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 254)
    count("hop-limit", good)
    evil.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    assert not node.known
    count("accepted", good)
    count("replay", good)
    assert key.node_id in node.known


def test_an_address_that_is_not_link_local(lab: Ground) -> None:
    switch, a, b = pair(lab)
    for node, address in ((a, "fd00::a"), (b, "fd00::b")):
        node.namespace.ip("address", "add", f"{address}/64", "dev", "e0", "nodad")
    with in_namespace(b.namespace), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
        other.sendto(b"b7wg", ("fd00::a", LINK_PORT))
        wait_for(lambda: a.source.counters().get("source") == 1, "it is counted")


# -- which interfaces ---------------------------------------------------------------------------


def interfaces_used(lab: Ground, *patterns: str, exclude: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Of a host with one interface of each sort, all ready, those that are used."""
    switch = lab.switch()
    host = lab.namespace("host")
    host.ip("link", "set", "lo", "up")
    plugged = ("eth0", "wlan0", "veth12", "wgBmx7", "ve-guest")
    bridges = ("docker0", "br-0123456789ab", "br-lan", "virbr0")
    for name in plugged:
        switch.plug(host, name)
    for number, bridge in enumerate(bridges):
        Switch(host, bridge).plug(host, f"ve-{number}")
    host.ip("tuntap", "add", "tap0", "mode", "tap")
    host.ip("link", "set", "tap0", "up")
    host.ip("link", "add", "down0", "type", "veth", "peer", "down1")
    for name in plugged + bridges:
        wait_for(lambda: host.is_ready(name), f"{name} is ready")
    return lab.node(host, config=LinkConfig(patterns), exclude=exclude).status.interfaces


def test_interfaces_by_default(lab: Ground) -> None:
    used = interfaces_used(lab, exclude=("wgBmx7",))
    assert used == ("br-lan", "eth0", "veth12", "wlan0")


def test_interfaces_by_default_without_some(lab: Ground) -> None:
    used = interfaces_used(lab, "!w*", "!veth?2")
    assert used == ("br-lan", "eth0")


def test_interfaces_as_configured(lab: Ground) -> None:
    used = interfaces_used(lab, "br-*", "docker0", "wg*", "!br-0*", exclude=("wgBmx7",))
    assert used == ("br-lan", "docker0")


def test_a_bridge_that_loses_a_port_does_not_lose_it_for_us(lab: Ground) -> None:
    _, a, b = pair(lab)
    a.namespace.ip("link", "add", "br-lan", "type", "bridge", "mcast_snooping", "0")
    a.namespace.ip("link", "set", "br-lan", "up")
    a.namespace.ip("link", "set", "e0", "master", "br-lan")
    wait_for(lambda: a.status.interfaces == ("br-lan",), "the bridge in place of its port")
    wait_for(lambda: endpoint_of(a, b).interface == "br-lan", "b is heard there")
    a.namespace.ip("link", "set", "e0", "nomaster")
    wait_for(lambda: a.status.interfaces == ("e0",), "the port by itself")
    wait_for(lambda: endpoint_of(a, b).interface == "e0", "b is heard there again")
